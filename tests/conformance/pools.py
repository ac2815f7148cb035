"""What every pool must do, sentence by sentence of `worker/pools/base.py`. A pool's test gives `make` and inherits."""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.worker.pools.base import Begun, Ended, Happening, Job, Lost, Overdue, Pool, Program, Returned
from tests.worker.pools.programs import Script, job


class Driven:
    """A pool and the loop that drives it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.seen: list[Happening] = []

    def until(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            again = self.pool.tend(time.monotonic())
            wait = min(max(again - time.monotonic(), 0), end - time.monotonic())
            assert wait >= 0, self.seen[-5:]
            select.select([self.pool.fileno()], [], [], wait)
            self.seen += self.pool.collect()

    def settled(self) -> int:
        return sum(len(self.of(kind)) for kind in (Ended, Lost, Returned))

    def run(self, *jobs: Job) -> None:
        target = self.settled() + len(jobs)
        self.pool.submit(jobs)
        self.until(lambda: self.settled() >= target)

    def of(self, kind: type) -> dict[int, Happening]:
        return {event.number: event for event in self.seen if isinstance(event, kind)}

    def report(self, number: int) -> object:
        ended = self.of(Ended)[number]
        assert isinstance(ended, Ended)
        return ended.report


def runs(ledger: Path) -> Counter[int]:
    return Counter(map(int, ledger.read_text().split())) if ledger.exists() else Counter()


class PoolSuite:
    """`make(program, size)` gives the pool, stopped."""

    sleep = "sleep"

    @staticmethod
    def make(program: Program, size: int) -> Pool:
        raise NotImplementedError

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Path:
        return tmp_path / "ledger"

    @pytest.fixture
    def started(self, ledger: Path) -> Iterator[Callable[..., Driven]]:
        pools: list[Pool] = []

        def start(size: int = 2, *, lazy: bool = False) -> Driven:
            pool = self.make(Script(ledger, lazy=lazy), size)
            pools.append(pool)
            pool.start()
            return Driven(pool)

        yield start
        for pool in pools:
            pool.close(0.2)

    def able(self, pool: Driven, ability: str) -> None:
        if ability not in pool.pool.can:
            pytest.skip(f"does not claim it: {ability}")

    def test_runs_every_job_once_and_says_so_in_order(self, started: Callable[..., Driven], ledger: Path) -> None:
        driven = started()
        driven.run(*map(job, range(1, 301)))
        assert runs(ledger) == Counter(range(1, 301))
        order: dict[int, list[type]] = {}
        for event in driven.seen:
            order.setdefault(event.number, []).append(type(event))
        assert all(kinds == [Begun, Ended] for kinds in order.values())

    def test_nothing_happens_without_jobs(self, started: Callable[..., Driven]) -> None:
        driven = started()
        assert driven.pool.collect() == []
        assert driven.pool.tend(time.monotonic()) > time.monotonic()
        assert driven.pool.room() >= 1

    def test_no_report_leaves_before_it_is_flushed(self, started: Callable[..., Driven], ledger: Path) -> None:
        driven = started(lazy=True)
        if "await" in driven.pool.can:
            pytest.skip("its program writes at once")
        driven.run(*map(job, range(1, 101)))
        assert runs(ledger) == Counter(range(1, 101))

    def test_a_held_job_waits_for_its_release(self, started: Callable[..., Driven], ledger: Path) -> None:
        driven = started()
        driven.pool.submit([job(1, held=True)])
        driven.until(lambda: 1 in driven.of(Begun))
        driven.seen += driven.pool.collect()
        time.sleep(0.05)
        assert not runs(ledger)
        driven.pool.release([1])
        driven.until(lambda: 1 in driven.of(Ended))
        assert runs(ledger) == {1: 1}

    def test_recall_gives_back_what_has_not_begun(self, started: Callable[..., Driven], ledger: Path) -> None:
        driven = started(1)
        driven.pool.submit([job(1, "sleep 0.3", held=True), *(job(n, "sleep 0.3") for n in range(2, 6))])
        driven.seen += driven.pool.collect()  # where jobs begin in there, the first does
        driven.pool.recall([3])
        driven.pool.recall()
        driven.pool.release([1])
        driven.until(lambda: driven.settled() == 5)
        assert set(driven.of(Returned)) == {2, 3, 4, 5}
        assert set(driven.of(Ended)) == set(runs(ledger)) == {1}

    def test_room_is_what_would_begin_at_once(self, started: Callable[..., Driven]) -> None:
        driven = started()
        room = driven.pool.room()
        driven.pool.submit([job(n, "sleep 0.2", held=True) for n in range(1, room + 1)])
        assert driven.pool.room() == 0
        driven.until(lambda: len(driven.of(Begun)) == room)
        driven.pool.release(list(range(1, room + 1)))
        driven.until(lambda: driven.settled() == room)
        assert driven.pool.room() >= 1

    def test_soft_limit_is_raised_in_the_task(self, started: Callable[..., Driven]) -> None:
        driven = started()
        self.able(driven, "soft")
        driven.run(job(1, f"{self.sleep} 5", soft=0.2), job(2, f"{self.sleep} 0.01", soft=0.2))
        assert driven.report(1).state == "FAILURE"  # type: ignore[attr-defined]
        assert driven.report(2).state == "SUCCESS"  # type: ignore[attr-defined]
        assert set(driven.of(Overdue)) == {1}

    def test_hard_limit_ends_the_job_and_others_run(self, started: Callable[..., Driven]) -> None:
        driven = started(1)
        self.able(driven, "hard")
        driven.run(job(1, f"{self.sleep} 20", hard=0.2))
        lost = driven.of(Lost)[1]
        assert isinstance(lost, Lost)
        assert (lost.limit, lost.signal) == (0.2, None)
        driven.run(job(2))
        assert 2 in driven.of(Ended)

    def test_kill_ends_the_job_that_it_names(self, started: Callable[..., Driven]) -> None:
        driven = started()
        self.able(driven, "kill")
        driven.pool.submit([job(1, f"{self.sleep} 20")])
        driven.until(lambda: any(member["running"] == 1 for member in driven.pool.members()))
        assert not driven.pool.kill(99, signal.SIGTERM)
        assert driven.pool.kill(1, signal.SIGTERM)
        driven.until(lambda: 1 in driven.of(Lost))
        lost = driven.of(Lost)[1]
        assert isinstance(lost, Lost)
        assert (lost.limit, lost.signal) == (None, signal.SIGTERM)
        driven.run(job(2))

    def test_grows_and_shrinks(self, started: Callable[..., Driven]) -> None:
        driven = started(1)
        self.able(driven, "resize")
        driven.pool.resize(4)
        assert driven.pool.room() == 4
        driven.run(*(job(n, f"{self.sleep} 0.1") for n in range(1, 9)))
        driven.pool.resize(1)
        driven.run(*(job(n, f"{self.sleep} 0.01") for n in range(11, 15)))
        driven.pool.restart()
        driven.run(job(20))

    def test_what_a_task_destroys_is_its_own(self, started: Callable[..., Driven]) -> None:
        driven = started(2)
        self.able(driven, "processes")
        driven.run(job(1, "leave 3"), job(2), job(3))
        assert set(driven.of(Lost)) == {1}
        assert os.getpid() not in {member["pid"] for member in driven.pool.members()}

    def test_close_waits_then_ends_what_runs(self, started: Callable[..., Driven]) -> None:
        driven = started(2)
        self.able(driven, "kill")
        driven.pool.submit([job(1, f"{self.sleep} 0.2"), job(2, f"{self.sleep} 60"), job(3)])
        driven.until(lambda: any(member["running"] == 2 for member in driven.pool.members()))
        driven.pool.close(0.6)
        driven.pool.close(0.1)
        driven.seen += driven.pool.collect()
        assert driven.settled() == 3
        assert 2 in driven.of(Lost)
        assert 1 in driven.of(Ended)

    def test_members_are_told(self, started: Callable[..., Driven]) -> None:
        driven = started(2)
        driven.run(job(1))
        members = driven.pool.members()
        assert members
        assert all({"pid", "done", "running"} <= set(member) for member in members)
        assert sum(member["done"] for member in members) == 1

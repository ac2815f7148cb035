"""The prefork pool with real children: what is lost, what comes back, and that nothing runs twice."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.worker.pools import prefork
from celeriac.worker.pools.base import Begun, Ended, Job, Lost, Overdue, Returned
from celeriac.worker.pools.prefork import Prefork
from tests.conformance.pools import Driven, runs
from tests.worker.pools.programs import Script, job


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def started(ledger: Path) -> Iterator[Callable[..., Driven]]:
    pools: list[Prefork] = []

    def start(size: int = 2, *, lazy: bool = False, **options: Any) -> Driven:
        pool = Prefork(Script(ledger, lazy=lazy), size, **options)
        pools.append(pool)
        pool.start()
        return Driven(pool)

    yield start
    for pool in pools:
        pool.close(0.1)


def test_runs_every_job_once(started: Callable[..., Driven], ledger: Path) -> None:
    pool = started()
    pool.run(*map(job, range(1, 501)))
    assert runs(ledger) == Counter(range(1, 501))
    assert len(pool.of(Begun)) == len(pool.of(Ended)) == 500


def test_a_lazy_program_is_flushed_before_reports_leave(started: Callable[..., Driven], ledger: Path) -> None:
    pool = started(lazy=True)
    pool.run(*map(job, range(1, 301)))
    assert runs(ledger) == Counter(range(1, 301))


@pytest.mark.parametrize(
    ("how", "why"), [("leave 3", "exitcode 3"), ("die 9", "signal 9 (SIGKILL)"), ("die 11", "signal 11")]
)
def test_a_death_costs_one_job(started: Callable[..., Driven], ledger: Path, how: str, why: str) -> None:
    """Also when what ran before it in its batch is not told yet."""
    pool = started(lazy=True)
    pool.run(*map(job, range(1, 201)))  # now `nothing` is known to be quick, and goes in batches
    for start in range(1000, 2000, 100):
        killer = start + 50
        pool.pool._pace.saw(how, 1e-5)
        pool.run(*(job(number, how if number == killer else "nothing") for number in range(start, start + 100)))
        assert killer in pool.of(Lost)
    assert all(str(lost.why).startswith(why) for lost in pool.of(Lost).values())  # type: ignore[attr-defined]
    assert len(pool.of(Lost)) == 10
    counts = runs(ledger)
    done = [number for number in [*range(1, 201), *range(1000, 2000)] if number % 100 != 50 or number < 1000]
    assert {number: counts[number] for number in done if counts[number] < 1} == {}


@pytest.mark.parametrize("ends", [False, True])
def test_what_the_dead_have_still_to_send_waits_for_the_broker(
    started: Callable[..., Driven],
    ledger: Path,
    ends: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(prefork, "_OWED", 0.05)
    pool = started(1, lazy=True)
    pool.run(*map(job, range(1, 201)))  # now `nothing` is known to be quick, and goes in batches
    pool.pool._pace.saw("die 9", 1e-5)
    ledger.with_suffix(".away").touch()
    pool.run(*map(job, range(201, 221)), job(221, "die 9"))
    owed = len(pool.pool._owed)
    assert 0 < owed <= 20
    assert runs(ledger).keys() == set(range(1, 221 - owed))
    assert f"What nothing[id-{221 - owed}], whose child died, had to send waits for the broker" in caplog.text
    pool.pool.tend(time.monotonic() + 1)
    assert len(pool.pool._owed) == owed
    if ends:
        pool.pool.close(0.1)
    else:
        ledger.with_suffix(".away").unlink()
        pool.pool.tend(time.monotonic() + 2)
    assert not pool.pool._owed
    assert runs(ledger) == Counter(range(1, 221))


@pytest.mark.parametrize(("spawn", "kills"), [(False, 25), (True, 5)])
def test_children_killed_at_any_moment(started: Callable[..., Driven], ledger: Path, spawn: bool, kills: int) -> None:
    """kill -9 while quick jobs run: every job ends once, and none that ended runs again."""
    pool = started(spawn=spawn)
    for kill in range(kills):
        end = 150 * (kill + 1)
        pool.pool.submit([job(number) for number in range(150 * kill + 1, end + 1)])
        pool.until(lambda kill=kill: pool.settled() > 150 * kill + kill)
        pool.until(lambda: len(pool.pool._children) == 2)  # who took the last one's place may yet have to come
        os.kill(list(pool.pool._children)[kill % 2], signal.SIGKILL)
        pool.until(lambda end=end: pool.settled() >= end)
    assert len(pool.of(Ended)) + len(pool.of(Lost)) == 150 * kills
    counts = runs(ledger)
    twice = [n for n, count in counts.items() if count > 1]
    assert not twice
    assert set(pool.of(Ended)) <= set(counts)


def test_what_need_not_be_heard_at_once(started: Callable[..., Driven]) -> None:
    """One quick job that is paid for, and somebody idle: then a worker may sleep through its end, for a little."""
    pool = started()
    prefork = pool.pool
    assert isinstance(prefork, Prefork)
    pool.run(*map(job, range(1, 50)))

    def patience(*jobs: Job) -> float:
        prefork._pace._seconds["nothing"] = 1e-5
        prefork.submit(jobs)
        found = prefork.patience()
        prefork.release([each.number for each in jobs])
        pool.until(lambda: all(each.number in pool.of(Ended) for each in jobs))
        return found

    assert prefork.patience() == 0
    assert 0 < patience(job(101, held=True)) <= 0.004
    assert patience(job(102)) == 0  # its message is owed until it has ended
    assert patience(job(103, held=True), job(104, held=True)) == 0
    assert patience(job(105, "sleep 0.05", held=True)) == 0
    one = started(1)
    one.run(*map(job, range(1, 50)))
    one.pool.submit([job(101, held=True)])
    assert one.pool.patience() == 0  # type: ignore[attr-defined]  # who comes next would wait for it


def test_soft_limit_raises_in_the_task(started: Callable[..., Driven]) -> None:
    pool = started()
    pool.run(job(1, "sleep 5", soft=0.2), job(2, "sleep 0.01", soft=0.2))
    ended = pool.of(Ended)
    assert ended[1].report.state == "FAILURE"  # type: ignore[attr-defined]
    assert ended[1].report.runtime < 1.5  # type: ignore[attr-defined]
    assert ended[2].report.state == "SUCCESS"  # type: ignore[attr-defined]
    assert list(pool.of(Overdue)) == [1]


def test_hard_limit_ends_the_child(started: Callable[..., Driven]) -> None:
    pool = started()
    pool.run(job(1, "stubborn 30", soft=0.1, hard=0.3), job(2))
    lost = pool.of(Lost)[1]
    assert lost == Lost(1, "signal 9 (SIGKILL)", True, 0.3, None)
    pool.run(job(3))
    assert 3 in pool.of(Ended)


def test_kill_ends_the_job_it_names(started: Callable[..., Driven]) -> None:
    pool = started()
    pool.pool.submit([job(1, "sleep 30")])
    pool.until(lambda: any(member["running"] == 1 for member in pool.pool.members()))
    assert not pool.pool.kill(2, signal.SIGTERM)
    assert pool.pool.kill(1, signal.SIGTERM)
    pool.until(lambda: 1 in pool.of(Lost))
    assert pool.of(Lost)[1] == Lost(1, "signal 15 (SIGTERM)", True, None, signal.SIGTERM)


def test_what_stops_the_whole_group_ends_no_job(started: Callable[..., Driven]) -> None:
    """A service manager, or Ctrl-C, sends its signal to the children too: the parent alone decides."""
    pool = started(1)
    pool.pool.submit([job(1, "sleep 0.4")])
    while not any(member["running"] == 1 for member in pool.pool.members()):
        time.sleep(0.01)
    child = next(iter(pool.pool._children))
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(child, number)
    pool.until(lambda: pool.settled() == 1)
    assert 1 in pool.of(Ended)
    pool.run(job(2, "pid"))
    assert pool.report(2).result == str(child)  # type: ignore[attr-defined]


def test_a_held_job_waits_for_its_release(started: Callable[..., Driven], ledger: Path) -> None:
    pool = started(1)
    pool.pool.submit([job(1, held=True), job(2, held=True)])
    pool.until(lambda: 1 in pool.of(Begun))
    time.sleep(0.1)
    assert not runs(ledger)
    pool.pool.release([1])
    pool.until(lambda: 1 in pool.of(Ended))
    pool.until(lambda: 2 in pool.of(Begun))
    time.sleep(0.05)
    assert 2 not in runs(ledger)
    pool.pool.release([2])
    pool.until(lambda: 2 in pool.of(Ended))


def test_no_quick_job_waits_behind_a_slow_one(started: Callable[..., Driven]) -> None:
    pool = started(2)
    for name in ("nothing", "sleep 3"):
        pool.pool._pace.saw(name, 1e-5)
    began = time.monotonic()
    pool.pool.submit([job(1, "sleep 3"), *map(job, range(2, 40))])
    pool.until(lambda: len(pool.of(Ended)) == 38)
    assert time.monotonic() - began < 2.5
    pool.until(lambda: 1 in pool.of(Ended))


def test_jobs_taken_back_run_once(started: Callable[..., Driven], ledger: Path) -> None:
    pool = started(2)
    total = 0
    for round_ in range(30):
        for name in ("nothing", "sleep 0.03"):
            pool.pool._pace.saw(name, 1e-5)
            pool.pool._pace._seconds[name] = 1e-5
        base = round_ * 100
        pool.run(*(job(base + place, "sleep 0.03" if place == 3 else "nothing") for place in range(1, 61)))
        total += 60
    assert runs(ledger) == Counter({round_ * 100 + place: 1 for round_ in range(30) for place in range(1, 61)})


def test_recall_gives_back_what_nobody_has(started: Callable[..., Driven], ledger: Path) -> None:
    pool = started(1)
    pool.pool.submit([job(1, "sleep 0.3"), *(job(n, "sleep 0.2") for n in range(2, 6))])
    pool.pool.recall([3])
    pool.pool.recall()
    pool.until(lambda: 1 in pool.of(Ended))
    assert set(pool.of(Returned)) == {2, 3, 4, 5}
    assert set(runs(ledger)) == {1}


def in_one_batch(pool: Driven, name: str) -> None:
    """From now on this is taken for quick."""
    pool.pool._pace.saw(name, 1e-5)
    pool.pool._pace._seconds[name] = 1e-5


@pytest.mark.parametrize("held", [False, True])
def test_what_waits_in_a_child_for_its_turn_can_be_taken_back(
    started: Callable[..., Driven], ledger: Path, held: bool
) -> None:
    """`Begun` has been said of all; the child has something else to do first."""
    pool = started(1)
    in_one_batch(pool, "sleep 0.3")
    pool.pool.submit([job(number, "sleep 0.3", held=held) for number in range(1, 7)])
    pool.until(lambda: len(pool.of(Begun)) == 6)
    pool.pool.release(list(range(1, 7)))
    pool.until(lambda: pool.pool.members()[0]["running"] == 1)
    pool.pool.recall([1, 3, 5])
    assert not pool.pool.kill(6, signal.SIGTERM)
    pool.until(lambda: pool.settled() == 6)
    assert set(pool.of(Returned)) == {3, 5, 6}, "and the first runs"
    assert set(pool.of(Ended)) == {1, 2, 4}
    assert runs(ledger) == {1: 1, 2: 1, 4: 1}


def test_what_waits_in_a_child_that_is_ended_can_be_taken_back(started: Callable[..., Driven], ledger: Path) -> None:
    pool = started(1)
    in_one_batch(pool, "sleep 0.3")
    pool.pool.submit([job(number, "sleep 0.3") for number in range(1, 5)])
    pool.until(lambda: pool.pool.members()[0]["running"] == 1)
    assert [pool.pool.kill(number, signal.SIGTERM) for number in (1, 2, 3)] == [True, False, False]
    pool.until(lambda: pool.settled() == 4)
    assert set(pool.of(Lost)) == {1}
    assert set(pool.of(Returned)) == {2, 3}
    assert set(pool.of(Ended)) == {4}
    assert runs(ledger)[2] == runs(ledger)[3] == 0


@pytest.mark.parametrize("signum", [0, signal.SIGTERM])
def test_what_is_taken_back_at_any_moment_has_run_or_has_not(
    started: Callable[..., Driven], ledger: Path, signum: int
) -> None:
    pool = started(2)
    in_one_batch(pool, "nothing")
    for round_ in range(40):
        numbers = range(round_ * 100, round_ * 100 + 60)
        done = pool.settled() + 60
        pool.pool.submit([job(number, "sleep 0.002" if number % 20 == 10 else "nothing") for number in numbers])
        pool.seen += pool.pool.collect()
        for number in numbers[20:50:3]:
            if signum:
                pool.pool.kill(number, signum)
            else:
                pool.pool.recall([number])
        pool.until(lambda done=done: pool.settled() >= done)
    ended, returned, lost = (set(pool.of(kind)) for kind in (Ended, Returned, Lost))
    assert len(ended) + len(returned) + len(lost) == pool.settled() == 40 * 60
    assert returned
    counts = runs(ledger)
    assert not [number for number in returned if counts[number]]
    assert not [number for number in ended if counts[number] != 1]
    assert not pool.pool._unwanted


def test_children_are_replaced_after_their_share(started: Callable[..., Driven]) -> None:
    pool = started(1, max_tasks=3)
    pool.run(*(job(number, "pid") for number in range(1, 10)))
    pids = Counter(ended.report.result for ended in pool.of(Ended).values())  # type: ignore[attr-defined]
    assert max(pids.values()) <= 3


def test_resize_and_restart(started: Callable[..., Driven]) -> None:
    pool = started(1)
    pool.pool.resize(3)
    assert len(pool.pool.members()) == 3
    pool.run(*(job(number, "sleep 0.05") for number in range(1, 7)))
    before = set(pool.pool._children)
    pool.pool.resize(1)
    pool.until(lambda: len(pool.pool.members()) == 1)
    pool.pool.restart()
    pool.until(lambda: not before & set(pool.pool._children))
    pool.run(job(10))


def test_a_task_may_have_children_of_its_own(started: Callable[..., Driven]) -> None:
    """They hold the child's socket: its death is noticed all the same."""
    pool = started(1)
    pool.run(job(1, "fork"))
    grandchild = int(pool.of(Ended)[1].report.result)  # type: ignore[attr-defined]
    os.kill(next(iter(pool.pool._children)), signal.SIGKILL)
    pool.run(job(2))
    os.kill(grandchild, signal.SIGKILL)


def test_large_messages_do_not_block_the_parent(started: Callable[..., Driven]) -> None:
    pool = started(2)
    big = job(1)
    big.message.headers["blob"] = "x" * 8_000_000
    began = time.monotonic()
    pool.pool.submit([job(2, "sleep 3"), job(3, "sleep 3"), big])
    assert time.monotonic() - began < 2.5, "it was waited for somebody to read"
    pool.until(lambda: 1 in pool.of(Ended))


def test_close_waits_and_then_ends(started: Callable[..., Driven]) -> None:
    pool = started(2)
    pool.pool.submit([job(1, "sleep 0.2"), job(2, "sleep 60"), job(3)])
    pool.pool.close(0.6)
    pool.seen += pool.pool.collect()
    assert (set(pool.of(Ended)), set(pool.of(Lost)), set(pool.of(Returned))) == ({1}, {2}, {3})
    assert not pool.pool.members()


@pytest.mark.parametrize("spawn", [False, True])
def test_orphans_do_what_they_were_given_and_leave(tmp_path: Path, spawn: bool) -> None:
    """The parent is killed: a released job is done, one that is held is not begun. Also by a child that comes up when
    its parent is gone."""
    ledger = tmp_path / "ledger"
    pid = os.fork()
    if pid == 0:
        pool = Prefork(Script(ledger), 2, spawn=spawn)
        pool.start()
        pool.submit([job(1, "sleep 0.4"), job(2, "nothing", held=True)])
        until = time.monotonic() + 10
        while not spawn and not ledger.exists() and time.monotonic() < until:
            time.sleep(0.005)  # until the first job has begun; what is spawned comes up afterwards
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    ended = ledger.with_suffix(".ended")
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and (not ended.exists() or len(ended.read_text().split()) < 4):
        time.sleep(0.02)
    assert set(runs(ledger)) == {1}
    assert len(ended.read_text().splitlines()) == 2


def test_children_are_replaced_when_they_have_grown(started: Callable[..., Driven]) -> None:
    pool = started(1, max_memory=1)
    pool.run(*(job(number, "pid") for number in range(1, 4)))
    pool.run(job(4, "pid"))
    assert pool.report(1).result != pool.report(4).result  # type: ignore[attr-defined]


def test_the_memory_of_a_child_is_told(started: Callable[..., Driven]) -> None:
    pool = started(1)
    pool.run(job(1))
    assert [member["memory"] > 1000 for member in pool.pool.members()] == [True]

"""Children that do not move: what is said of them, and what becomes of what they were given."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from celeriac.protocol.rules.outcome import Report
from celeriac.worker.pools import prefork, vigil
from celeriac.worker.pools.base import Ended
from celeriac.worker.pools.prefork import Prefork
from tests.conformance.pools import Driven, runs
from tests.worker.pools.programs import Script, job

Start = Callable[..., Driven]


class Slow(Script):
    """It takes its time to come up."""

    def begin(self, place: int) -> None:
        seconds = float(self.ledger.with_suffix(".birth").read_text())
        self.write(self.ledger.with_suffix(".coming"), str(seconds))
        time.sleep(seconds)
        super().begin(place)


class Writing(Script):
    """Where it writes what its first job came to, somebody is away for a while."""

    def flush(self, reports: Sequence[Report]) -> Sequence[Report]:
        if self.left[0] == b"1\n":
            self.write(self.ledger.with_suffix(".writing"), "1")
            while not self.ledger.with_suffix(".back").exists():
                time.sleep(0.01)  # as one waits for a broker
        return super().flush(reports)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def started(ledger: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Start]:
    pools: list[Prefork] = []
    monkeypatch.setattr(vigil, "EVERY", 0.05)
    caplog.set_level(logging.WARNING, "celery.concurrency.prefork")

    def start(size: int = 1, program: type[Script] = Script, **options: float) -> Driven:
        pool = Prefork(program(ledger), size, **options)  # type: ignore[arg-type]  # the options of one test
        pools.append(pool)
        pool.start()
        return Driven(pool)

    yield start
    for pool in pools:
        for child in pool._children.values():
            os.kill(child.pid, signal.SIGCONT)
        pool.close(0.1)


def _tended(pool: Driven, done: Callable[[], bool]) -> None:
    def look() -> bool:
        pool.pool.tend(time.monotonic())
        return done()

    pool.until(look)


def test_one_that_is_stopped_in_a_task_is_told_of_and_left_alone(
    started: Start, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = started()
    pool.pool.submit([job(1, "nap 3")])
    pool.until(lambda: runs(ledger) == Counter([1]))
    (pid,) = pool.pool._children
    os.kill(pid, signal.SIGSTOP)
    _tended(pool, lambda: "is stopped" in caplog.text)
    assert f"Child process {pid} is stopped (SIGSTOP, or a debugger) in nap 3[id-1]" in caplog.text
    assert pool.pool.members()[0]["frozen"] is True
    os.kill(pid, signal.SIGCONT)
    _tended(pool, lambda: f"Child process {pid} moves again" in caplog.text)
    _tended(pool, lambda: pool.settled() == 1)
    assert pool.of(Ended).keys() == {1}
    assert pool.pool.members()[0]["frozen"] is False
    assert pool.pool.deaths == 0
    assert caplog.text.count("is stopped") == 1


def test_what_one_that_is_stopped_has_not_begun_goes_to_another(
    started: Start, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = started()
    pool.run(job(1))
    (pid,) = pool.pool._children
    os.kill(pid, signal.SIGSTOP)
    pool.pool.submit([job(2)])
    _tended(pool, lambda: pool.settled() == 2)
    assert pool.of(Ended).keys() == {1, 2}
    assert runs(ledger) == Counter([1, 2])
    assert f"Child process {pid} is stopped for" in caplog.text
    assert "what it has not begun goes to others: nothing[id-2]" in caplog.text
    assert "died between tasks" not in caplog.text
    assert pool.pool.deaths == 1


def test_one_that_begins_nothing_is_replaced(
    started: Start, ledger: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever holds it: the system says that it sleeps."""
    ledger.with_suffix(".birth").write_text("60")
    pool = started(program=Slow, alive_timeout=60)
    monkeypatch.setattr(vigil, "FROZEN", 0.2)
    pool.until(ledger.with_suffix(".coming").exists)
    pool.pool.submit([job(1)])
    ledger.with_suffix(".birth").write_text("0")
    _tended(pool, lambda: pool.settled() == 1)
    assert pool.of(Ended).keys() == {1}
    assert "has begun nothing for" in caplog.text


def test_one_that_writes_what_it_has_done_is_left_alone_and_what_waits_behind_it_goes_to_others(
    started: Start, ledger: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vigil, "FROZEN", 1.0)  # a busy machine may not let one begin for a while
    monkeypatch.setattr(prefork, "_WRITING", 0.3)
    pool = started(2, program=Writing)
    pool.run(*map(job, range(20, 60)))  # they are known to be quick, so many are given at once
    pool.pool.submit([job(60, "sleep 5"), job(1)])
    pool.until(ledger.with_suffix(".writing").exists)
    pool.pool.submit([job(number) for number in range(2, 10)])
    (behind,) = (child for child in pool.pool._children.values() if 1 in child.given)
    assert behind.given.keys() > {1}
    _tended(pool, lambda: pool.of(Ended).keys() >= set(range(2, 10)))
    end = time.monotonic() + 2.2
    _tended(pool, lambda: time.monotonic() > end)  # more than twice what would end it
    assert 1 not in pool.of(Ended)
    assert "has been writing what it has done for" in caplog.text
    assert ", of nothing[id-1]" in caplog.text
    ledger.with_suffix(".back").touch()
    _tended(pool, lambda: pool.settled() == 50)
    assert runs(ledger) == Counter([*range(1, 10), *range(20, 61)])
    assert pool.pool.deaths == 0
    assert "has begun nothing" not in caplog.text


def test_one_that_does_not_come_up_is_told_of_and_replaced(
    started: Start, ledger: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.with_suffix(".birth").write_text("60")
    monkeypatch.setattr(vigil, "STILLBORN", 4)
    pool = started(program=Slow, alive_timeout=0.5)
    (pid,) = pool.pool._children
    _tended(pool, lambda: "(worker_proc_alive_timeout): what it imports" in caplog.text)
    ledger.with_suffix(".birth").write_text("0")
    _tended(pool, lambda: bool(pool.pool._children) and pid not in pool.pool._children)
    assert f"Child process {pid} is not up after" in caplog.text
    assert "(worker_proc_alive_timeout): it is killed and replaced" in caplog.text
    pool.run(job(1))

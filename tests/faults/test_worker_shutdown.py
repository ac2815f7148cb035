"""Whole workers that are told to leave, in every way and at a random instant of their work.

They leave within the running task and a second; nothing is lost, nothing is done twice, and what had not begun is with
the broker at once, for others. `--terms` sets the size.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from celeriac.worker import brokers
from tests.faults import ground
from tests.faults.ground import Ground, Hurt

pytestmark = pytest.mark.real

TASK = 0.4
SLACK = 1.0
BUSY = 1.0
"""Besides, where a handful of stops on a machine with other work cannot say what is usual; `make faults` allows none."""
KINDS = ("redis", "amqp")


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Any:
    server = request.getfixturevalue({"redis": "redis_server", "amqp": "rabbitmq_server"}[request.param])
    if request.param == "redis":
        server.call("FLUSHALL")
    return server


@pytest.fixture
def place(redis_server: Any, tmp_path: Path) -> Iterator[Ground]:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, redis_server.url) as it:
        yield it


def size(url: str, queue: str) -> int:
    with closing(brokers.connect(url, {}, 5)) as broker:
        return broker.size(queue)


def running(worker: Hurt, place: Ground, count: int = 1) -> None:
    """Wait until so many run, and no more than just so long."""
    assert ground.until(lambda: sum(place.seen("start").values()) >= count, 20), place.logs()


def consistent(place: Ground) -> None:
    starts, ends = place.seen("start"), place.seen("end")
    assert starts == ends, starts - ends
    assert not {number for number, times in starts.items() if times > 1}


@pytest.mark.parametrize("acks", ["early", "late"])
def test_sigterm_under_load(server: Any, acks: str, terms: int, tmp_path: Path, figures: list[str]) -> None:
    queue = f"terms-{acks}"
    chance = random.Random(f"{acks}{server.url[:4]}")
    times = max(1, terms // 4) if terms < 20 else terms
    took: list[float] = []
    sent = 0
    with ground.on(tmp_path, server.url, None, queue, task_acks_late=acks == "late") as place:
        for _ in range(times):
            worker = place.start().ready()
            place.run(
                f"for n in range({sent}, {sent + 300}): work.delay(n, [0, 0, 0.002, 0.01][n % 4] if n % 60 else {TASK})"
            )
            sent += 300
            running(worker, place, sent - 300 + 10)
            time.sleep(chance.uniform(0, 0.4))
            worker.send(signal.SIGTERM)
            took.append(worker.leaves(TASK + SLACK + 5))
            assert worker.process.returncode == 0, worker.text[-2000:]
            left = size(server.url, queue)
            assert len(place.seen("end")) + left == sent, f"{len(place.seen('end'))} done, {left} left of {sent}"
            consistent(place)
        worker = place.start()
        assert ground.until(lambda: len(place.seen("end")) == sent, 60), place.logs()
        consistent(place)
    late = [seconds for seconds in took if seconds >= TASK + SLACK + (BUSY if times < 50 else 0)]
    figures.append(
        f"SIGTERM under load, {server.url[:5]}, {acks} acks: {times} times, {sorted(took)[times // 2]:.2f} s as a rule, at "
        f"most {max(took):.2f} s, {len(late)} late"
    )
    assert len(late) <= times // 50, f"{late}: a busy machine may be late once, not again and again"


def test_prefetched_messages_are_back_at_once(server: Any, tmp_path: Path) -> None:
    """While the running task still runs."""
    with ground.on(tmp_path, server.url, None, "prefetched", worker_prefetch_multiplier=20) as place:
        worker = place.start().ready()
        place.run("for n in range(30): work.delay(n, 4)")
        running(worker, place, 2)
        assert ground.until(lambda: size(server.url, "prefetched") == 0, 5)
        worker.send(signal.SIGTERM)
        assert ground.until(lambda: size(server.url, "prefetched") == 28, 3.0), size(server.url, "prefetched")
        assert worker.alive
        worker.leaves(6)
        consistent(place)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in "ZX"
    except OSError:
        return False


def test_a_cold_end_leaves_no_idle_process(place: Ground) -> None:
    """Nor one that is stopped and hears nothing; the witness among them."""
    worker = place.start("-c", "3").ready()
    place.run("late.delay(1, 20)")
    running(worker, place)
    processes = worker.children()
    for pid in set(processes) - {ran.pid for ran in place.ledger()}:
        os.kill(pid, signal.SIGSTOP)
    worker.send(signal.SIGQUIT)
    assert worker.leaves(5) < 4
    assert len(processes) == 4
    assert ground.until(lambda: not any(map(lives, processes)), 3)
    assert size(place.env["BROKER"], "hurt") == 1


@pytest.mark.parametrize("late", [False, True])
def test_sigquit_is_cold(late: bool, place: Ground) -> None:
    """What ran is ended: it goes back if it was not acknowledged, and is a failure that somebody was told of if it was."""
    worker = place.start().ready()
    sent = place.run(f"for n in range(6): print({'late' if late else 'work'}.delay(n, 20).id)").split()
    running(worker, place, 2)
    processes = worker.children()
    worker.send(signal.SIGQUIT)
    assert worker.leaves(4) < 3
    assert worker.process.returncode != 0
    assert len(processes) == 3, "two that work, and their witness"
    assert ground.until(lambda: not any(map(lives, processes)), 3)
    started = set(place.seen("start"))
    assert len(started) == 2
    assert size(place.env["BROKER"], "hurt") == (6 if late else 4)
    assert not place.seen("end")
    states = [state for state, _ in place.results(sent).values()]
    if late:
        assert set(states) == {"PENDING"}


def test_sigint_twice_is_cold(place: Ground) -> None:
    worker = place.start().ready()
    place.run("for n in range(6): late.delay(n, 20)")
    running(worker, place, 2)
    worker.send(signal.SIGINT)
    time.sleep(0.5)
    assert worker.alive
    assert ground.until(lambda: size(place.env["BROKER"], "hurt") == 4, 2)
    worker.send(signal.SIGINT)
    worker.leaves(3)
    assert size(place.env["BROKER"], "hurt") == 6


def test_sigterm_twice_stays_warm_and_sigquit_after_it_is_cold(place: Ground) -> None:
    worker = place.start().ready()
    place.run("for n in range(2): late.delay(n, 20)")
    running(worker, place, 2)
    worker.send(signal.SIGTERM)
    worker.send(signal.SIGTERM)
    time.sleep(0.5)
    worker.send(signal.SIGTERM)
    time.sleep(0.5)
    assert worker.alive
    worker.send(signal.SIGQUIT)
    worker.leaves(3)
    assert not place.seen("end")
    assert size(place.env["BROKER"], "hurt") == 2


def test_remapped_sigterm_is_cold(place: Ground) -> None:
    worker = place.start(REMAP_SIGTERM="SIGQUIT").ready()
    place.run("for n in range(2): late.delay(n, 20)")
    running(worker, place, 2)
    worker.send(signal.SIGTERM)
    worker.leaves(3)
    assert size(place.env["BROKER"], "hurt") == 2


def test_soft_shutdown_waits_so_long(redis_server: Any, tmp_path: Path) -> None:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, None, worker_soft_shutdown_timeout=2) as place:
        worker = place.start().ready()
        place.run("late.delay(1, 1.0)\nlate.delay(2, 20)")
        running(worker, place, 2)
        worker.send(signal.SIGQUIT)
        took = worker.leaves(8)
        assert 1.0 < took < 6
        assert set(place.seen("end")) == {1}
        assert size(redis_server.url, "hurt") == 1
        assert "Initiating Soft Shutdown, terminating in 2 seconds" in worker.text, "as stock has it"


def test_sighup_starts_anew(place: Ground) -> None:
    worker = place.start().ready()
    place.run("for n in range(4): work.delay(n, 0.5)")
    running(worker, place, 2)
    worker.send(signal.SIGHUP)
    assert ground.until(lambda: ground.count(r" ready\.", worker.text) == 2, 20), worker.text[-3000:]
    assert worker.alive
    place.run("for n in range(10, 14): work.delay(n)")
    assert ground.until(lambda: {0, 1, 2, 3, 10, 11, 12, 13} <= set(place.seen("end")), 10), worker.text[-3000:]
    consistent(place)
    assert len(worker.children()) == 3, "two that work, and their witness"
    worker.send(signal.SIGTERM)
    worker.leaves(3)


def test_sigusr1_shows_where_it_is(place: Ground) -> None:
    worker = place.start().ready()
    worker.send(signal.SIGUSR1)
    assert ground.until(lambda: "most recent call first" in worker.text, 3), worker.text[-2000:]
    assert worker.alive
    place.run("work.delay(1)")
    assert ground.until(lambda: place.seen("end")[1] == 1, 5)


@pytest.mark.parametrize("pool", ["solo", "threads", "asyncio"])
def test_other_pools_leave_in_time(pool: str, place: Ground) -> None:
    worker = place.start(pool=pool).ready()
    place.run(f"for n in range(8): {'nap' if pool == 'asyncio' else 'work'}.delay(n, {TASK})")
    running(worker, place)
    worker.send(signal.SIGTERM)
    assert worker.leaves(5) < TASK + SLACK + BUSY
    consistent(place)
    assert len(place.seen("end")) + size(place.env["BROKER"], "hurt") == 8


def test_a_terminal_tells_everybody(place: Ground) -> None:
    """Ctrl-C reaches the children too: what runs goes on nonetheless."""
    worker = place.start().ready()
    place.run("for n in range(2): work.delay(n, 1)")
    running(worker, place, 2)
    for pid in (*worker.children(), worker.process.pid):
        os.kill(pid, signal.SIGINT)
    worker.leaves(3)
    assert set(place.seen("end")) == {0, 1}

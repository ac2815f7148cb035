"""Tasks that destroy what runs them: each costs itself alone, and the worker goes on.

A child that dies takes one task with it; a task that dies again and again is given up, and is found among the dead.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.faults import ground
from tests.faults.ground import Ground

pytestmark = pytest.mark.real

WAYS = ("memory", "exit", "leave", "segv", "oom", "abort", "recurse", "term")
LOST = {"exit": "exitcode 7", "segv": "SIGSEGV", "oom": "SIGKILL", "abort": "SIGABRT"}


@pytest.fixture
def place(redis_server: servers.RedisServer, tmp_path: Path) -> Iterator[Ground]:
    redis_server.call("FLUSHALL")
    with ground.on(
        tmp_path, redis_server.url, redis_server.url, worker_max_deliveries=2, task_track_started=True
    ) as it:
        yield it


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, redis_server: servers.RedisServer) -> str:
    """Where the tasks lie; Redis has their results."""
    redis_server.call("FLUSHALL")
    url: str = request.getfixturevalue(f"{request.param}_server").url
    return url


def test_a_child_that_dies_costs_its_own_task(place: Ground) -> None:
    ways = [way for way in WAYS if way != "term"]
    worker = place.start().ready()
    sent = place.run(
        f"for n, way in enumerate({ways!r}):\n"
        "    for k in range(20): work.delay(1000 + n * 20 + k)\n"
        "    print(die.delay(n, way).id, flush=True)\n"
        "for k in range(50): work.delay(2000 + k)"
    ).split()
    good = {1000 + n for n in range(len(ways) * 20)} | {2000 + n for n in range(50)}
    assert ground.until(lambda: good <= set(place.seen("end")), 30), place.logs()
    assert worker.alive
    found: dict[str, tuple[str, str]] = {}

    def told() -> bool:
        found.update(dict(zip(ways, place.results(sent).values(), strict=True)))
        return all(state == "FAILURE" for state, _ in found.values())

    assert ground.until(told, 10), found
    for way, text in LOST.items():
        assert "WorkerLostError" in found[way][1], found
        assert text in found[way][1], found
        assert "Worker exited prematurely: " in found[way][1], found
        lines = [line for line in worker.text.splitlines() if line.endswith(f" in hurt.die[{sent[ways.index(way)]}]")]
        assert any("Task handler raised error: WorkerLostError('Worker exited" in line for line in lines), lines
    assert "MemoryError" in found["memory"][1]
    assert "RecursionError" in found["recurse"][1]
    twice = {number: times for number, times in place.seen("start").items() if times > 1}
    assert not twice


def test_a_task_that_always_kills_is_given_up(place: Ground, redis_server: servers.RedisServer) -> None:
    worker = place.start().ready()
    sent = place.run("print(die_late.delay(1, 'oom').id)\nfor k in range(100, 140): late.delay(k)").split()
    assert ground.until(lambda: int(redis_server.call("LLEN", "hurt.dead")) == 1, 20), place.logs()
    assert ground.until(lambda: set(range(100, 140)) <= set(place.seen("end")), 20), place.logs()
    assert worker.alive
    assert place.seen("start")[1] == 2
    assert ground.until(lambda: place.results(sent)[sent[0]][0] == "FAILURE", 10), place.results(sent)
    assert ground.until(lambda: not redis_server.call("HLEN", "unacked"), 5)
    row = place.command("dead", "list").stdout
    assert sent[0] in row
    assert "hurt.die_late" in row


def test_a_task_that_killed_elsewhere_is_given_up_by_who_takes_it_next(
    broker: str, redis_server: servers.RedisServer, tmp_path: Path
) -> None:
    """Its message tells how often, also when those who saw it are gone."""
    with ground.on(tmp_path, broker, redis_server.url, "deaths", worker_max_deliveries=3) as place:
        patient = place.start(concurrency=1, CONF=json.dumps({"worker_max_deliveries": 1000})).ready()
        place.run("die_late.delay(1, 'oom')")
        assert ground.until(lambda: place.seen("start")[1] > 4, 20), place.logs()
        patient.process.kill()
        patient.leaves(5)
        worker = place.start(concurrency=1).ready()
        assert ground.until(lambda: bool(re.search(r"is given up: \d+ times lost", worker.text)), 30), place.logs()
        lost = re.search(r"is given up: (\d+) times lost", worker.text)
        assert lost is not None
        assert int(lost[1]) >= 4, "as its message told, and one more"


def test_what_has_succeeded_is_not_run_again_where_that_is_wanted(
    broker: str, redis_server: servers.RedisServer, tmp_path: Path
) -> None:
    """A worker is killed when results are stored and nothing of it is acknowledged: their messages come again."""
    conf = {"broker_transport_options": {"visibility_timeout": 2}} if broker.startswith("redis") else {}
    with ground.on(
        tmp_path, broker, redis_server.url, "once", worker_deduplicate_successful_tasks=True, **conf
    ) as place:
        first = place.start(concurrency=2).ready()
        sent = place.run("for n in range(2): print(late.delay(n, 0.5).id)").split()
        assert ground.until(lambda: sum(place.seen("start").values()) == 2, 20), place.logs()
        first.send(signal.SIGSTOP)
        stored = [f"celery-task-meta-{name}" for name in sent]
        assert ground.until(lambda: redis_server.call("EXISTS", *stored) == 2, 20), place.logs()
        first.process.kill()
        first.leaves(5)
        second = place.start(concurrency=2).ready()
        place.run("for n in range(10, 14): late.delay(n)")
        text = "Task already completed successfully."
        assert ground.until(lambda: second.text.count(text) == 2, 30), place.logs()
        assert ground.until(lambda: set(range(10, 14)) <= set(place.seen("end")), 20), place.logs()
        assert place.seen("start") == dict.fromkeys((0, 1, 10, 11, 12, 13), 1)


def test_terminating_the_own_child_is_survived(place: Ground) -> None:
    """SIGTERM to a child, by whom ever: what it did is over, or was lost; nothing hangs."""
    worker = place.start().ready()
    place.run("die.delay(1, 'term')\nfor k in range(100, 120): work.delay(k)")
    assert ground.until(lambda: set(range(100, 120)) <= set(place.seen("end")), 20), place.logs()
    assert worker.alive


@pytest.mark.parametrize("pool", ["solo", "threads", "asyncio"])
def test_what_leaves_the_process_costs_its_own_task(pool: str, place: Ground) -> None:
    """Where tasks share a process, what can be survived is."""
    worker = place.start(pool=pool).ready()
    sent = place.run(
        "for n, way in enumerate(['memory', 'leave', 'recurse']): print(die.delay(n, way).id)\n"
        "for k in range(100, 120): work.delay(k)"
    ).split()
    assert ground.until(lambda: set(range(100, 120)) <= set(place.seen("end")), 20), place.logs()
    time.sleep(0.2)
    assert worker.alive
    assert {state for state, _ in place.results(sent).values()} == {"FAILURE"}, place.results(sent)

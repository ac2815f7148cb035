"""What whole workers take and what they leave in the queue: for others, and for later."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from celeriac.worker import brokers
from tests.faults import ground

pytestmark = pytest.mark.real


def _size(url: str, queue: str) -> int:
    with closing(brokers.connect(url, {}, 5)) as broker:
        return broker.size(queue)


def test_no_more_than_so_many_tasks_for_later_are_held(redis_server: Any, tmp_path: Path) -> None:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, worker_eta_task_limit=3) as place:
        place.start("-c", "2").ready()
        place.run("for n in range(12): work.apply_async((n,), countdown=8)")
        assert ground.until(lambda: _size(redis_server.url, "hurt") == 9, 5), place.logs()
        place.run("for n in range(20, 24): work.apply_async((n,), countdown=4)")
        assert ground.until(lambda: sum(place.seen("end").values()) == 16, 40), place.logs()
        assert set(place.seen("start").values()) == {1}


def test_without_prefetch_what_cannot_run_is_left_for_others(redis_server: Any, tmp_path: Path) -> None:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, worker_disable_prefetch=True) as place:
        place.start("-c", "2").ready()
        place.run("for n in range(6): work.delay(n, 2)")
        assert ground.until(lambda: len(place.seen("start")) == 2, 20), place.logs()
        assert _size(redis_server.url, "hurt") == 4
        place.start("-c", "2", pool="threads").ready()
        assert ground.until(lambda: len(place.seen("start")) >= 4, 20), place.logs()
        assert ground.until(lambda: len(place.seen("end")) == 6, 20), place.logs()
        assert set(place.seen("start").values()) == {1}


def test_quorum_queues(rabbitmq_server: Any, tmp_path: Path) -> None:
    """Tasks for now, for later, and those whose process dies; none is lost, and none of those that end runs twice."""
    conf = {"task_default_queue_type": "quorum", "task_default_exchange_type": "topic"}
    with ground.on(tmp_path, rabbitmq_server.url, queue="quorum", **conf) as place:
        worker = place.start("-c", "2").ready()
        place.run(
            "for n in range(20): late.delay(n)\nfor n in range(20, 25): work.apply_async((n,), countdown=2)\n"
            "die_late.delay(30, 'oom')"
        )
        assert ground.until(lambda: len(place.seen("end")) == 25, 40), place.logs()
        assert ground.until(lambda: place.seen("start")[30] >= 2, 20), place.logs()
        assert {number: times for number, times in place.seen("end").items() if times != 1} == {}
        assert "NOT_IMPLEMENTED" not in worker.text


def test_priorities_are_kept_at_once_after_tasks_that_waited(rabbitmq_server: Any, tmp_path: Path) -> None:
    """What waits for its time has a place beside the slots; once it has run, no other message comes early by it."""
    conf = {"task_queue_max_priority": 9, "worker_prefetch_multiplier": 4}
    with ground.on(tmp_path, rabbitmq_server.url, queue="ranked-later", **conf) as place:
        place.start("-c", "1").ready()
        place.run(
            "def until(true):\n"
            "    while not true(): time.sleep(0.02)\n"
            "ledger = lambda: open(os.environ['LEDGER']).read() if os.path.exists(os.environ['LEDGER']) else ''\n"
            "for n in range(3): work.apply_async((n,), countdown=1.6)\n"
            "time.sleep(1.1)  # longer than the second after which a worker looks for room anew: nothing tells of it\n"
            "work.apply_async((3,), countdown=0.5)\n"
            "until(lambda: ledger().count('end') == 4)\n"
            "time.sleep(0.2)  # it tells the broker alone of its narrower window; once it took a second to\n"
            "work.delay(10, 2)\nuntil(lambda: 'start 10' in ledger())\n"
            "for n in range(11, 23): work.apply_async((n,), priority=1)\n"
            "work.apply_async((30,), priority=9)"
        )
        assert ground.until(lambda: len(place.seen("end")) == 18, 20), place.logs()
        order = [int(ran.number) for ran in place.ledger() if ran.what == "start"][4:]
        assert order.index(30) <= 1 + 1 + 4, f"{order}: one runs, one is in the child, four are fetched"


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_task_that_nobody_knows_yet(kind: str, redis_server: Any, tmp_path: Path, request: Any) -> None:
    """In a deployment that rolls: it waits for a worker that knows it, and is buried where none comes."""
    redis_server.call("FLUSHALL")
    url = redis_server.url if kind == "redis" else request.getfixturevalue("rabbitmq_server").url
    conf = {"worker_unknown_task": "requeue", "worker_unknown_task_delay": 1, "worker_unknown_task_retries": 2}
    (tmp_path / "newer.py").write_text("from hurt_app import app, work\napp.task(work, name='hurt.newer')\n")
    with ground.on(tmp_path, url, redis_server.url, queue="strangers", **conf) as place:
        old = place.start("-c", "1").ready()
        place.run("app.send_task('hurt.nobodys', (1,), task_id='nobodys')")
        assert ground.until(lambda: _size(url, "strangers.dead") == 1, 20), place.logs()
        state, result = place.results(["nobodys"])["nobodys"]
        assert (state, "of kind 'hurt.nobodys' never registered" in result) == ("FAILURE", True)
        assert ground.count(r"nobodys\] is not registered here: it goes back to its queue in 1 seconds", old.text) == 2
        place.run("app.send_task('hurt.newer', (2,), task_id='newers')")
        path = os.pathsep.join(filter(None, (str(tmp_path), place.env.get("PYTHONPATH"))))
        place.start("-c", "1", "-I", "newer", PYTHONPATH=path)
        old.send(ground.signal.SIGTERM)
        assert ground.until(lambda: place.seen("end")[2] == 1, 20), place.logs()
        assert place.results(["newers"])["newers"] == ("SUCCESS", "2")
        assert _size(url, "strangers.dead") == 1

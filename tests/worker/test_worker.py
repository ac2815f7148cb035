"""Whole workers, in processes of their own, against stock producers and beside stock workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.worker.running import Project, wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def on_redis(tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path) -> Project:
    redis_server.call("FLUSHALL")
    return Project(tmp_path, redis_server.url, redis_server.url, stock_python)


@pytest.fixture
def on_rabbitmq(
    tmp_path: Path, rabbitmq_server: servers.RabbitServer, redis_server: servers.RedisServer, stock_python: Path
) -> Project:
    redis_server.call("FLUSHALL")
    return Project(tmp_path, rabbitmq_server.url, redis_server.url, stock_python)


ALL = """
def end(result):
    try:
        return result.get(timeout=10)
    except Exception as problem:
        return repr(problem)
import json
import subprocess
import sys
print(json.dumps([end(add.delay(2, 3)), end(boom.delay()), end(again.delay()), end(refuse.delay()),
      end(add.apply_async((1, 1), countdown=0.3)), end(add.apply_async((1, 1), expires=-5)) if {expiring} else None,
      end(app.send_task("proj.nobody")), [r.get(timeout=10) for r in [add.delay(n, n) for n in range(50)]]]))
"""
EXPECTED = [5, "ValueError('boom')", "done", "Reject('no', False)", 2]


def _all(project: Project, *, expiring: bool) -> Any:
    return json.loads(project.client(ALL.replace("{expiring}", str(expiring))))


def _check(told: list[Any], *, expiring: bool) -> None:
    assert told[:3] == EXPECTED[:3]
    assert "no" in told[3]
    assert told[4] == 2
    if expiring:
        assert told[5] == "TaskRevokedError('expired')"
    assert "never registered" in told[6]
    assert told[7] == [2 * n for n in range(50)]


@pytest.mark.parametrize("pool", ["solo", "prefork", "threads"])
def test_a_stock_producer_on_redis(on_redis: Project, redis_server: servers.RedisServer, pool: str) -> None:
    with on_redis.worker(pool=pool) as worker:
        _check(_all(on_redis, expiring=True), expiring=True)
        assert worker.stop() == 0
        text = worker.text()
    for line in ("Connected to redis://", "mingle: all alone", "Task proj.add[", "] received", "raised unexpected"):
        assert line in text
    assert "worker: Warm shutdown (MainProcess)" in text
    assert redis_server.call("HLEN", "unacked") == 0
    assert redis_server.call("LLEN", "celery") == 0


@pytest.mark.parametrize("pool", ["solo", "prefork", "gevent", "eventlet"])
def test_a_stock_producer_on_rabbitmq(on_rabbitmq: Project, pool: str) -> None:
    with on_rabbitmq.worker(pool=pool) as worker:
        _check(_all(on_rabbitmq, expiring=False), expiring=False)
        assert worker.stop() == 0
        assert "Connected to amqp://" in worker.text()


def test_the_second_broker_serves_where_the_first_is_away(
    tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path
) -> None:
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, f"redis://127.0.0.1:1/0;{redis_server.url}", "rpc://", stock_python)
    asks = "from proj import *; print(add.delay(2, 3).get(timeout=30))"
    with project.worker() as worker:
        done = subprocess.run(
            [sys.executable, "-m", "celeriac", "run", sys.executable, "-c", asks],
            cwd=tmp_path, env=project.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout == "5\n", done.stderr + worker.text()
        assert f"Connected to {redis_server.url}" in worker.text()
        assert worker.stop() == 0


def test_remote_control_from_stock(on_redis: Project) -> None:
    with on_redis.worker() as worker, on_redis.worker(name="w2@here", pool="threads") as other:
        told = on_redis.client(
            "import json, time\n"
            "c = app.control; i = c.inspect(timeout=20, limit=2)\n"
            "late.delay(1, 'x'); nap.apply_async((1,), countdown=30, task_id='far'); time.sleep(0.5)\n"
            "say = lambda what: print(json.dumps(what))\n"
            "say(sorted(c.ping(timeout=20, limit=2), key=str)); say(i.active()); say(i.scheduled()); say(i.registered('rate_limit'))\n"
            "say(i.active_queues()); say(i.clock()); say(i.query_task('far')); say(sorted(i.stats()))\n"
            "say(c.revoke('far', reply=True, timeout=20, limit=2)); say(i.revoked()); say(c.rate_limit('proj.add', '5/m', reply=True, timeout=2, limit=2))\n"
            "say(c.broadcast('nope', reply=True, timeout=20, limit=2)); say(c.add_consumer('more', reply=True, timeout=2, limit=2))\n"
            "say(c.broadcast('shutdown', destination=['w2@here'], reply=True, timeout=1)); say(c.inspect(timeout=20, limit=1).conf())\n"
        )
        ping, active, scheduled, registered, queues, clock, query, stats, *rest = map(json.loads, told.splitlines())
        revoke, revoked, rate, nope, more, shutdown, conf = rest
        assert ping == [{"w1@here": {"ok": "pong"}}, {"w2@here": {"ok": "pong"}}]
        assert sum(map(len, (active or {}).values())) <= 1
        (far,) = [each for told in scheduled.values() for each in told]
        assert far["request"]["id"] == "far"
        assert far["request"]["args"] == [1]
        assert "proj.limited [rate_limit=10/s]" in registered["w1@here"]
        assert queues["w1@here"][0]["name"] == "celery"
        assert set(clock) == {"w1@here", "w2@here"}
        assert [each["far"][0] for each in query.values() if each] == ["scheduled"]
        assert stats == ["w1@here", "w2@here"]
        assert {"ok": "tasks {'far'} flagged as revoked"} in [value for each in revoke for value in each.values()]
        assert revoked == {"w1@here": ["far"], "w2@here": ["far"]}
        assert {"w1@here": {"ok": "new rate limit set successfully"}} in rate
        assert {"w1@here": {"error": "KeyError('nope')"}} in nope
        assert {"w1@here": {"ok": "add consumer more"}} in more
        assert not shutdown
        assert conf["w1@here"]["broker_url"]
        wait_until(lambda: "Discarding revoked task: proj.nap[far]" in worker.text() + other.text())
        assert (
            on_redis.client(
                "app.conf.task_always_eager = False; print(add.apply_async((1, 2), queue='more').get(timeout=5))"
            )
            == "3"
        )


def test_mingle_and_gossip_with_a_stock_worker(on_redis: Project) -> None:
    with on_redis.stock_worker("-l", "DEBUG") as stock:
        on_redis.client("app.control.revoke('gone')")
        with on_redis.worker("-l", "DEBUG") as worker:
            worker.wait_for("mingle: sync with 1 nodes")
            worker.wait_for("mingle: sync complete")
            stock.wait_for("w1@here joined the party")
            worker.wait_for("stock@here joined the party")
            told = on_redis.client("print(app.control.inspect(['w1@here'], timeout=20, limit=1).revoked())")
            assert told == "{'w1@here': ['gone']}"
            worker.stop()
            stock.wait_for("w1@here left")


def test_a_stock_worker_mingles_with_ours(on_redis: Project) -> None:
    with on_redis.worker():
        on_redis.client("app.control.revoke('gone')")
        with on_redis.stock_worker() as stock:
            stock.wait_for("mingle: sync complete")
            told = on_redis.client("print(app.control.inspect(['stock@here'], timeout=20, limit=1).revoked())")
            assert told == "{'stock@here': ['gone']}"


def test_a_command_of_the_users_own(on_redis: Project) -> None:
    with on_redis.worker():
        told = on_redis.client("print(app.control.broadcast('shout', {'word': 'x'}, reply=True, timeout=20, limit=1))")
        assert told == "[{'w1@here': {'ok': 'Xw1@here'}}]"


EVENTS = """
import threading, json, time
seen = []
def listen():
    with app.connection() as connection:
        app.events.Receiver(connection, handlers={"*": seen.append}).capture(limit=None, timeout=6)
def quietly():
    try: listen()
    except Exception: pass
thread = threading.Thread(target=quietly, daemon=True); thread.start(); time.sleep(1)
for result in [add.delay(1, 2), boom.delay(), again.delay()]:
    try: result.get(timeout=5)
    except Exception: pass
late.apply_async((0, "x"), expires=-1); time.sleep(2.5)
tasks = {}
for event in seen:
    tasks.setdefault(event.get("uuid", event["type"]), []).append(event["type"])
heart = [event for event in seen if event["type"] == "worker-heartbeat"]
print(json.dumps([sorted(tasks.values()), {k: type(v).__name__ for k, v in heart[-1].items()},
    [event for event in seen if event["type"] == "task-succeeded"][0]["result"]]))
"""


def test_events_as_a_stock_monitor_sees_them(on_redis: Project) -> None:
    with on_redis.worker("-E"):
        tasks, heart, result = json.loads(on_redis.client(EVENTS))
    assert ["task-received", "task-started", "task-succeeded"] in tasks
    assert ["task-received", "task-started", "task-failed"] in tasks
    assert ["task-received", "task-started", "task-retried", "task-received", "task-started", "task-succeeded"] in tasks
    assert ["task-revoked"] in tasks
    assert result == "3"
    assert heart["freq"] == "float"
    assert heart["loadavg"] == "list"
    assert {"active", "processed", "sw_ident", "sw_ver", "sw_sys", "pid", "clock", "timestamp"} <= set(heart)


def test_a_cancelled_coroutine_keeps_no_place(on_redis: Project) -> None:
    """One that cancels itself: a failure, and the next runs; nor does the worker wait for it."""
    on_redis.more(
        "\nimport asyncio\n@app.task\nasync def cancels():\n    asyncio.current_task().cancel()\n"
        "    await asyncio.sleep(0)  # no wait: here it learns of it\n"
    )
    with on_redis.worker("-c", "1", pool="asyncio") as worker:
        told = on_redis.client(
            "try: cancels.delay().get(timeout=20)\nexcept Exception as e: print(repr(e))\nprint(add.delay(1, 1).get(timeout=20))"
        )
        assert told.split("\n") == ["RuntimeError('the task was cancelled from within: asyncio.CancelledError()')", "2"]
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_revoke_with_terminate(on_redis: Project, pool: str) -> None:
    with on_redis.worker(pool=pool) as worker:
        told = on_redis.client(
            "import time\nr = nap.delay(20); time.sleep(1); r.revoke(terminate=True, signal='SIGKILL')\n"
            "try: r.get(timeout=8)\nexcept Exception as e: print(repr(e))\nprint(add.delay(1, 1).get(timeout=5))"
        )
        assert told.split("\n") == ["TaskRevokedError('terminated')", "2"]
        worker.wait_for("Terminating ")


def test_a_warm_shutdown_ends_what_runs_and_gives_back_the_rest(
    on_redis: Project, redis_server: servers.RedisServer
) -> None:
    with on_redis.worker(pool="prefork") as worker:
        on_redis.client("[late.delay(1, str(n)) for n in range(12)]; add.apply_async((1, 1), countdown=40)")
        wait_until(lambda: len(on_redis.notes()) >= 2)
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < 3
    ended = sum(note.startswith("ended") for note in on_redis.notes())
    assert ended == sum(note.startswith("began") for note in on_redis.notes())
    assert redis_server.call("LLEN", "celery") + ended == 13
    assert redis_server.call("HLEN", "unacked") == 0


def test_a_cold_shutdown_gives_back_what_was_not_acknowledged(
    on_redis: Project, redis_server: servers.RedisServer
) -> None:
    with on_redis.worker(pool="prefork") as worker:
        on_redis.client("[late.delay(30, str(n)) for n in range(3)]")
        wait_until(lambda: len(on_redis.notes()) >= 2)
        worker.stop(signal.SIGQUIT)
        assert "worker: Cold shutdown (MainProcess)" in worker.text()
    assert redis_server.call("LLEN", "celery") == 3
    assert redis_server.call("HLEN", "unacked") == 0


def test_poison_is_buried_and_the_rest_is_done(on_redis: Project, redis_server: servers.RedisServer) -> None:
    with on_redis.worker(pool="prefork") as worker:
        good = '{"body": "W1sxXSwge30sIHt9XQ==", "headers": {"task": "proj.write", "id": "x"}, "content-type": "application/json", "content-encoding": "utf-8", "properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "celery"}}}'
        poison = [
            "not json",
            "[]",
            "{}",
            good.replace('"id": "x"', '"id": null'),
            good.replace("application/json", "application/x-python-serialize"),
            good.replace("W1sxXSwge30sIHt9XQ==", "AAAA").replace('"t"', '"u"'),
        ]
        for envelope in poison:
            redis_server.call("LPUSH", "celery", envelope)
        assert on_redis.client("print(add.delay(1, 1).get(timeout=10))") == "2"
        wait_until(lambda: redis_server.call("LLEN", "celery.dead") == len(poison), 5, worker.text)
        assert redis_server.call("HLEN", "unacked") == 0
        assert "reason" in str(redis_server.call("LRANGE", "celery.dead", 0, 0))


def test_rate_limited_tasks_hold_up_nobody(on_redis: Project) -> None:
    with on_redis.worker(pool="threads"):
        began = time.monotonic()
        assert (
            on_redis.client("[limited.delay(str(n)) for n in range(20)]; print(add.delay(1, 1).get(timeout=5))") == "2"
        )
        wait_until(lambda: len(on_redis.notes()) == 20)
        assert time.monotonic() - began > 1.5


def test_the_state_outlives_a_kill(on_redis: Project, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with on_redis.worker("-S", state) as worker:
        on_redis.client("app.control.revoke('gone', reply=True, timeout=20, limit=1)")
        worker.stop(signal.SIGKILL)
    with on_redis.worker("-S", state):
        told = on_redis.client("print(app.control.inspect(timeout=20, limit=1).revoked())")
        assert told == "{'w1@here': ['gone']}"


def test_the_broker_goes_away_and_comes_back(
    tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path
) -> None:
    """Its connections are cut while tasks run; what runs is not run again."""
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    with project.worker(pool="prefork") as worker:
        project.client("late.delay(2, 'a'); write.delay('b')")
        wait_until(lambda: {"began a", "b"} <= set(project.notes()))
        redis_server.call("CLIENT", "KILL", "TYPE", "normal")
        worker.wait_for("Connection to broker lost")
        assert project.client("print(add.delay(1, 1).get(timeout=10))") == "2"
        wait_until(lambda: "ended a" in project.notes())
        wait_until(lambda: redis_server.call("HLEN", "unacked") == 0, 25)
    assert sorted(project.notes()) == ["b", "began a", "ended a"]

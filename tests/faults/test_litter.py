"""After everything and a goodbye, a Redis' keyspace and a RabbitMQ's queues and exchanges are what they were.

What is meant to stay is listed here, each with its reason; anything else that stays is litter and fails.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends, brokers
from celeriac.worker.backends.base import Settings
from celeriac.worker.brokers.base import Broker, Delivery, Parcel, Park, Queue, Verdict
from tests import servers
from tests.conformance.brokers import message, numbered, take_all, to

pytestmark = pytest.mark.real

TASKS = Queue("tasks", "tasks", routing_key="tasks")
TOPIC = Queue("topical", "subjects", "topic", "red.#")
PRIVATE = Queue(
    "me.celery.pidbox", "celery.pidbox", "fanout", auto_delete=True, durable=False, exchange_durable=False, expires=10.0
)  # as stock declares it: another flag, and no stock worker would start beside us
EVENTS = Queue("celeryev.me", "celeryev", "topic", "#", auto_delete=True, expires=60.0)
OWN = Queue("mine-alone", exclusive=True)
EVERY = (TASKS, TOPIC, PRIVATE, EVENTS, OWN)


def everything(connect: Callable[[], Broker]) -> None:
    """Two brokers do all that brokers do, and leave nothing undone behind them."""
    one, other = connect(), connect()
    one.listen(EVERY, credit=50)
    one.tend(time.time())
    other.declare([TASKS, TOPIC])
    other.send(to(TASKS, numbered(12)))
    other.send([Parcel(message(b"red"), "red.one", "subjects", "topic")])
    other.send([Parcel(message(b"all"), "", "celery.pidbox", "fanout")])
    other.send([Parcel(message(b"event"), "task.sent", "celeryev", "topic")])
    other.send(to(OWN, numbered(1)))
    taken = take_all(one, 16)
    assert len(taken) == 16
    tasks = [each for each in taken if each.queue == "tasks"]
    verdicts: dict[int, Verdict | Park] = {0: Verdict.REQUEUE, 1: Verdict.RESTORE, 2: Verdict.DROP}
    verdicts |= {3: Park(time.time() + 1), 4: Park(time.time() + 2)}
    one.settle([(each, verdicts.get(number, Verdict.ACK)) for number, each in enumerate(tasks)])
    one.settle([(each, Verdict.ACK) for each in taken if each.queue != "tasks"])
    one.tend(time.time())
    again = take_all(one, 4, 15)  # put back twice, parked twice
    assert len(again) == 4
    one.settle([(each, Verdict.ACK) for each in again])
    # The first leaves with something in its hands; the second finishes it, and leaves with empty ones.
    other.send(to(TASKS, numbered(3)))
    assert len(take_all(one, 3)) == 3
    one.close()
    other.listen([TASKS], credit=10)
    last: list[Delivery] = take_all(other, 3)
    assert len(last) == 3
    other.settle([(each, Verdict.ACK) for each in last])
    assert other.size("tasks") == 0
    other.close()


STAYS = {
    "_kombu.binding.tasks": "the binding of a queue that lasts, as kombu keeps it: who sends to the exchange needs it",
    "_kombu.binding.subjects": "the same",
    "_kombu.binding_permanent.tasks": "kombu's mark that this binding has no end",
    "_kombu.binding_permanent.subjects": "the same",
}


def test_redis(redis_server: servers.RedisServer) -> None:
    redis_server.call("FLUSHALL")
    everything(lambda: brokers.connect(redis_server.url))
    # What is bound for a while outlives its queue, as in kombu: it has a deadline, and whoever listens then sweeps it.
    bound = redis_server.call("ZRANGE", "_kombu.binding_deadlines", 0, -1)
    assert set(bound) == {b"celeryev", b"celery.pidbox"}
    for exchange in bound:
        redis_server.call("ZADD", "_kombu.binding_deadlines", "XX", 1, exchange)
    sweeper = brokers.connect(redis_server.url)
    sweeper.listen([TASKS], credit=1)
    sweeper.tend(time.time())
    sweeper.close()
    keys = {key.decode() for key in redis_server.call("KEYS", "*")}
    lasting = {key for key in keys if redis_server.call("PTTL", key) == -1}
    assert lasting == set(STAYS), "these would stay for ever"
    longest = max((redis_server.call("PTTL", key) for key in keys - lasting), default=0)
    assert longest <= 60_000, f"{keys - lasting} would stay for long"
    assert redis_server.call("PUBSUB", "CHANNELS") == []
    assert redis_server.call("PUBSUB", "NUMPAT") == 0


def test_results_in_redis(redis_server: servers.RedisServer) -> None:
    """Everything that a store keeps has an end of its own, and what was forgotten is gone at once."""
    redis_server.call("FLUSHALL")
    store = backends.connect(redis_server.url, Settings(expires=30, chord_expires=30))
    for number in range(10):
        store.store(Result(f"r{number}", result=number))
    assert dict(store.wait(["r0", "r1"], 5))
    assert not list(store.wait(["never"], 0.2))
    store.chord_start("chord", 2)
    store.chord_part("chord", Member("a", "SUCCESS", 1), 0, "token-a")
    claim = store.chord_part("chord", Member("b", "SUCCESS", 2), 1, "token-b")
    assert claim is not None
    store.chord_done(claim)
    store.chord_start("unfinished", 2)
    store.chord_part("unfinished", Member("c", "SUCCESS", 1), 0, "token-c")
    for number in range(10):
        store.forget(f"r{number}")
    store.close()
    keys = redis_server.call("KEYS", "*")
    times = {key.decode(): redis_server.call("PTTL", key) for key in keys}
    # A chord that is done is remembered for five minutes, so that a late copy of a member does not begin it anew.
    assert times.pop("celery-taskset-meta-chord.c") <= 300_000
    assert all(0 < time <= 30_000 for time in times.values()), times
    assert not [key for key in times if "task-meta" in key], "forgotten, and still there"
    end = time.monotonic() + 5
    while redis_server.call("PUBSUB", "CHANNELS") and time.monotonic() < end:
        time.sleep(0.02)
    assert redis_server.call("PUBSUB", "CHANNELS") == []


ASKED = {"queues": "rabbit_amqqueue:list_names()", "exchanges": "rabbit_exchange:list_names()"}


def listed(server: servers.RabbitServer, what: str) -> set[str]:
    """The names of all queues or exchanges, asked of the node itself: in base64, since a name can be any bytes."""
    epmd_port = server.node.partition("@")[0].rpartition("-")[2]
    variables = os.environ | {
        "HOME": str(server.home),
        "ERL_EPMD_PORT": epmd_port,
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
    }
    inner = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
    program = str(inner) if inner.exists() else servers._program("rabbitmqctl")
    # Printed by the node, not as the value of what is evaluated: that would be broken into lines, and cut short.
    names = f"[[base64:encode(Name), 32] || {{resource, _, _, Name}} <- {ASKED[what]}]"
    command = [program, "--quiet", "--node", server.node, "eval", f'io:format(<<"~s">>, [{names}]).']
    done = subprocess.run(command, env=variables, check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return {base64.b64decode(name).decode(errors="replace") for name in done.stdout.split() if name != b"ok"}


REMAINS = {
    "queues": {
        "tasks": "durable, and not to be deleted by itself",
        "topical": "the same",
    },
    "exchanges": {
        "tasks": "durable, as stock declares it",
        "subjects": "the same",
        "celery.pidbox": "the same: every worker has it",
        "celeryev": "the same",
    },
}


def test_rabbitmq(rabbitmq_server: servers.RabbitServer) -> None:
    before = {what: listed(rabbitmq_server, what) for what in REMAINS}
    everything(lambda: brokers.connect(rabbitmq_server.url))
    end = time.monotonic() + 15
    for what, stays in REMAINS.items():
        while True:
            now = listed(rabbitmq_server, what)
            assert now >= set(stays)
            more = now - before[what] - set(stays)
            # Those of stock's native delayed delivery are made once for all, and are the same for every queue.
            more = {name for name in more if not name.startswith("celery_delayed_")}
            if not more or time.monotonic() > end:
                break
        assert more == set(), f"{what}: these would stay for ever"

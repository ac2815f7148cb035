"""Our receiver hears stock's workers and clients, stock's receiver hears ours, over Redis and RabbitMQ."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kombu import pools

from celeriac import Celery
from celeriac.compat.app.mailing import connect
from celeriac.compat.exceptions import ImproperlyConfigured
from celeriac.worker.ids import new_id
from tests.worker.running import Project, wait_until

WAYS = ("ours", "broker", "connection")
TASK = ["task-received", "task-started", "task-succeeded"]

STOCK_EAR = """
import json, sys, time
heard = []
def on_event(event):
    heard.append(event)
with app.connection_for_read() as connection:
    receiver = app.events.Receiver(connection, handlers={"*": on_event})
    end = time.time() + 20
    for _ in receiver.itercapture(limit=None, timeout=None, wakeup=True):
        types = [event["type"] for event in heard]
        if "worker-heartbeat" in types and not asked:
            asked.append(add.delay(2, 2))
        if "task-succeeded" in types or time.time() > end:
            break
print(json.dumps(heard))
"""


@pytest.fixture(params=["redis", "rabbitmq"])
def project(request: pytest.FixtureRequest, tmp_path: Path, stock_python: Path) -> Project:
    redis = request.getfixturevalue("redis_server")
    redis.call("FLUSHALL")
    broker = redis.url if request.param == "redis" else request.getfixturevalue("rabbitmq_server").url
    return Project(tmp_path, broker, redis.url.replace("/0", "/1"), stock_python)


@pytest.fixture
def app(project: Project) -> Iterator[Celery]:
    app = Celery("ear", broker=project.environment["PROJ_BROKER"], set_as_current=False)
    yield app
    app.close()
    app.amqp.outlet.close()
    pools.reset()


def channel_for(app: Celery, way: str, stack: ExitStack) -> Any:
    if way == "connection":
        return stack.enter_context(app.connection_for_read())
    return stack.enter_context(closing(connect(app))) if way == "broker" else None


@contextmanager
def listening(app: Celery, way: str, handler: Any, **options: Any) -> Iterator[Any]:
    """A receiver that hears in a thread of its own."""
    with ExitStack() as stack:
        receiver = app.events.Receiver(channel_for(app, way, stack), handlers={"*": handler}, **options)
        thread = threading.Thread(target=receiver.capture)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.should_stop = True
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.real
def test_it_hears_a_stock_worker(project: Project, app: Celery) -> None:
    with project.stock_worker("-E"), ExitStack() as stack:
        heard: dict[str, list[Any]] = {way: [] for way in WAYS}
        states = {way: app.events.State() for way in WAYS}
        for way in WAYS:

            def hear(event: Any, way: str = way) -> None:
                heard[way].append(event)
                states[way].event(event)

            stack.enter_context(listening(app, way, hear))
        wait_until(lambda: all(states[way].workers for way in WAYS), why=lambda: str(heard))  # they were woken up
        uuid = new_id()
        project.client(f"app.conf.task_send_sent_event = True; add.apply_async((1, 2), task_id={uuid!r})")
        wait_until(
            lambda: all(states[way].tasks.get(uuid) and states[way].tasks[uuid].ready for way in WAYS),
            why=lambda: str(heard),
        )
    for way in WAYS:
        mine = [event["type"] for event in heard[way] if event.get("uuid") == uuid]
        assert sorted(mine) == sorted(["task-sent", *TASK])
        task = states[way].tasks[uuid]
        assert (task.state, task.result, task.name, task.args) == ("SUCCESS", "3", "proj.add", "(1, 2)")
        assert task.worker.hostname == "stock@here"
        assert task.worker.sw_ident == "py-celery"


@pytest.mark.real
def test_stock_hears_our_worker(project: Project) -> None:
    with project.worker("-E"):
        heard = json.loads(project.client("asked = []\n" + STOCK_EAR, 40).splitlines()[-1])
    assert [event["type"] for event in heard if event["type"].startswith("task-")] == TASK
    (done,) = [event for event in heard if event["type"] == "task-succeeded"]
    assert (done["result"], done["hostname"]) == ("4", "w1@here")
    clocks = [event["clock"] for event in heard if event["hostname"] == "w1@here"]
    assert clocks == sorted(clocks)


@pytest.mark.real
def test_stock_hears_our_dispatcher(project: Project, app: Celery) -> None:
    """And what we send by an app in this process."""
    ear = """
with app.connection_for_read() as connection:
    receiver = app.events.Receiver(connection, handlers={"custom-x": lambda event: print(json.dumps(event), flush=True)})
    print("ready", flush=True)
    for _ in receiver.itercapture(wakeup=False):
        pass
"""
    process = subprocess.Popen(
        [str(project.stock), "-c", "import json\nfrom proj import *\n" + ear],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        sending = threading.Event()

        def keep_sending() -> None:  # it says that it is ready before it is bound
            while not sending.wait(0.1):
                with app.events.default_dispatcher(hostname="me@here") as dispatcher:
                    dispatcher.send("custom-x", answer=42)

        thread = threading.Thread(target=keep_sending)
        thread.start()
        came = json.loads(process.stdout.readline())
        sending.set()
        thread.join(10)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert (came["answer"], came["hostname"]) == (42, "me@here")


@pytest.mark.real
@pytest.mark.parametrize("way", WAYS)
def test_silence_ends_a_capture_that_has_a_timeout(redis_server: Any, way: str) -> None:
    app = Celery("ear", broker=redis_server.url, set_as_current=False)
    began = time.monotonic()
    with ExitStack() as stack:
        channel = channel_for(app, way, stack)
        receiver = app.events.Receiver(channel, routing_key="nobody.sends.this")
        with pytest.raises(TimeoutError):
            receiver.capture(timeout=1, wakeup=False)
    assert 0.9 < time.monotonic() - began < 5


@pytest.mark.real
def test_a_limit_ends_a_capture(redis_server: Any) -> None:
    app = Celery("ear", broker=redis_server.url, set_as_current=False)
    heard: list[Any] = []
    with app.events.Dispatcher(hostname="me@here") as dispatcher:

        class Told(app.events.Receiver):  # type: ignore[name-defined,misc]  # a class made at run time
            def on_consume_ready(self, *args: Any, **kwargs: Any) -> None:
                for number in range(5):
                    dispatcher.send("custom-x", number=number)

        Told(handlers={"custom-x": heard.append}).capture(limit=3, timeout=5)
    assert [event["number"] for event in heard] == [0, 1, 2]
    app.amqp.outlet.close()


# --- without a broker


@pytest.fixture
def receiver() -> Any:
    return Celery("ear", broker="memory://", set_as_current=False).events.Receiver()


def test_a_clients_clock_means_nothing(receiver: Any) -> None:
    receiver.clock.value = 50
    _, event = receiver.event_from_message({"type": "task-sent", "clock": 10_000})
    assert (event["clock"], receiver.clock.value) == (49, 51)


def test_a_workers_clock_moves_ours(receiver: Any) -> None:
    receiver.event_from_message({"type": "worker-online", "clock": 700})
    assert receiver.clock.value == 701
    for silent in ({}, {"clock": None}):
        _, event = receiver.event_from_message({"type": "worker-online", **silent})
        assert event["clock"] == receiver.clock.value


def test_times_become_local(receiver: Any) -> None:
    def adjusted(timestamp: float, offset: float) -> float:
        return timestamp + offset

    body = {"type": "worker-online", "utcoffset": 5, "timestamp": 10.0}
    _, event = receiver.event_from_message({**body}, adjust_timestamp=adjusted, now=lambda: 99.0)
    assert (event["timestamp"], event["local_received"]) == (15.0, 99.0)
    _, event = receiver.event_from_message({**body}, localize=False)
    assert event["timestamp"] == 10.0
    _, event = receiver.event_from_message({"type": "x", "utcoffset": None, "timestamp": 10.0})
    assert event["timestamp"] == 10.0


def test_handlers_are_found_by_type_and_else_by_star(receiver: Any) -> None:
    heard: list[Any] = []
    receiver.handlers = {"task-sent": lambda event: heard.append("sent"), "*": lambda event: heard.append("other")}
    receiver._receive([{"type": "task-sent"}, {"type": "task-started"}], None)
    receiver._receive({"type": "odd"}, None)
    receiver.handlers = {}
    receiver._receive({"type": "odd"}, None)
    assert heard == ["sent", "other", "other"]


def test_what_is_no_event_is_passed_over(receiver: Any, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    receiver.handlers = {"*": heard.append}
    with caplog.at_level(logging.WARNING):
        receiver._receive([7, None, {}, {"type": 5}, {"type": "fine"}], None)
    assert [event["type"] for event in heard] == ["fine"]
    assert caplog.text.count("no event") == 4


def test_its_queue_is_as_configured() -> None:
    app = Celery("ear", broker="redis://h", set_as_current=False)
    app.conf.update(event_queue_prefix="evs", event_exchange="other", event_queue_ttl=7.0, event_queue_expires=9.0)
    queue = app.events.Receiver(node_id="me").queue
    assert (queue.name, queue.exchange.name, queue.exchange.type) == ("evs.me", "other", "fanout")
    assert (queue.message_ttl, queue.expires, queue.auto_delete, queue.durable) == (7.0, 9.0, True, False)
    with pytest.raises(ImproperlyConfigured):
        app.events.Receiver(queue_exclusive=True, queue_durable=True)

"""What packages add to a worker and read of it: steps, strategies, requests, pools and commands of their own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from celeriac.compat import Celery, bootsteps, signals
from celeriac.compat.concurrency import base, get_available_pool_names, get_implementation, prefork, solo, thread
from celeriac.compat.contrib.testing.tasks import ping
from celeriac.compat.contrib.testing.worker import start_worker
from celeriac.compat.exceptions import ImproperlyConfigured
from celeriac.compat.worker import autoscale, state
from celeriac.compat.worker.control import Panel, control_command, inspect_command
from celeriac.compat.worker.request import Request
from celeriac.compat.worker.strategy import default, hybrid_to_proto2, proto1_to_proto2
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Queue
from tests.servers import RedisServer


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("hooks", broker=f"memory://{uuid4()}", backend="cache+memory://", set_as_current=False)
    made.conf.update(worker_prefetch_multiplier=8, worker_hijack_root_logger=False)
    yield made
    made.close()


@pytest.fixture
def redis_app(redis_server: RedisServer) -> Iterator[Celery]:
    redis_server.call("FLUSHALL")
    made = Celery("hooks", broker=redis_server.url, backend=redis_server.url, set_as_current=False)
    made.conf.update(worker_prefetch_multiplier=8, worker_hijack_root_logger=False)
    yield made
    made.close()


@contextmanager
def worker(app: Celery, pool: Any = "solo", **options: Any) -> Iterator[Any]:
    options = {"loglevel": "ERROR", "perform_ping_check": False, "shutdown_timeout": 20.0, **options}
    with start_worker(app, pool=pool, **options) as started:
        yield started


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


# --- steps


def test_steps_of_a_worker_and_of_its_consumer(app: Celery) -> None:
    told: list[Any] = []
    ticked: list[bool] = []

    class OfWorker(bootsteps.StartStopStep):
        requires = (
            "celery.worker.components:Timer",
            "celery.worker.components:Hub",
            "celery.worker.components:Pool",
        )

        def __init__(self, parent: Any, shout: Any = None, **kwargs: Any) -> None:
            told.append(("made", shout))

        def create(self, parent: Any) -> None:
            told.append(type(parent.pool))

        def start(self, parent: Any) -> None:
            told.append(("worker starts", parent.pool.num_processes, parent.hub))
            parent.timer.call_after(0.01, ticked.append, (True,))

        def terminate(self, parent: Any) -> None:
            told.append(("worker stops",))

    class OfConsumer(bootsteps.StartStopStep):
        requires = (
            "celery.worker.consumer:Connection",
            "celery.worker.consumer.tasks:Tasks",
        )

        def start(self, c: Any) -> None:
            told.append(("consumer starts", type(c.connection).__name__, ping.name in c.strategies))

        def stop(self, c: Any) -> None:
            told.append(("consumer stops",))

        def shutdown(self, c: Any) -> None:
            told.append(("consumer is gone",))

    app.steps["worker"].add(OfWorker)
    app.steps["consumer"].add(OfConsumer)
    with worker(app, shout="loud") as started:
        until(lambda: ticked)
        assert OfWorker.name in started.blueprint.steps
        assert started.stats()["pool"]["implementation"] == "celery.concurrency.solo:TaskPool"
    assert told == [
        ("made", "loud"),
        solo.TaskPool,
        ("worker starts", 1, None),
        ("consumer starts", "Connection", True),
        ("consumer stops",),
        ("worker stops",),
        ("consumer is gone",),
    ]


def test_consumers_of_a_step_share_the_workers_thread(redis_app: Celery) -> None:
    got: list[Any] = []

    class Consuming(bootsteps.ConsumerStep):
        def get_consumers(self, channel: Any) -> list[Any]:
            from kombu import Consumer, Queue

            return [Consumer(channel, [Queue("letters")], callbacks=[self.heard], accept=["json"])]

        def heard(self, body: Any, message: Any) -> None:
            got.append((body, threading.get_ident()))
            message.ack()

    redis_app.steps["consumer"].add(Consuming)
    with worker(redis_app) as started:
        with redis_app.connection_for_write() as connection, connection.Producer() as producer:
            for number in range(3):
                producer.publish({"n": number}, routing_key="letters")
        until(lambda: len(got) == 3)
        assert [body["n"] for body, _ in got] == [0, 1, 2]
        assert {thread for _, thread in got} == {started.thread}


def test_a_step_that_fails_at_the_start_stops_the_worker(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Pool",)

        def start(self, parent: Any) -> None:
            raise RuntimeError("no way")

    app.steps["worker"].add(Broken)
    app.set_current()
    controller = app.WorkController(app=app, pool="solo", hostname="w@here")
    controller.start()
    assert controller.exitcode == 1
    assert "Unrecoverable error: RuntimeError('no way')" in caplog.text


def test_a_requirement_that_is_not_there_is_named(app: Celery) -> None:
    class Wanting(bootsteps.Step):
        requires = ("celery.worker.components:Nonesuch",)

    app.steps["worker"].add(Wanting)
    with pytest.raises(AttributeError, match="Nonesuch"):
        app.WorkController(app=app, pool="solo")


# --- strategies and requests


def test_a_strategy_of_a_tasks_own_keeps_messages_until_it_settles_them(app: Celery) -> None:
    kept: list[Any] = []
    heard: list[Any] = []

    class Keeping(app.Task):  # type: ignore[name-defined,misc]  # made for each app
        abstract = True

        def Strategy(self, task: Any, app: Any, consumer: Any) -> Any:
            def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **_: Any) -> None:
                kept.append((message.payload[0], ack, reject, consumer))

            return receive

    @app.task(shared=False, base=Keeping, name="keep")
    def keep(number: int) -> None:
        raise AssertionError("it is not run")

    with worker(app) as started:
        core = started.worker.consumer
        for number in range(3):
            keep.delay(number)
        until(lambda: len(kept) == 3)
        assert [args for args, *_ in kept] == [[0], [1], [2]]
        assert kept[0][3] is started.consumer
        assert len(core.outside) == 3
        kept[0][1]()
        kept[1][2](None, (), True)  # as Request.reject(requeue=True) calls it
        until(lambda: len(kept) == 4)
        assert kept[3][0] == [1]
        until(lambda: len(core.outside) == 2)
        result = started.pool.apply_async(
            sum, ([20, 22],), accept_callback=lambda pid, at: heard.append(pid), callback=heard.append
        )
        until(result.ready)
        assert heard[1:] == [42]
        assert result.successful()
    kept.clear()
    with worker(app):  # what was kept came back when the other worker left
        until(lambda: len(kept) == 2)
        assert sorted(args for args, *_ in kept) == [[1], [2]]
        for _, ack, *_ in kept:
            ack()


def test_a_strategy_that_fails_rejects_its_message(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(app.Task):  # type: ignore[name-defined,misc]  # made for each app
        abstract = True

        def Strategy(self, task: Any, app: Any, consumer: Any) -> Any:
            def receive(*_: Any, **_options: Any) -> None:
                raise RuntimeError("no")

            return receive

    @app.task(shared=False, base=Failing, name="failing")
    def failing() -> None: ...

    @app.task(shared=False, name="plain")
    def plain() -> str:
        return "done"

    with worker(app) as started:
        failing.delay()
        assert plain.delay().get(timeout=5) == "done"
        assert started.worker.consumer.idle
    assert "The strategy of failing[" in caplog.text


def test_our_strategy_in_somebodys_wrapping(app: Celery) -> None:
    """As stemtrace does it: `consumer.strategies` wrapped by a step, and put back."""
    seen: list[Any] = []

    class Wrapping(bootsteps.ConsumerStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, c: Any) -> None:
            self.before = dict(c.strategies)
            for name, strategy in self.before.items():
                c.strategies[name] = self.wrapped(strategy)

        def wrapped(self, strategy: Any) -> Any:
            def receive(message: Any, body: Any, *args: Any, **kwargs: Any) -> Any:
                seen.append((message.headers["task"], message.headers["id"]))
                return strategy(message, body, *args, **kwargs)

            return receive

        def stop(self, c: Any) -> None:
            c.strategies.update(self.before)

    app.steps["consumer"].add(Wrapping)

    @app.task(shared=False, name="double")
    def double(number: int) -> int:
        return 2 * number

    received: list[Any] = []

    def on_received(sender: Any = None, request: Any = None, **_: Any) -> None:
        received.append((sender, request))

    signals.task_received.connect(on_received)
    try:
        with worker(app) as started:
            results = [double.delay(number) for number in range(3)]
            assert [result.get(timeout=5) for result in results] == [0, 2, 4]
            assert seen == [("double", result.id) for result in results]
            later = double.apply_async((5,), countdown=0.2)
            assert later.get(timeout=5) == 10
            assert {sender for sender, _ in received} == {started.consumer}
            assert all(isinstance(request, Request) for _, request in received)
            assert received[0][1]._payload[:2] == ([0], {})
    finally:
        signals.task_received.disconnect(on_received)


told: list[Any] = []


class OwnRequest(Request):
    """As Celery's guide shows one."""

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        told.append(("accepted", self.name))
        super().on_accepted(pid, time_accepted)

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        told.append(("success", failed__retval__runtime[:2] if not failed__retval__runtime[0] else 1))
        return super().on_success(failed__retval__runtime, **kwargs)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        told.append(("failure", type(getattr(exc_info.exception, "exc", exc_info.exception)).__name__))
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        told.append(("timeout", soft, timeout))
        super().on_timeout(soft, timeout)


@pytest.mark.parametrize("pool", ["solo", "threads"])
@pytest.mark.parametrize("late", [False, True])
def test_requests_of_a_tasks_own_class(app: Celery, pool: str, late: bool) -> None:
    class Requesting(app.Task):  # type: ignore[name-defined,misc]  # made for each app
        abstract = True
        Request = OwnRequest

    @app.task(shared=False, base=Requesting, name="halve", acks_late=late)
    def halve(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number // 2

    told.clear()
    with worker(app, pool) as started:
        assert halve.delay(8).get(timeout=5) == 4
        with pytest.raises(ValueError, match="3"):
            halve.delay(3).get(timeout=5)
        until(lambda: started.worker.consumer.idle)
    assert told == [
        ("accepted", "halve"),
        ("success", (0, "4")),
        ("accepted", "halve"),
        ("success", 1),
        ("failure", "ValueError"),
    ]


@pytest.mark.parametrize("late", [False, True])
def test_what_a_request_of_ones_own_cannot_read_is_buried(app: Celery, late: bool) -> None:
    """What is not accepted, and what arrives small and unfolds large, is not read there either."""

    class Requesting(app.Task):  # type: ignore[name-defined,misc]  # made for each app
        abstract = True
        Request = OwnRequest

    @app.task(shared=False, base=Requesting, name="halve", acks_late=late)
    def halve(number: int, more: str = "") -> int:
        return number // 2

    with worker(app) as started:
        core = started.worker.consumer
        core.reader = replace(core.reader, limit=10_000)
        halve.apply_async((2, "0" * 100_000), compression="zlib")
        halve.apply_async((4,), serializer="pickle")
        assert halve.delay(8).get(timeout=5) == 4
        until(lambda: core.idle)
    with closing(brokers.connect(app.conf.broker_url)) as broker:
        broker.listen([Queue("celery.dead")], credit=10)
        reasons = [each.message.headers["celeriac_dead"]["reason"] for each in broker.take(10, 1)]
    assert len(reasons) == 2, reasons
    assert "it unfolds to more than 10000 bytes" in reasons[0]
    assert "untrusted content of type pickle" in reasons[1]


@pytest.mark.real
def test_requests_of_a_tasks_own_class_in_processes(redis_app: Celery) -> None:
    class Requesting(redis_app.Task):  # type: ignore[name-defined,misc]  # made for each app
        abstract = True
        Request = OwnRequest

    @redis_app.task(shared=False, base=Requesting, name="sleep", time_limit=0.5)
    def sleep(seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    told.clear()
    with worker(redis_app, "prefork") as started:
        assert sleep.delay(0).get(timeout=10) == "slept"
        with pytest.raises(Exception, match="TimeLimitExceeded"):
            sleep.delay(10).get(timeout=10)
        until(lambda: started.worker.consumer.idle)
        values: list[Any] = []
        started.pool.apply_async(divmod, (17, 5), callback=values.append)
        started.pool.apply_async(divmod, (17, 0), error_callback=lambda info: values.append(type(info.exception.exc)))
        until(lambda: len(values) == 2)
        assert sorted(values, key=str) == [(3, 2), ZeroDivisionError]
    assert told == [
        ("accepted", "sleep"),
        ("success", (0, "'slept'")),
        ("accepted", "sleep"),
        ("timeout", False, 0.5),
    ]


class Message:
    """As kombu has one."""

    body, content_type, content_encoding = b"[[1],{},{}]", "application/json", "utf-8"
    delivery_info: ClassVar = {"exchange": "", "routing_key": "celery"}
    properties: ClassVar = {"correlation_id": "c", "reply_to": "r"}
    payload = ([1], {}, {"chord": None, "errbacks": ["e"]})

    def __init__(self, **headers: Any) -> None:
        self.headers = {"id": "i", "task": "t", "root_id": "root", **headers}


def test_a_request_made_of_a_message(app: Celery) -> None:
    @app.task(shared=False, name="t")
    def task(x: int) -> int:
        return x

    said: list[Any] = []
    request = Request(
        Message(stamped_headers=["s"], stamps={"s": [1]}, timelimit=[3, 2]),
        app=app,
        on_ack=lambda *_: said.append("ack"),
        on_reject=lambda *args: said.append(args[-1]),
    )
    assert (request.id, request.task_id, request.name, request.task_name) == ("i", "i", "t", "t")
    assert (request.args, request.kwargs, request.errbacks, request.chord) == ([1], {}, ["e"], None)
    assert request.time_limits == [3, 2]
    assert request.stamps == {"s": [1]}
    assert request.correlation_id == "c"
    assert request.reply_to == "r"
    assert request.delivery_info["redelivered"] is False
    assert request.store_errors
    assert request.info()["args"] == [1]
    assert str(request) == "t[i]"
    request.acknowledge()
    request.reject(requeue=True)  # too late
    assert said == ["ack"]
    assert request._context.id == "i"
    assert Request(Message(shadow="other"), app=app).name == "other"
    assert Request(Message(), app=app).execute() == 1
    expired = Request(Message(expires="2001-01-01T00:00:00+00:00"), app=app)
    assert expired.revoked()
    assert "i" in state.revoked
    state.revoked.clear()
    with pytest.raises(Exception, match="invalid ETA value"):
        Request(Message(eta="tomorrow"), app=app)


def test_messages_of_the_first_protocol() -> None:
    body = {"task": "t", "id": "i", "args": [1], "kwargs": {"a": 1}, "taskset": "g", "chord": "c", "utc": False}
    content, headers, decoded, utc = proto1_to_proto2(Message(), dict(body))
    assert content == ([1], {"a": 1}, {"callbacks": None, "errbacks": None, "chord": "c", "chain": None})
    assert (headers["group"], headers["argsrepr"], decoded, utc) == ("g", "[1]", True, False)
    content, headers, *_ = hybrid_to_proto2(Message(lang="py"), body)
    assert content[0] == [1]
    assert (headers["lang"], headers["task"], headers["retries"]) == ("py", "t", 0)
    with pytest.raises(Exception, match="must be a mapping"):
        proto1_to_proto2(Message(), {**body, "kwargs": []})


# --- what it holds


def test_what_a_worker_holds_can_be_seen(app: Celery) -> None:
    gate, inside = threading.Event(), threading.Event()

    @app.task(shared=False, name="wait")
    def wait() -> None:
        inside.set()
        gate.wait(30)

    before = state.all_total_count[0]
    with worker(app, "threads") as started:
        running = wait.delay()
        assert inside.wait(30)
        waiting = wait.delay()
        later = wait.apply_async(countdown=50)
        until(lambda: len(state.scheduled_requests) == 1)
        until(lambda: len(state.reserved_requests) == 2)
        assert [each.id for each in state.active_requests] == [running.id]
        assert {each.id for each in state.reserved_requests} == {running.id, waiting.id}
        assert [each.id for each in state.scheduled_requests] == [later.id]
        assert set(state.requests) == {running.id, waiting.id, later.id}
        assert state.requests[running.id].worker_pid
        assert state.total_count["wait"] == 1
        assert state.all_total_count[0] == before + 1
        state.revoked.add("added")
        assert started.worker.revokes.revoked("added", time.time())
        started.worker.revokes.revoke(["told"], time.time())
        assert "told" in state.revoked
        assert set(state.revoked) >= {"told", "added"}
        gate.set()
        waiting.get(timeout=5)
        app.control.revoke(later.id)
        until(lambda: later.state == "REVOKED")
        assert later.id in state.revoked
        until(lambda: not len(state.requests))
    state.revoked.clear()


def test_state_keeps_what_others_put_there(tmp_path: Any) -> None:
    class Clock:
        def forward(self) -> int:
            return 7

        def adjust(self, other: int) -> int:
            return other + 1

    state.revoked.clear()
    state.revoked.update(["a", "b"])
    kept = state.Persistent(state, str(tmp_path / "state"), Clock())
    kept.save()
    state.revoked.clear()
    assert "a" not in state.revoked
    again = state.Persistent(state, str(tmp_path / "state"), Clock())
    assert set(state.revoked) == {"a", "b"}
    assert again.db["clock"] == 8
    again.close()
    state.revoked.clear()


def test_orders_in_the_state_stop_a_worker(app: Celery) -> None:
    app.set_current()
    controller = app.WorkController(app=app, pool="solo", hostname="w@here")
    thread = threading.Thread(target=controller.start)
    thread.start()
    try:
        until(lambda: controller.worker._is_ready)
        state.should_stop = 3
        thread.join(5)
    finally:
        state.should_stop = None
    assert not thread.is_alive()
    assert controller.exitcode == 3


# --- commands


def test_commands_of_packages(app: Celery) -> None:
    @inspect_command(name="hooks_shout", alias="hooks_cry")
    def shout(state: Any, word: str = "x") -> Any:
        return {"ok": f"{word.upper()}@{state.hostname} {state.consumer.controller.pool.num_processes}"}

    @control_command(args=[("n", int)], signature="[N=1]")
    def hooks_count(state: Any, n: int = 1) -> Any:
        return n

    ping = Panel.data["ping"]
    try:
        with worker(app, hostname="w@here") as started:
            desk = started.worker.desk
            assert desk.answer("hooks_shout", {"word": "hey"}) == {"ok": "HEY@w@here 1"}
            assert desk.answer("hooks_cry", {}) == {"ok": "X@w@here 1"}
            assert desk.answer("hooks_count", {"n": 3}) == 3
            assert Panel.meta["hooks_count"].signature == "[N=1]"
            Panel.data["ping"] = lambda state, **_: "mine"
            assert desk.answer("ping", {}) == "mine"
            Panel.data["ping"] = ping
            assert desk.answer("ping", {}) == {"ok": "pong"}
    finally:
        for name in ("hooks_shout", "hooks_cry", "hooks_count"):
            Panel.data.pop(name, None)
            Panel.own.pop(name, None)
            Panel.meta.pop(name, None)
        Panel.data["ping"] = ping


# --- pools


def test_pools_by_their_names() -> None:
    assert get_implementation("prefork") is get_implementation("processes") is prefork.TaskPool
    assert get_implementation("threads") is thread.TaskPool
    assert get_implementation(base.BasePool) is base.BasePool
    assert {"prefork", "solo", "threads", "gevent", "eventlet"} <= set(get_available_pool_names())


class Inline(base.BasePool):
    """Runs what it is given at once."""

    life: ClassVar[list[str]] = []

    def on_start(self) -> None:
        self.life.append("start")

    def on_stop(self) -> None:
        self.life.append("stop")

    def on_apply(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        self.life.append(args[0])
        base.apply_target(target, args, kwargs, options["callback"], options["accept_callback"])


class Threaded(base.BasePool):
    """Runs it in threads of its own."""

    signal_safe = False

    def on_start(self) -> None:
        self.executor = ThreadPoolExecutor(self.limit)

    def on_stop(self) -> None:
        self.executor.shutdown()

    def on_apply(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return self.executor.submit(
            base.apply_target, target, args, kwargs, options["callback"], options["accept_callback"]
        )


class Tracing(base.BasePool):
    """Has a tracer of its own, as celery-pool-asyncio has: reads the arguments, and answers as Celery's tracers do."""

    def on_apply(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        name, uuid, request, body, *_ = args
        parts = json.loads(body)
        options["accept_callback"](1, time.monotonic())
        self.app.backend.mark_as_done(uuid, [name, request["id"] == uuid, parts[0]])
        options["callback"]((0, "'traced'", 0.1))


class Extended(solo.TaskPool):
    """As celery-aio-pool extends it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[str] = []

    def on_apply(self, target: Any, args: Any = (), kwargs: Any = None, callback: Any = None, **options: Any) -> None:
        self.seen.append(args[0])
        callback(target(*args))


@pytest.mark.parametrize("pool", [Inline, Threaded, Extended])
@pytest.mark.parametrize("late", [False, True])
def test_a_pool_of_somebodys_own(app: Celery, pool: Any, late: bool) -> None:
    @app.task(shared=False, name="add", acks_late=late)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(shared=False, name="leave", acks_late=late)
    def leave() -> None:
        raise SystemExit(3)

    Inline.life.clear()
    with worker(app, pool, concurrency=3) as started:
        results = [add.delay(number, 1) for number in range(20)]
        assert [result.get(timeout=5) for result in results] == list(range(1, 21))
        assert isinstance(started.pool, pool)
        assert started.stats()["pool"]["max-concurrency"] == (1 if pool is Extended else 3)
        lost = leave.delay()
        with pytest.raises(Exception, match=r"SystemExit|3"):
            lost.get(timeout=5)
        assert add.delay(1, 1).get(timeout=5) == 2
    if pool is Inline:
        assert Inline.life[0] == "start"
        assert Inline.life.count("add") == 21
        assert Inline.life[-1] == "stop"


def test_a_pool_with_a_tracer_of_its_own(app: Celery) -> None:
    @app.task(shared=False, name="add")
    def add(x: int, y: int) -> int:
        raise AssertionError("the pool has its own way")

    with worker(app, Tracing) as started:
        result = add.delay(1, 2)
        assert result.get(timeout=5) == ["add", True, [1, 2]]
        until(lambda: started.worker.consumer.idle)


def test_what_is_not_offered_fails_at_the_start_with_its_name(app: Celery) -> None:
    class Mine(prefork.TaskPool):
        pass

    with pytest.raises(ImproperlyConfigured, match=r"Mine extends Celery's prefork pool"):
        app.WorkController(app=app, pool=Mine)


def test_apply_target() -> None:
    told: list[Any] = []
    base.apply_target(divmod, (7, 2), callback=told.append, accept_callback=lambda *accepted: told.append(accepted[0]))
    assert told[1] == (3, 1)
    with pytest.raises(ZeroDivisionError):
        base.apply_target(divmod, (7, 0))

    def leave() -> None:
        raise SystemExit(1)

    base.apply_target(leave, callback=told.append)
    assert "WorkerLostError" in str(told[-1])


# --- the size of the pool


class Pool:
    num_processes = 2

    def grow(self, n: int) -> None:
        self.num_processes += n

    def shrink(self, n: int) -> None:
        self.num_processes -= n

    def maintain_pool(self) -> None: ...


def test_the_autoscaler_follows_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scaler(autoscale.Autoscaler):
        qty = 0

    now = [100.0]
    monkeypatch.setattr(autoscale, "monotonic", lambda: now[0])
    scaler = Scaler(Pool(), 10, 2, keepalive=30)
    scaler.qty = 7
    scaler.maybe_scale()
    assert scaler.processes == 7
    scaler.qty = 50
    scaler.maybe_scale()
    assert scaler.processes == 10
    scaler.qty = 0
    scaler.maybe_scale()
    assert scaler.processes == 10
    now[0] += 31
    scaler.maybe_scale()
    assert scaler.processes == 2
    assert scaler.update(max=4, min=3) == (4, 3)
    assert scaler.info() == {"max": 4, "min": 3, "current": 3, "qty": 0}


def test_a_worker_scales(app: Celery) -> None:
    gate = threading.Event()

    @app.task(shared=False, name="wait")
    def wait() -> None:
        gate.wait(10)

    with worker(app, "threads", autoscale="5,1") as started:
        assert started.pool.num_processes == 1
        results = [wait.delay() for _ in range(4)]
        until(lambda: started.pool.num_processes >= 4, 10)
        assert started.stats()["autoscaler"]["max"] == 5
        gate.set()
        for result in results:
            result.get(timeout=5)


def test_the_default_strategy_is_ours(app: Celery) -> None:
    @app.task(shared=False, name="t")
    def task() -> None: ...

    with worker(app) as started:
        handler = default(task, app, started.consumer)
        assert type(handler) is type(started.consumer.strategies[ping.name])

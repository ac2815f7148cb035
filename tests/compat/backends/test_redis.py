"""Results in a real Redis: many who wait, connections that fail, what cannot be read, and subclasses."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed, DecodeError, OperationalError

from celeriac.compat import exceptions
from celeriac.compat.app.base import Celery
from celeriac.compat.backends.redis import RedisBackend
from celeriac.compat.result import AsyncResult, GroupResult
from tests import proxy
from tests.servers import RedisServer


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A store that nobody has any more closes what it holds, here and not in the next test."""
    yield
    gc.collect()


@pytest.fixture
def app(redis_server: RedisServer) -> Iterator[Celery]:
    redis_server.call("FLUSHALL")
    app = Celery("x", broker="memory://", backend=redis_server.url, set_as_current=False)
    yield app
    app.backend.plain.close()


def later(do: Any, seconds: float = 0.1) -> threading.Timer:
    timer = threading.Timer(seconds, do)
    timer.start()
    return timer


def test_two_thousand_wait_on_one_connection(app: Celery, redis_server: RedisServer) -> None:
    async def wait() -> list[Any]:
        waiting = [asyncio.ensure_future(AsyncResult(f"t{n}", app=app).aget(timeout=30)) for n in range(2000)]
        await asyncio.sleep(0.5)
        listening = redis_server.call("CLIENT", "LIST", "TYPE", "pubsub").decode().strip().splitlines()
        assert len(listening) == 1
        later(lambda: [app.backend.mark_as_done(f"t{n}", n) for n in range(2000)], 0)
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(wait()) == list(range(2000))


def test_threads_share_a_few_connections(app: Celery, redis_server: RedisServer) -> None:
    got: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: got.append(AsyncResult(f"t{n}", app=app).get(timeout=30)))
        for n in range(200)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert len(redis_server.call("CLIENT", "LIST").decode().strip().splitlines()) < 20
    for n in range(200):
        app.backend.mark_as_done(f"t{n}", n)
    for thread in threads:
        thread.join(30)
    assert sorted(got) == list(range(200))


def test_a_wait_survives_a_cut(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    with proxy.to(redis_server.port) as wire:
        app = Celery("x", backend=f"redis://127.0.0.1:{wire.port}/0", set_as_current=False)
        other = Celery("y", backend=redis_server.url, set_as_current=False)

        def cut_and_store() -> None:
            wire.cut()
            other.backend.mark_as_done("t", 5)

        later(cut_and_store, 0.3)
        assert AsyncResult("t", app=app).get(timeout=20) == 5
        app.backend.plain.close()


def test_a_redis_that_is_away_ends_in_an_error_and_in_time() -> None:
    app = Celery("x", backend="redis://127.0.0.1:1/0", set_as_current=False)
    started = time.monotonic()
    with pytest.raises(exceptions.TimeoutError, match=r"127\.0\.0\.1:1"):
        AsyncResult("t", app=app).get(timeout=0.5)
    assert time.monotonic() - started < 5
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
    app = Celery("x", backend="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
    with pytest.raises(OperationalError):
        AsyncResult("t", app=app).get()
    with pytest.raises(OperationalError):
        asyncio.run(AsyncResult("t", app=app).aget())


@pytest.mark.parametrize("stored", ["{oops", "[1, 2]", '{"result": 3}'])
def test_what_cannot_be_read_is_told(app: Celery, redis_server: RedisServer, stored: str) -> None:
    redis_server.call("SET", "celery-task-meta-t", stored)
    result = AsyncResult("t", app=app)
    for ask in (result.get, lambda: result.state):
        with pytest.raises(DecodeError) as caught:
            ask()
        assert "task t " in str(caught.value)
        assert stored[:5] in str(caught.value)
    with pytest.raises(DecodeError, match="task t "):
        asyncio.run(result.aget(timeout=5))


def test_a_serializer_that_is_not_accepted_is_refused(redis_server: RedisServer) -> None:
    writer = Celery("w", backend=redis_server.url, set_as_current=False)
    writer.conf.update(result_serializer="pickle", accept_content=["pickle"])
    writer.backend.mark_as_done("p", 1)
    reader = Celery("r", backend=redis_server.url, set_as_current=False)
    reader.conf.update(result_serializer="pickle", accept_content=["json"])
    with pytest.raises(ContentDisallowed, match="task p "):
        AsyncResult("p", app=reader).get(timeout=1)


def test_an_exception_class_is_never_called_that_is_none(app: Celery, redis_server: RedisServer) -> None:
    redis_server.call(
        "SET",
        "celery-task-meta-t",
        '{"status": "FAILURE", "result": {"exc_module": "os", "exc_type": "system", "exc_message": ["touch /tmp/no"]}}',
    )
    with pytest.raises(Exception, match=r"Expected an exception class, got os\.system") as caught:
        AsyncResult("t", app=app).get(timeout=1)
    assert type(caught.value).__qualname__ == "SecurityError"


def test_keys_are_what_celery_writes(app: Celery, redis_server: RedisServer) -> None:
    backend = app.backend
    backend.set("k", b"v", expires=50)
    assert backend.get("k") == b"v"
    assert backend.mget(["k", "none"]) == [b"v", None]
    assert 0 < redis_server.call("TTL", "k") <= 50
    assert backend.incr("n") == 1
    assert backend.incr(b"n") == 2
    backend.expire("n", 100)
    assert redis_server.call("TTL", "n") > 90
    backend.delete("k")
    assert backend.get("k") is None
    assert backend.client.get("n") == b"2"
    backend.client.close()


class Loud(RedisBackend):
    """Says anew how keys are written, and what a lost connection means."""

    written: ClassVar[list[Any]] = []
    lost: ClassVar[list[int]] = []

    def set(self, key: Any, value: Any, **kwargs: Any) -> Any:
        self.written.append(key)
        return super().set(key, value[::-1], **kwargs)

    def get(self, key: Any) -> Any:
        found = super().get(key)
        return found and found[::-1]

    def mget(self, keys: Any) -> Any:
        return [value and value[::-1] for value in super().mget(keys)]

    def on_connection_error(self, max_retries: Any, exc: Any, intervals: Any, retries: int) -> Any:
        self.lost.append(retries)
        return 0.01


class Counting(RedisBackend):
    """Says anew how a result is stored."""

    stored: ClassVar[list[str]] = []

    def _store_result(self, task_id: Any, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        self.stored.append(task_id)
        return super()._store_result(task_id, result, state, *args, **kwargs)


def test_a_subclass_is_asked_for_keys(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    app = Celery("x", set_as_current=False)
    app.backend = backend = Loud(app=app, url=redis_server.url)
    later(lambda: backend.mark_as_done("t", 7))
    assert AsyncResult("t", app=app).get(timeout=10) == 7
    assert backend.written == ["celery-task-meta-t"]
    assert redis_server.call("GET", "celery-task-meta-t").startswith(b"}")
    found = backend.store.fetch("t")
    assert found is not None
    assert found.result == 7
    assert "chord" in backend.store.can


def test_a_subclass_is_told_of_lost_connections() -> None:
    app = Celery("x", set_as_current=False)
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 3}}
    backend = Loud(app=app, url="redis://127.0.0.1:1/0")
    backend.lost.clear()
    with pytest.raises(OperationalError):
        backend.plain.fetch("t")
    assert backend.lost == [0, 1, 2]


def test_a_worker_stores_through_a_subclass(redis_server: RedisServer) -> None:
    from celeriac.protocol.wire.result import Result

    redis_server.call("FLUSHALL")
    app = Celery("x", set_as_current=False)
    app.backend = backend = Counting(app=app, url=redis_server.url)
    assert backend.store.store(Result("t", result=3))
    assert backend.stored == ["t"]
    assert AsyncResult("t", app=app).get(timeout=5) == 3
    backend.store.chord_start("g", 1)


def test_a_backend_is_pickled_by_its_url(app: Celery, redis_server: RedisServer) -> None:
    result = pickle.loads(pickle.dumps(AsyncResult("t", app=app)))
    assert result.id == "t"
    assert result.backend.url == redis_server.url


def test_a_forked_child_asks_on_its_own(app: Celery) -> None:
    app.backend.mark_as_done("t", 4)
    assert AsyncResult("t", app=app).get(timeout=5) == 4
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            app.backend.mark_as_done("c", 5)
            code = 0 if AsyncResult("c", app=app).get(timeout=5) == 5 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert AsyncResult("c", app=app).get(timeout=5) == 5


def test_a_group_is_waited_for_at_once(app: Celery) -> None:
    ids = [f"g{n}" for n in range(300)]
    later(lambda: [app.backend.mark_as_done(each, n) for n, each in enumerate(ids)])
    group = GroupResult("g", [AsyncResult(each, app=app) for each in ids], app=app)
    assert group.get(timeout=10) == list(range(300))
    assert group.completed_count() == 300


# --- what Celery's backend has for others


def test_a_place_as_redis_py_is_told(app: Celery) -> None:
    backend = app.backend
    defaults = {"host": "h", "port": 1, "db": 0, "socket_connect_timeout": 4.0}
    told = backend._params_from_url("redis://u:p%40@there:7/3?socket_timeout=5&decode_responses=yes", defaults)
    assert told == {
        "host": "there", "port": 7, "db": 3, "username": "u", "password": "p@",
        "socket_connect_timeout": 4.0, "socket_timeout": 5.0, "decode_responses": True,
    }  # fmt: skip
    assert backend._params_from_url("redis://", defaults) == defaults
    told = backend._params_from_url("redis+socket:///tmp/x.sock?virtual_host=2", defaults)
    assert (told["path"], told["db"], told["connection_class"]) == (
        "/tmp/x.sock",
        2,
        backend.redis.UnixDomainSocketConnection,
    )
    assert not {"host", "port", "socket_connect_timeout"} & set(told)
    told = backend._params_from_url("rediss://there?ssl_cert_reqs=CERT_NONE&ssl_ca_certs=%2Fca", defaults)
    assert (told["connection_class"], told["ssl_cert_reqs"]) == (backend.redis.SSLConnection, "none")
    assert told["ssl_ca_certs"] == "/ca"


def test_a_value_is_set_and_told(app: Celery, redis_server: RedisServer) -> None:
    app.backend._set("k", "v", expires=50)
    assert redis_server.call("GET", "k") == b"v"
    assert 0 < int(redis_server.call("TTL", "k")) <= 50
    app.backend._set("k", "w")
    assert int(redis_server.call("TTL", "k")) > 50


def test_text_answers_are_not_compressed(redis_server: RedisServer) -> None:
    url = f"{redis_server.url}?decode_responses=true"
    app = Celery("x", broker="memory://", backend=url, set_as_current=False)
    app.conf.result_compression = "gzip"
    with pytest.warns(UserWarning, match="decode_responses"):
        backend = app.backend
    backend.store_result("t", {"x": 1}, "SUCCESS")
    assert isinstance(backend.client.get(backend.get_key_for_task("t")), str)
    assert backend.get_result("t") == {"x": 1}
    backend.client.close()
    backend.plain.close()


def test_a_header_is_kept_as_long_as_its_chord(app: Celery, redis_server: RedisServer) -> None:
    app.conf.update(result_expires=60, result_chord_expires=600)
    app.backend.apply_chord(
        ("g", [AsyncResult("a", app=app), GroupResult("n", [AsyncResult("b", app=app)], app=app)]), None
    )
    assert 60 < int(redis_server.call("TTL", app.backend.get_key_for_group("g"))) <= 600


class Listening:
    """Celery's consumer on our backend, and what it is told."""

    def __init__(self, app: Celery) -> None:
        self.consumer = app.backend.result_consumer
        self.came: list[Any] = []
        self.consumer.on_message = self.came.append

    def drain(self, until: Any, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            self.consumer.drain_events(timeout=0.1)
        assert until()


def channels(redis_server: RedisServer) -> list[bytes]:
    return [each for each in redis_server.call("PUBSUB", "CHANNELS") if each.startswith(b"celery-task-meta-")]


def test_a_consumer_hears_of_what_it_listens_for(app: Celery, redis_server: RedisServer) -> None:
    heard = Listening(app)
    heard.consumer.start("a")
    heard.consumer.consume_from("b")
    heard.consumer.drain_events(timeout=0.1)
    app.backend.store_result("b", None, "STARTED")
    app.backend.mark_as_done("b", 5)
    heard.drain(lambda: len(heard.came) == 2)
    assert [each["status"] for each in heard.came] == ["STARTED", "SUCCESS"]
    assert heard.consumer.subscribed_to == {app.backend.get_key_for_task("a")}
    heard.consumer.cancel_for("a")
    heard.consumer.stop()
    heard.consumer.drain_events(timeout=0)
    assert channels(redis_server) == []
    app.backend.client.close()


def test_a_finalizer_may_cancel_within_a_command(app: Celery, redis_server: RedisServer) -> None:
    consumer = app.backend.result_consumer
    consumer.start("first")
    for each in "abc":
        consumer.consume_from(each)
    pubsub, left, under_way = consumer._pubsub, list("abc"), []

    def within(command: Any) -> Any:
        def call(*keys: Any) -> Any:
            assert not under_way
            under_way.append(keys)
            try:
                if left:
                    consumer.cancel_for(left.pop())
                return command(*keys)
            finally:
                under_way.pop()

        return call

    pubsub.subscribe, pubsub.unsubscribe = within(pubsub.subscribe), within(pubsub.unsubscribe)
    thread = threading.Thread(target=consumer.consume_from, args=("d",), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert not left
    assert consumer.subscribed_to == {app.backend.get_key_for_task(each) for each in ("first", "d")}
    consumer.stop()
    app.backend.client.close()


def test_a_consumer_whose_connection_is_cut_looks_and_listens_again(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    with proxy.to(redis_server.port) as between:
        app = Celery("x", broker="memory://", backend=f"redis://127.0.0.1:{between.port}/0", set_as_current=False)
        heard = Listening(app)
        heard.consumer.start("a")
        heard.consumer.consume_from("b")
        heard.consumer.drain_events(timeout=0.1)
        between.cut()
        direct = Celery("y", broker="memory://", backend=redis_server.url, set_as_current=False)
        direct.backend.mark_as_done("a", 1)
        heard.drain(lambda: len(heard.came) == 1)
        direct.backend.mark_as_done("b", 2)
        heard.drain(lambda: len(heard.came) == 2)
        assert {each["task_id"]: each["result"] for each in heard.came} == {"a": 1, "b": 2}
        heard.consumer.stop()
        app.backend.client.connection_pool.disconnect()
        app.backend.plain.close()
        direct.backend.plain.close()


STATES = st.lists(st.sampled_from([None, "SUCCESS", "FAILURE", "STARTED", "REVOKED", "unreadable"]), max_size=6)


@given(STATES, st.sets(st.integers(0, 5)))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_group_is_asked_at_once_for_what_it_raises_as_one_by_one(
    app: Celery, redis_server: RedisServer, states: list[str | None], known: set[int]
) -> None:
    ends = []
    for way in ("_throw_at_once", "maybe_throw"):
        redis_server.call("FLUSHALL")
        app.backend._cache.clear()
        results = [AsyncResult(f"t{place}", app=app) for place in range(len(states))]
        for place, (result, state) in enumerate(zip(results, states, strict=True)):
            if state == "unreadable":
                redis_server.call("SET", f"celery-task-meta-{result.id}", b"[")
            elif state is not None:
                value = place if state in ("SUCCESS", "STARTED") else KeyError(place)
                app.backend.store_result(result.id, value, state)
            if place in known and state != "unreadable":
                result.state  # noqa: B018 - asked for, and kept if it has ended
        group = GroupResult("g", results, app=app)
        raised = None
        try:
            done = getattr(group, way)()
        except Exception as problem:
            raised = repr(problem)
        else:
            if done is False:
                assert "unreadable" in states
                return
        ends.append((raised, [(each._cache or {}).get("status") for each in results] if raised is None else None))
    assert ends[0] == ends[1]


def test_who_waits_for_a_chord_asks_for_its_header_at_once(app: Celery, redis_server: RedisServer) -> None:
    header = [app.AsyncResult(f"t{place}") for place in range(100)]
    for result in header[:99]:
        app.backend.mark_as_done(result.id, 1)
    body = app.AsyncResult("body", parent=app.GroupResult("g", header))
    app.backend.mark_as_done("body", 5)
    redis_server.call("CONFIG", "RESETSTAT")
    assert body.get(timeout=10) == 5
    told: bytes = redis_server.call("INFO", "commandstats")
    asked = [
        line.split(",")[0] for line in told.decode().splitlines() if line.startswith(("cmdstat_get:", "cmdstat_mget:"))
    ]
    assert sum(int(each.partition("calls=")[2]) for each in asked) < 6

"""Backends that others wrote: those of keys, those of documents, those with a consumer; and none at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from celeriac.compat import exceptions, states
from celeriac.compat.app.base import Celery
from celeriac.compat.backends import base
from celeriac.compat.backends.asynchronous import AsyncBackendMixin, BaseResultConsumer
from celeriac.compat.backends.base import Backend, BaseBackend, DisabledBackend, KeyValueStoreBackend
from celeriac.compat.result import AsyncResult, GroupResult
from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import compression
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.result import Result
from tests.conftest import Environment


class Keys(KeyValueStoreBackend):
    """As small as they come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.values: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        return self.values.get(key)

    def set(self, key: Any, value: Any) -> None:
        self.values[key] = value

    def mget(self, keys: Any) -> Any:
        return [self.values.get(key) for key in keys]

    def delete(self, key: Any) -> None:
        self.values.pop(key, None)


class Documents(BaseBackend):
    """As django-celery-results': it stores rows of its own."""

    rows: dict[str, Any]

    def _store_result(
        self, task_id: Any, result: Any, status: Any, traceback: Any = None, request: Any = None, using: Any = None
    ) -> Any:
        self.rows[task_id] = {
            "task_id": task_id,
            "status": status,
            "result": self.encode(result),
            "traceback": traceback,
            "task_name": getattr(request, "task", None),
        }
        return result

    def _get_task_meta_for(self, task_id: Any) -> Any:
        row = self.rows.get(task_id)
        if row is None:
            return {"task_id": task_id, "status": states.PENDING, "result": None}
        return self.meta_from_decoded({**row, "result": self.decode(row["result"])})

    def _forget(self, task_id: Any) -> None:
        self.rows.pop(task_id, None)


class Consumer(BaseResultConsumer):
    """Takes what was put into a list."""

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        self.backend.asked.append(initial_task_id)

    consume_from = start

    def cancel_for(self, task_id: str) -> None:
        self.backend.cancelled.append(task_id)

    def drain_events(self, timeout: float | None = None) -> None:
        if self.backend.queue:
            self.on_state_change(self.backend.queue.pop(0), None)


class Telling(Backend, AsyncBackendMixin):
    """A backend with a consumer of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.queue: list[Any] = []
        self.result_consumer = Consumer(self, self.app, self.accept, self._pending_results, self._pending_messages)

    def _get_task_meta_for(self, task_id: str) -> Any:
        return {"status": states.PENDING, "result": None}


def app_with(kind: Callable[..., Any]) -> Celery:
    app = Celery("x", set_as_current=False)
    app.backend = kind(app=app)
    return app


def test_a_backend_of_keys() -> None:
    app = app_with(Keys)
    backend = app.backend
    threading.Timer(0.05, lambda: backend.mark_as_done("t", {"a": 1})).start()
    assert AsyncResult("t", app=app).get(timeout=5, interval=0.01) == {"a": 1}
    assert list(backend.values) == [b"celery-task-meta-t"]
    backend.store_result("t", KeyError(), states.FAILURE)
    assert AsyncResult("t", app=app).state == states.SUCCESS
    backend.mark_as_failure("f", ValueError("no", 3))
    with pytest.raises(ValueError, match="no"):
        AsyncResult("f", app=app).get()
    group = GroupResult("g", [AsyncResult("t", app=app)], app=app)
    group.save()
    assert GroupResult.restore("g", app=app).get(timeout=1) == [{"a": 1}]
    with pytest.raises(exceptions.TimeoutError):
        GroupResult("h", [AsyncResult("z", app=app)], app=app).join_native(timeout=0.02, interval=0.01)
    assert asyncio.run(AsyncResult("t", app=app).aget(timeout=5)) == {"a": 1}
    with pytest.raises(ValueError, match="must not be empty"):
        backend.get_key_for_task("")


def test_a_backend_of_documents() -> None:
    app = app_with(Documents)
    app.backend.rows = {}
    app.backend.mark_as_done("t", 3)
    assert AsyncResult("t", app=app).get(timeout=1) == 3
    AsyncResult("t", app=app).forget()
    assert app.backend.get_state("t") == states.PENDING


@pytest.mark.parametrize("kind", [Keys, Documents])
def test_a_worker_stores_through_it(kind: type[Any]) -> None:
    app = app_with(kind)
    app.backend.rows = {}
    store = app.backend.store
    assert store.store(Result("t", result=[1, 2]))
    assert AsyncResult("t", app=app).get(timeout=1) == [1, 2]
    store.store(Result("f", states.FAILURE, Failure("KeyError", ("x",))))
    with pytest.raises(KeyError):
        AsyncResult("f", app=app).get(timeout=1)
    found = store.fetch("f")
    assert found is not None
    assert found.status == states.FAILURE
    store.forget("t")
    assert store.fetch("t") is None


def test_a_backend_with_a_consumer() -> None:
    app = app_with(Telling)
    backend = app.backend
    backend.queue.append({"task_id": "t", "status": "STARTED", "result": None})
    backend.queue.append({"task_id": "u", "status": "SUCCESS", "result": 2})
    backend.queue.append({"task_id": "t", "status": "SUCCESS", "result": 1})
    seen: list[Any] = []
    assert AsyncResult("t", app=app).get(timeout=2, on_message=lambda meta: seen.append(meta["status"])) == 1
    assert seen == ["STARTED", "SUCCESS", "SUCCESS"]
    assert "t" in backend.cancelled
    assert AsyncResult("u", app=app).get(timeout=2) == 2
    with pytest.raises(exceptions.TimeoutError):
        AsyncResult("v", app=app).get(timeout=0.05)


def test_no_backend_says_so() -> None:
    app = app_with(DisabledBackend)
    assert app.backend.store_result("t", 1, states.SUCCESS) is None
    for ask in (AsyncResult("t", app=app).get, lambda: AsyncResult("t", app=app).state):
        with pytest.raises(NotImplementedError, match="No result backend is configured"):
            ask()
    with pytest.raises(NotImplementedError, match="No result backend is configured"):
        app.backend.get_result("t")
    with pytest.raises(NotImplementedError, match="Starting chords requires a result backend"):
        app.backend.ensure_chords_allowed()
    assert app.backend.as_uri() == "disabled://"


def test_failures_are_tried_again_as_asked() -> None:
    class Shaky(Keys):
        left = 2

        def get(self, key: Any) -> Any:
            if self.left:
                self.left -= 1
                raise ConnectionError("away")
            return super().get(key)

        def exception_safe_to_retry(self, exc: BaseException) -> bool:
            return isinstance(exc, ConnectionError)

    app = Celery("x", set_as_current=False)
    app.conf.update(result_backend_always_retry=True, result_backend_base_sleep_between_retries_ms=1)
    app.backend = Shaky(app=app)
    assert AsyncResult("t", app=app).state == states.PENDING
    app.backend.left = 5
    app.backend.max_retries = 2
    with pytest.raises(exceptions.BackendGetMetaError, match="failed to get meta"):
        app.backend.get_task_meta("t")


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (3, TypeError),
        ({"exc_message": "x"}, ValueError),
        ({"exc_type": "system", "exc_module": "os", "exc_message": ["true"]}, exceptions.SecurityError),
    ],
)
def test_what_is_no_exception_is_refused(stored: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        app_with(Keys).backend.exception_to_python(stored)


def test_exceptions_there_and_back() -> None:
    backend = app_with(Keys).backend
    assert backend.exception_to_python(None) is None
    made = backend.exception_to_python({"exc_type": "Odd", "exc_module": "no.such.module", "exc_message": ["x"]})
    assert (type(made).__name__, type(made).__module__, made.args) == ("Odd", "celery.exceptions", ("x",))
    kept = backend.prepare_exception(KeyError("x", object()))
    assert kept["exc_type"] == "KeyError"
    assert kept["exc_message"][1].startswith("<object")
    lost = backend.exception_to_python(
        {"exc_type": "WorkerLostError", "exc_module": "billiard.exceptions", "exc_message": ["x"]}
    )
    assert isinstance(lost, exceptions.WorkerLostError)


class Point:
    """A type of a user's own."""

    def __init__(self, x: int) -> None:
        self.x = x


def test_what_was_registered_with_kombu_is_known() -> None:
    from kombu.serialization import register, unregister
    from kombu.utils import json as kombu_json

    kombu_json.register_type(Point, "tests.point", lambda point: point.x, Point)
    register("reversed", lambda value: repr(value)[::-1], lambda data: eval(data[::-1]), "application/x-rev", "utf-8")
    try:
        app = Celery("x", backend="memory://registered", set_as_current=False)
        app.backend.mark_as_done("p", [Point(3)])
        assert AsyncResult("p", app=app).get(timeout=1)[0].x == 3
        app = Celery("x", backend="memory://registered", set_as_current=False)
        app.conf.update(result_serializer="reversed", accept_content=["reversed"])
        app.backend.mark_as_done("r", {"a": 1})
        assert AsyncResult("r", app=app).get(timeout=1) == {"a": 1}
    finally:
        unregister("reversed")
        kombu_json._encoders.pop(Point)
        kombu_json._decoders.pop("tests.point")


def test_what_wraps_an_exception_is_itself_again(celeriac_env: Environment) -> None:
    """In a program that has not loaded its class yet: with the text, the arguments and what restores it."""
    program = (
        "import sys\nfrom celeriac.compat.backends.failing import to_python\n"
        "kind = 'UnpickleableExceptionWrapper'\nwhere = 'celery.utils.serialization'\n"
        "assert 'celeriac.compat.utils.serialization' not in sys.modules\n"
        "told = {'exc_type': kind, 'exc_message': ['m', 'K', ['a'], 'the text'], 'exc_module': where}\n"
        "exc = to_python(told, 'json')\nassert str(exc) == 'the text', exc\n"
        "assert repr(exc.restore()) == \"K('a')\"\nprint(exc.exc_args)"
    )
    assert celeriac_env.run("-c", program).stdout == "('a',)\n"


def test_a_compressed_payload_unfolds_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("zlib", "bzip2"):
        payload = base.compress_payload(b"x" * 1000, name)
        assert base.decompress_payload(payload) == base.decompress_payload(memoryview(payload)) == b"x" * 1000
    assert base.decompress_payload(b"plain") == b"plain"
    monkeypatch.setattr(compression, "decompress", partial(compression.decompress, limit=999))
    with pytest.raises(BadMessage, match="unfolds to more than 999 bytes"):
        base.decompress_payload(payload)

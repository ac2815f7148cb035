"""Backends that others wrote for Celery, as stores: one made here by Celery's calls, and Celery's own in its own process.

Two processes, since stock Celery and this suite have environments of their own.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import EncodeError, OperationalError

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire import failure
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.result import Result
from celeriac.worker.backends.base import Store
from celeriac.worker.backends.plugged import PluggedStore, Request
from tests.conformance.backends import Connect, StoreContract
from tests.conftest import ROOT


class Elsewhere:
    """A backend by Celery's calls. It pickles, as django-celery-results may, and looks at the request as that does."""

    def __init__(self, shelf: dict[str, bytes]) -> None:
        self.shelf = shelf
        self.calls: list[Any] = []

    def store_result(
        self, task_id: str, result: Any, status: str, traceback: Any = None, request: Any = None, using: Any = None
    ) -> Any:
        if type(result) is object:
            raise EncodeError("no")
        if isinstance(result, BaseException):
            result = failure.parse(result)
        meta = {
            **getattr(request, "meta", {}),
            "task_id": task_id,
            "status": status,
            "result": result,
            "traceback": traceback,
            "children": [child.as_tuple() for child in getattr(request, "children", None) or ()],
            "date_done": "2026-11-21T06:30:00.123456+00:00" if status in ("SUCCESS", "FAILURE", "REVOKED") else None,
        }
        if getattr(request, "group", None):
            meta["group_id"] = request.group
        if getattr(request, "parent_id", None):
            meta["parent_id"] = request.parent_id
        if getattr(request, "task", None) or getattr(request, "hostname", None):
            meta |= {"name": request.task, "args": request.args, "kwargs": request.kwargs}
            meta |= {"worker": request.hostname, "retries": request.retries}
            meta["queue"] = request.delivery_info.get("routing_key")
        self.shelf[task_id] = pickle.dumps(meta)
        return result

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        stored = self.shelf.get(task_id)
        if stored == b"spoilt":
            return {"status": 5}
        meta = pickle.loads(stored) if stored else {"status": "PENDING", "result": None}
        if isinstance(meta["result"], failure.Failure):
            meta["result"] = failure.rebuild(meta["result"], sys.modules)
        return meta

    def forget(self, task_id: str) -> None:
        self.shelf.pop(task_id, None)

    def save_group(self, group_id: str, result: Any) -> Any:
        assert len(result) == len(list(result))
        self.shelf[f"group-{group_id}"] = pickle.dumps(result.as_tuple())
        return result

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        stored = self.shelf.get(f"group-{group_id}")
        return pickle.loads(stored) if stored else None

    def delete_group(self, group_id: str) -> None:
        self.shelf.pop(f"group-{group_id}", None)

    def cleanup(self) -> None:
        self.calls.append("cleanup")


class TakenApart(PluggedStore):
    """What it gives back are live exceptions, of which no two are equal."""

    def _found(self, task_id: str) -> Result | BadMessage | None:
        found = super()._found(task_id)
        if isinstance(found, Result) and isinstance(found.result, BaseException):
            return replace(found, result=failure.parse(found.result))
        return found


class TestPlugged(StoreContract):
    @pytest.fixture
    def connect(self) -> Connect:
        shelf: dict[str, bytes] = {}
        return lambda settings=None: TakenApart(Elsewhere(shelf), settings)

    def spoil(self, store: Store, task_id: str) -> None:
        assert isinstance(store, PluggedStore)
        store.backend.shelf[task_id] = b"spoilt"

    def check_apart(self, store: Store, result: Result) -> None:
        """Names are the backend's own affair."""
        assert store.fetch(result.task_id) == result

    def test_results_are_forgotten_when_their_time_is_over(self, connect: Connect, store: Store) -> None:
        """So is time."""
        assert isinstance(store, PluggedStore)
        assert store.expire(time.time()) == 0
        assert store.backend.calls == ["cleanup"]

    def test_one_without_groups(self) -> None:
        class Least:
            def store_result(self, *args: Any, **options: Any) -> None: ...

            def get_task_meta(self, task_id: str, cache: bool = True) -> Any:
                return None

            def forget(self, task_id: str) -> None: ...

        store = PluggedStore(Least())
        assert store.can == {"shared"}
        assert store.expire(0) == 0
        with pytest.raises(BadCall, match="group"):
            store.store_group(Node("group", None, ()))

    def test_what_is_no_backend(self) -> None:
        with pytest.raises(BadCall, match="store_result, get_task_meta, forget"):
            PluggedStore(object())

    def test_what_it_raises_is_that_it_does_not_work(self, store: Store) -> None:
        assert isinstance(store, PluggedStore)
        store.backend.shelf["t"] = b"no pickle"
        with pytest.raises(OperationalError, match="Elsewhere could not fetch the result of t"):
            store.fetch("t")

    def test_a_request_has_what_celerys_has(self) -> None:
        request = Request(id="t")
        assert (request.id, request.group, request.retries, request.children) == ("t", None, 0, [])
        assert getattr(request, "meta", "default") == "default"


IN_STOCK = """
import sys
sys.path.insert(0, sys.argv[1])
from celery import Celery
from celery.backends.cache import CacheBackend
from celery.backends.filesystem import FilesystemBackend
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.result import About, Result
from celeriac.worker.backends.plugged import PluggedStore

def backends():
    for extended in (False, True):
        app = Celery(set_as_current=False)
        app.conf.update(result_extended=extended, result_cache_max=1000)
        yield extended, FilesystemBackend(app=app, url="file://" + sys.argv[2])
        app.conf.result_serializer, app.conf.accept_content = "pickle", ["pickle"]
        yield extended, CacheBackend(app=app, backend="memory://")

for extended, backend in backends():
    store = PluggedStore(backend)
    about = About("n", [1], {"k": 2}, "w@h", 3, "q") if extended else None
    tree = [[["c", None], None]]
    one = Result(f"a{extended}", "SUCCESS", {"x": [1]}, None, tree, group_id="g", parent_id="p", about=about)
    assert store.fetch(one.task_id) is None
    assert store.store(Result(one.task_id, "STARTED", {"pid": 1}))
    assert store.fetch(one.task_id).status == "STARTED"
    assert store.store(one) and not store.store(one)
    found = store.fetch(one.task_id)
    assert (found.result, found.children, found.group_id, found.parent_id) == ({"x": [1]}, tree, "g", "p"), found
    assert found.done_at() is not None
    assert found.about == about, found.about
    for boom in (Failure("ValueError", ("x", 1)), Failure("Own", ("y",), "not.there")):
        bad = Result("b", "FAILURE", boom, "Traceback: x")
        assert store.store(bad)
        found = store.fetch("b")
        assert found.failed and found.traceback == "Traceback: x"
        assert type(found.result).__name__ == boom.exc_type, found.result
        assert found.result.args == boom.args
    store.forget("b")
    assert store.fetch("b") is None
    group = Node("g", Node("up"), (Node("m", Node("before")), Node("h", None, (Node("n"),))))
    store.store_group(group)
    assert store.fetch_group("g") == group, store.fetch_group("g")
    store.forget_group("g")
    assert store.fetch_group("g") is None
    store.expire(0)
    store.forget(one.task_id)
print("all of it")
"""


@pytest.mark.real
def test_celerys_own_backends_in_celerys_own_process(stock_python: Path, tmp_path: Path) -> None:
    command = [str(stock_python), "-W", "ignore", "-c", IN_STOCK, str(ROOT / ".dev"), str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV_"))}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert ran.stdout == "all of it\n", ran.stderr

"""Every kind of store that needs no server, behind Celery's backend; and the classes of all the others."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat import exceptions, states
from celeriac.compat.app.backends import BACKEND_ALIASES
from celeriac.compat.app.base import Celery
from celeriac.compat.result import AsyncResult, GroupResult
from tests.servers import RedisServer


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.parametrize("url", ["db+sqlite:///{}/x.db", "file://{}", "cache+memory://", "memory://kinds"])
def test_each_keeps_results(url: str, tmp_path: Path) -> None:
    app = Celery("x", backend=url.format(tmp_path), set_as_current=False)
    backend = app.backend
    threading.Timer(0.1, lambda: backend.mark_as_done("t", [1])).start()
    assert AsyncResult("t", app=app).get(timeout=5, interval=0.02) == [1]
    assert asyncio.run(AsyncResult("t", app=app).aget(timeout=5)) == [1]
    backend.mark_as_failure("f", ValueError("x", 2), "Traceback")
    with pytest.raises(ValueError, match="x"):
        AsyncResult("f", app=app).get(timeout=1)
    group = GroupResult("g", [AsyncResult("t", app=app)], app=app)
    group.save()
    assert GroupResult.restore("g", app=app).get(timeout=5) == [[1]]
    got: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: got.append(AsyncResult(f"k{n}", app=app).get(timeout=20, interval=0.05)))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for n in range(20):
        backend.mark_as_done(f"k{n}", n)
    for thread in threads:
        thread.join(20)
    assert sorted(got) == list(range(20))
    AsyncResult("t", app=app).forget()
    assert AsyncResult("t", app=app).state == states.PENDING
    backend.cleanup()
    backend.process_cleanup()


@pytest.mark.parametrize("alias", sorted(BACKEND_ALIASES))
def test_each_has_its_class(alias: str) -> None:
    path = BACKEND_ALIASES[alias].replace("celery", "celeriac.compat", 1)
    module, _, name = path.replace(":", ".").rpartition(".")
    kind = getattr(import_module(module), name)
    assert issubclass(kind, import_module("celeriac.compat.backends.base").Backend)


def test_wrong_places_are_told() -> None:
    for url in ("file://relative", "cache+nothing://", "redis://host:99999999/"):
        app = Celery("x", backend=url, set_as_current=False)
        with pytest.raises(exceptions.ImproperlyConfigured):
            _ = app.backend.store


def test_answers_go_to_one_queue_for_all_threads(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    asks = Celery("a", broker=redis_server.url, backend="rpc://", set_as_current=False)
    answers = Celery("b", broker=redis_server.url, backend="rpc://", set_as_current=False)
    asks.backend.on_task_call(None, "t0")
    names = {asks.thread_oid}
    thread = threading.Thread(target=lambda: names.add(asks.thread_oid))
    thread.start()
    thread.join()
    assert names == {asks.backend.oid}

    class Request:
        group = parent_id = chord = None
        ignore_result = False
        children = ()
        reply_to = asks.backend.oid

        def __init__(self, ident: str) -> None:
            self.id = self.correlation_id = ident

    got: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: got.append(AsyncResult(f"t{n}", app=asks).get(timeout=20)))
        for n in range(20)
    ]
    for each in threads:
        each.start()
    for n in range(20):
        answers.backend.mark_as_done(f"t{n}", n, request=Request(f"t{n}"))
    for each in threads:
        each.join(20)
    assert sorted(got) == list(range(20))
    with pytest.raises(NotImplementedError, match="does not support chords"):
        asks.backend.ensure_chords_allowed()
    asks.backend.plain.close()
    answers.backend.plain.close()

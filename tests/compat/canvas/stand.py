"""An app as far as canvases see one: it keeps the calls that it is to send, in order, beside what its store hears."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat import _state, canvas
from celeriac.protocol.rules.calling import Call
from celeriac.protocol.wire import children

REPLY_TO = "00000000-aaaa-3aaa-8aaa-000000000000"
NAMES = ("add", "mul", "tsum", "echo", "noop", "errback_old", "errback_new")
DEFAULTS = {
    "task_protocol": 2,
    "task_always_eager": False,
    "task_inherit_parent_priority": False,
    "task_allow_error_cb_on_chord_header": False,
}
CAN = {"native": {"chord", "push"}, "saved": {"chord"}, "polled": set(), "refused": set()}


class Result:
    """A promise, no more than its place in the tree."""

    def __init__(self, result_id: str, results: list[Any] | None = None, name: str | None = None) -> None:
        self.id = result_id
        self.results = results
        self.parent: Any = None
        self.name = name
        self.ignored: Any = None

    def as_tuple(self) -> Any:
        members = None if self.results is None else [result.as_tuple() for result in self.results]
        return (self.id, self.parent and self.parent.as_tuple()), members


class Store:
    def __init__(self, kind: str, steps: list[Any]) -> None:
        self.can = frozenset(CAN[kind])
        self.steps = steps

    def chord_start(self, group_id: str, size: int, saved: Any = None) -> None:
        if saved is not None:
            self.store_group(saved)
        self.steps.append(["size", group_id, size])

    def store_group(self, tree: children.Node) -> None:
        self.steps.append(["save", tree.id, {"result": children.build(tree)}])

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        self.steps.append(["grow", group_id, by])


class Backend:
    def __init__(self, kind: str, steps: list[Any]) -> None:
        self.store = Store(kind, steps)
        self.kind = kind

    def ensure_chords_allowed(self) -> None:
        if self.kind == "refused":
            raise NotImplementedError("no chords here")


class Task:
    """What `app.task` would make."""

    priority = None

    def __init__(self, app: App, name: str) -> None:
        self.app = app
        self.name = name
        self.backend = app.backend

    def signature(self, args: Any = None, kwargs: Any = None, **more: Any) -> Any:
        return canvas.signature(self, args, kwargs, app=self.app, **more)

    def s(self, *args: Any, **kwargs: Any) -> Any:
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Any:
        return self.signature(args, kwargs, immutable=True)

    def map(self, it: Any) -> Any:
        return canvas.xmap(self.s(), it, app=self.app)

    def starmap(self, it: Any) -> Any:
        return canvas.xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Any, n: int) -> Any:
        return canvas.chunks(self.s(), it, n, app=self.app)

    def AsyncResult(self, task_id: str) -> Result:
        return Result(task_id, name=self.name)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return self.app.send_task(self.name, args, kwargs, **options)


class Conf(dict[str, Any]):
    __getattr__ = dict.__getitem__


class App:
    """`steps` is all that was sent and stored."""

    thread_oid = REPLY_TO
    current_worker_task: Any = None

    def __init__(self, conf: dict[str, Any] | None = None, chords: str = "native") -> None:
        self.conf = Conf(DEFAULTS, **(conf or {}))
        self.steps: list[Any] = []
        self.backend = Backend(chords, self.steps)
        default = SimpleNamespace(name="celery", exchange=SimpleNamespace(type="direct"))
        router = SimpleNamespace(route=lambda _options, _name: {"queue": default})
        self.amqp = SimpleNamespace(router=router, queues=defaultdict(lambda: default))
        self.pieces: list[int] = []
        names = (
            *(f"wire.{name}" for name in NAMES),
            *(f"celery.{kind}" for kind in ("map", "starmap", "chain", "group", "chord")),
        )
        self.tasks = {name: Task(self, name) for name in names}

    def AsyncResult(self, task_id: str, **_: Any) -> Result:
        return Result(task_id)

    def GroupResult(self, group_id: str, results: list[Any], **_: Any) -> Result:
        return Result(group_id, results)

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Result:
        options.setdefault("task_id", f"00000000-cccc-4ccc-8ccc-{next(_count):012}")
        for key in ("producer", "add_to_parent"):
            options.pop(key, None)
        self.steps.append(Call(name, args or (), kwargs, options))
        result = self.AsyncResult(options["task_id"])
        if self.current_worker_task:
            self.current_worker_task.add_trail(result)
        return result

    def names(self) -> dict[str, Any]:
        """What the text of a call may name."""
        tasks = SimpleNamespace(**{name: self.tasks[f"wire.{name}"] for name in NAMES})
        kinds = {name: getattr(canvas, name) for name in ("chain", "group", "chord", "signature")}
        return {"T": tasks, "app": self, "datetime": dt, "time": time, **kinds}


_count = itertools.count(1)


@contextmanager
def sending(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls in bulk are kept by the stand-in app too."""

    def send_calls(app: App, calls: Iterable[Call], _producer: Any = None) -> Iterator[str]:
        before = len(app.steps)
        for call in calls:
            app.steps.append(call)
            yield call.options["task_id"]
        app.pieces.append(len(app.steps) - before)

    with monkeypatch.context() as patch:
        from celeriac.compat.app import sending as real

        patch.setattr(real, "send_calls", send_calls)
        patch.setattr(_state._tls, "current_app", app)
        yield

"""The class Task, beyond what the comparison with stock Celery sees (`scenes`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.compat import _state, canvas
from celeriac.compat.app import Celery
from celeriac.compat.app.task import Task
from celeriac.compat.app.unlocking import unlock
from celeriac.compat.exceptions import ChordError, Reject, Retry


@pytest.fixture
def app() -> Iterator[Celery]:
    finalizers = dict(_state._on_app_finalizers)
    with Celery("proj", broker="memory://", backend="disabled", set_as_current=False) as made:
        yield made
    _state._on_app_finalizers.clear()
    _state._on_app_finalizers.update(finalizers)


def test_the_base_of_all_tasks_is_never_bound() -> None:
    assert Task.app == _state.get_current_app()
    assert "__bound__" not in vars(Task) or Task.__bound__ is False
    assert Task.ignore_result is None


def test_kombus_error_is_on_the_class() -> None:
    from kombu.exceptions import OperationalError

    assert Task.OperationalError is OperationalError


def test_a_subclass_of_a_bound_task_has_requests_of_its_own(app: Celery) -> None:
    class Parent(app.Task):  # type: ignore[name-defined,misc]
        name = "parent"

    class Child(Parent):
        name = "child"

    parent, child = app.register_task(Parent()), app.register_task(Child())
    assert parent.request_stack is not child.request_stack


def test_what_replaces_apply_async_is_what_delay_calls(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.task(name="add")
    def add(x: int) -> int:
        return x

    seen: list[Any] = []
    monkeypatch.setattr(Task, "apply_async", lambda self, args=None, kwargs=None, **options: seen.append(args))
    add.delay(1)
    assert seen == [(1,)]


def test_apply_takes_the_tracer_that_stands_there_now(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    from celeriac.compat.app import trace

    @app.task(name="add")
    def add(x: int) -> int:
        return x

    names: list[str] = []
    original = trace.build_tracer

    def patched(name: str, *args: Any, **kwargs: Any) -> Any:
        names.append(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(trace, "build_tracer", patched)
    assert add.apply((5,)).get() == 5
    assert names == ["add"]


def test_arguments_of_each_of_many_are_checked(app: Celery) -> None:
    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add.starmap_async([(1, 2), (3,)])


def test_what_is_composed_is_sent_among_many(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    chain = canvas.chain(add.s(1, 1), add.s(2))
    sent = app.send_many([add.s(1, 2), chain, ("add", (3, 4))])
    assert len({result.id for result in sent}) == 3
    assert sent[1].parent is not None


def test_models_go_in_and_come_out_as_dicts(app: Celery) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        x: int

    def work(self: Any, m: Any, n: Any = None, *rest: Any, **named: Any) -> Any:
        assert isinstance(m, Model)
        return Model(x=m.x + (n.x if n else 0))

    work.__annotations__ = {"m": Model, "n": Model | None, "return": Model}
    task = app.task(name="model", pydantic=True, bind=True)(work)
    assert task.apply(({"x": 1},)).get() == {"x": 1}
    assert task.apply(({"x": 1}, {"x": 2})).get() == {"x": 3}
    assert task.apply(({"x": "no"},)).state == "FAILURE"
    sent: list[Any] = []
    app.send_task = lambda name, args=None, kwargs=None, **options: sent.append((args, kwargs))  # type: ignore[method-assign,assignment]
    task.apply_async((Model(x=1),), {"n": Model(x=2)})
    task.apply_async(args=({"x": 1},))
    task.apply_async((Model(x=1),), serializer="pickle")
    assert sent[:2] == [(({"x": 1},), {"n": {"x": 2}}), (({"x": 1},), None)]
    assert isinstance(sent[2][0][0], Model)


class _Header:
    """A chord's header in a store that cannot count."""

    id = "group"
    supports_native_join = False

    def __init__(self, ready: Any = True, values: Any = ()) -> None:
        self._ready, self._values = ready, values

    def ready(self) -> bool:
        if isinstance(self._ready, Exception):
            raise self._ready
        return bool(self._ready)

    def join(self, timeout: float, propagate: bool) -> Any:
        if isinstance(self._values, Exception):
            raise self._values
        return self._values

    def _failed_join_report(self) -> list[Any]:
        return []


class _Backend:
    thread_safe = True

    def __init__(self) -> None:
        self.errors: list[ChordError] = []

    def chord_error_from_stack(self, callback: Any, exc: Any) -> None:
        self.errors.append(exc)


class _Body(dict[str, Any]):
    def __init__(self, problem: Exception | None = None) -> None:
        self.problem, self.sent = problem, []

    def delay(self, values: Any) -> None:
        if self.problem:
            raise self.problem
        self.sent.append(values)


class _Look:
    """`celery.chord_unlock` in the middle of a run."""

    default_retry_delay = 1

    def __init__(self, app: Celery, retried: Exception) -> None:
        self.app, self.retried, self.wishes = app, retried, {}

    def retry(self, **wishes: Any) -> Any:
        self.wishes = wishes
        raise self.retried


def _unlock(app: Celery, header: _Header, body: _Body, retried: Exception, monkeypatch: pytest.MonkeyPatch) -> _Look:
    look = _Look(app, retried)
    app.backend = _Backend()
    app.__dict__["GroupResult"] = lambda *args, **kwargs: header
    monkeypatch.setattr(canvas, "maybe_signature", lambda callback, app=None: callback)
    unlock(look, "group", body, None, 5, [], "topic")
    return look


def test_a_header_that_is_done_sends_the_body(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    body = _Body()
    _unlock(app, _Header(values=[1, 2]), body, Retry(), monkeypatch)
    assert body.sent == [[1, 2]]
    assert app.backend.errors == []


def test_a_header_that_is_not_done_is_looked_at_again(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Retry):
        _unlock(app, _Header(ready=False), _Body(), Retry(), monkeypatch)
    assert app.backend.errors == []


@pytest.mark.parametrize(
    ("header", "body", "retried", "reason"),
    [
        (_Header(values=ValueError("x")), _Body(), Retry(), "ValueError('x')"),
        (_Header(values=[1]), _Body(KeyError("y")), Retry(), "Callback error: KeyError('y')"),
    ],
)
def test_a_body_that_cannot_be_sent_is_told(
    header: _Header, body: _Body, retried: Exception, reason: str, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unlock(app, header, body, retried, monkeypatch)
    (error,) = app.backend.errors
    assert (type(error), str(error)) == (ChordError, reason)
    assert error.__cause__ is not None


def test_a_chord_that_nobody_will_look_at_again_fails(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Reject(OSError("no broker"), requeue=False)
    with pytest.raises(Reject):
        _unlock(app, _Header(ready=LookupError("no store")), _Body(), refused, monkeypatch)
    (error,) = app.backend.errors
    assert "could not be retried: OSError('no broker')" in str(error)
    assert "after deps.ready() raised LookupError('no store')" in str(error)

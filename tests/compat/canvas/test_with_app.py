"""Canvases of a real app: what it looks up late, what its tasks check, what is kept of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.compat.app.base import Celery
from celeriac.compat.app.task import Task
from celeriac.compat.canvas import chain, chord, group

_count = itertools.count()


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery(f"canvas{next(_count)}", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture
def add(app: Celery) -> Any:
    @app.task(name="wire.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    return add


def test_a_replaced_apply_async_sees_every_task(add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    original = Task.apply_async

    def patched(self: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        seen.append(args)
        return original(self, args, kwargs, **options)

    monkeypatch.setattr(Task, "apply_async", patched)
    group(add.s(1, 1), add.s(2, 2)).apply_async()
    chain(add.s(3, 3), add.s(4)).apply_async()
    chord([add.s(5, 5)], add.s(1)).apply_async()
    assert seen[:4] == [(1, 1), (2, 2), (3, 3), (5, 5)]


def test_a_class_of_its_own_is_called(app: Celery, add: Any) -> None:
    seen: list[Any] = []

    class Own(Task):  # type: ignore[type-arg]
        def apply_async(self, *args: Any, **options: Any) -> Any:
            seen.append(options["task_id"])
            return super().apply_async(*args, **options)

    @app.task(name="wire.mul", base=Own, shared=False)
    def mul(x: int, y: int) -> int:
        return x * y

    result = group(add.s(1, 1), mul.s(2, 2)).apply_async()
    assert seen == [result.results[1].id]


def test_arguments_are_checked_as_they_are_sent(add: Any) -> None:
    for sig in (add.s(1, 2, 3), chain(add.s(1, 2, 3), add.s(1)), group(add.s(1)), chord([add.s()], add.s(1))):
        with pytest.raises(TypeError):
            sig.apply_async()


def test_every_part_belongs_to_the_app_of_its_tasks(app: Celery, add: Any) -> None:
    parts = (add.s(1, 2) | add.s(3), group(add.s(1, 2)), chord([add.s(1, 2)], add.s(3)), add.s(1).clone())
    for sig in parts:
        assert sig.app is app
        assert sig.clone().app is app
    longer = add.s(1, 2) | add.s(3) | group(add.s(1), add.s(2)) | add.s(1)
    assert longer.app is app
    assert longer.clone().tasks[0].type is app.tasks["wire.add"]


def test_results_and_children(app: Celery, add: Any) -> None:
    result = (add.s(1, 2) | add.s(3)).apply_async()
    assert type(result).__name__ == "AsyncResult"
    assert result.app is app
    assert result.parent.parent is None
    grouped = group(add.s(1, 2), add.s(3, 4)).apply_async()
    assert type(grouped).__name__ == "GroupResult"
    assert len(grouped) == 2


def test_always_eager(app: Celery, add: Any) -> None:
    app.conf.task_always_eager = True
    assert (add.s(1, 2) | add.s(3))().get() == 6
    assert group(add.s(1, 2), add.s(3, 4))().get() == [3, 7]
    assert ~add.s(1, 2) == 3


def test_children_of_a_running_task(app: Celery, add: Any) -> None:
    sent: list[Any] = []

    @app.task(name="wire.sender", shared=False, bind=True)
    def sender(self: Any) -> list[Any]:
        sent[:] = [
            (add.s(1, 2) | add.s(3)).apply_async().parent,
            group(add.s(1, 2), add.s(3, 4)).apply_async(),
            chord([add.s(1, 2)], add.si(3, 4)).apply_async().parent,
            add.s(1, 2).apply_async(),
        ]
        return [child.id for child in self.request.children]

    from celeriac.compat import _state

    sender.push_request(id="me", children=[], called_directly=False)
    _state._task_stack.push(sender)
    try:
        assert sender.run() == [result.id for result in sent]
    finally:
        _state._task_stack.pop()
        sender.pop_request()

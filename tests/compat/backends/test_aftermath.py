"""What follows when a backend is told that a task failed: errbacks, each once, and chains."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat import states
from celeriac.compat.app.base import Celery
from celeriac.compat.backends.aftermath import call_errbacks, context
from celeriac.compat.canvas import group
from celeriac.compat.exceptions import NotRegistered


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("aftermath", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture
def sent(app: Celery, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The names of the errbacks that went as messages, with what they were given."""
    seen: list[tuple[Any, ...]] = []

    def send(name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        seen.append((name, tuple(args), options["parent_id"], options["root_id"]))
        return app.AsyncResult(options["task_id"])

    def record(made: Any, args: Any, **options: Any) -> None:
        seen.extend((task["task"], tuple(args), options["parent_id"], options["root_id"]) for task in made.tasks)

    monkeypatch.setattr(app, "send_task", send)
    monkeypatch.setattr(group, "apply_async", record)
    return seen


def failed(*errbacks: Any) -> Any:
    return context({"id": "me", "root_id": "root", "errbacks": list(errbacks), "delivery_info": {}, "task": "t"})


def test_an_errback_of_the_new_style_is_called_here_and_once(app: Celery, sent: list[Any]) -> None:
    told: list[Any] = []

    @app.task(shared=False)
    def hear(request: Any, exc: Any, traceback: Any) -> None:
        told.append((request.id, str(exc), traceback))

    call_errbacks(app.backend, failed(hear.s()), ValueError("why"), "Traceback")
    assert told == [("me", "why", "Traceback")]
    assert sent == []


def test_one_that_asks_for_an_unknown_task_is_not_sent_as_well(
    app: Celery, sent: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It was registered, and it was called: what it raises is its own affair."""
    told: list[Any] = []

    @app.task(shared=False)
    def hear(request: Any, exc: Any, traceback: Any) -> None:
        told.append(request.id)
        raise NotRegistered("something else")

    @app.task(shared=False)
    def next_one(request: Any, exc: Any, traceback: Any) -> None:
        told.append("next")

    call_errbacks(app.backend, failed(hear.s(), next_one.s()), ValueError("why"), None)
    assert told == ["me", "next"]
    assert sent == []
    assert "aftermath" in caplog.text
    assert "raised an exception" in caplog.text


def test_others_are_sent_once_with_the_id_of_what_failed(app: Celery, sent: list[Any]) -> None:
    @app.task(shared=False)
    def old(task_id: str) -> None:
        raise AssertionError("it is sent, not called")

    call_errbacks(app.backend, failed(old.s(), app.signature("elsewhere")), ValueError("why"), None)
    assert sent == [(old.name, ("me",), "me", "root"), ("elsewhere", ("me",), "me", "root")]


def test_a_bound_errback_takes_the_id(app: Celery, sent: list[Any]) -> None:
    @app.task(bind=True, shared=False)
    def old(self: Any, task_id: str) -> None: ...

    call_errbacks(app.backend, failed(old.s()), ValueError("why"), None)
    assert [name for name, *_ in sent] == [old.name]


def test_the_rest_of_a_chain_fails_with_it(app: Celery) -> None:
    steps = [app.signature("late", task_id="late"), app.signature("soon", task_id="soon")]
    app.backend.mark_as_failure("first", ValueError("why"), request=context({"id": "first", "chain": steps}))
    assert [app.backend.get_state(task_id) for task_id in ("first", "soon", "late")] == [states.FAILURE] * 3


def test_a_request_without_errbacks_is_quiet(app: Celery, sent: list[Any]) -> None:
    call_errbacks(app.backend, SimpleNamespace(id="me", errbacks=[]), ValueError(), None)
    assert sent == []

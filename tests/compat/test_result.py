"""Results as a program sees them: asking, waiting, promises, trees, sets, and what has run here."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.compat import exceptions, states
from celeriac.compat.app.base import Celery
from celeriac.compat.result import (
    AsyncResult,
    EagerResult,
    GroupResult,
    ResultSet,
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    result_from_tuple,
)


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("x", broker="memory://", backend=f"memory://{uuid.uuid4()}", set_as_current=False)
    yield app
    gc.collect()


def later(do: Any, seconds: float = 0.05) -> None:
    threading.Timer(seconds, do).start()


def of(app: Celery, *ids: str) -> list[AsyncResult[Any]]:
    return [AsyncResult(each, app=app) for each in ids]


# --- one result


def test_a_result_needs_an_id(app: Celery) -> None:
    with pytest.raises(ValueError, match="AsyncResult requires valid id"):
        AsyncResult(None, app=app)  # type: ignore[arg-type]


def test_asking(app: Celery) -> None:
    result = AsyncResult("t", app=app)
    assert (result.state, result.result, result.ready(), result.exists()) == (states.PENDING, None, False, False)
    app.backend.store_result("t", {"done": 1}, "PROGRESS")
    assert (result.status, result.info, result.exists()) == ("PROGRESS", {"done": 1}, True)
    app.backend.mark_as_done("t", 3)
    assert (result.successful(), result.failed(), result.result, result.task_id) == (True, False, 3, "t")
    assert result.date_done is not None
    assert result.date_done.tzinfo is not None
    result.forget()
    assert AsyncResult("t", app=app).state == states.PENDING


def test_get_returns_or_raises(app: Celery) -> None:
    later(lambda: app.backend.mark_as_done("t", [1]))
    assert AsyncResult("t", app=app).get(timeout=5) == [1]
    app.backend.mark_as_failure("f", KeyError("x"), "Traceback")
    failed = AsyncResult("f", app=app)
    with pytest.raises(KeyError, match="x"):
        failed.get(timeout=5)
    assert isinstance(failed.get(propagate=False), KeyError)
    assert failed.traceback == "Traceback"
    seen: list[Any] = []
    assert isinstance(AsyncResult("f", app=app).get(propagate=False, callback=lambda *a: seen.append(a)), KeyError)
    assert seen[0][0] == "f"
    with pytest.raises(exceptions.TimeoutError, match="timed out"):
        AsyncResult("none", app=app).get(timeout=0.02)
    with pytest.raises(exceptions.TimeoutError):
        AsyncResult("none", app=app).get(timeout=0)
    assert AsyncResult("none", app=app).TimeoutError is exceptions.TimeoutError


def test_get_of_what_is_ignored_does_not_wait(app: Celery) -> None:
    result = AsyncResult("t", app=app)
    result.ignored = True
    assert result.get() is None
    assert asyncio.run(result.aget()) is None


def test_a_failed_parent_is_raised(app: Celery) -> None:
    parent = AsyncResult("p", app=app)
    child = AsyncResult("c", app=app, parent=parent)
    later(lambda: app.backend.mark_as_failure("p", ValueError("up")))
    with pytest.raises(ValueError, match="up"):
        child.get(timeout=5, interval=0.02)
    with pytest.raises(ValueError, match="up"):
        asyncio.run(AsyncResult("c", app=app, parent=AsyncResult("p", app=app)).aget(timeout=5))
    with pytest.raises(exceptions.TimeoutError):
        child.get(timeout=0.02, follow_parents=False)


@pytest.mark.parametrize("way", ["get", "aget"])
def test_a_failure_that_came_of_a_parent_is_the_parents(app: Celery, way: str) -> None:
    """The body of a chord fails with a ChordError, and says less than its header."""

    def fail() -> None:
        app.backend.mark_as_done("a", 1)
        app.backend.mark_as_failure("b", KeyError("why"))
        app.backend.mark_as_failure("body", exceptions.ChordError("Dependency b raised KeyError('why')"))

    for ids in ({"follow_parents": True}, {"follow_parents": False}):
        for each in ("a", "b", "body"):
            app.backend.forget(each)
        later(fail)
        body = AsyncResult("body", app=app, parent=GroupResult("g", of(app, "a", "b"), app=app))
        raised = KeyError if ids["follow_parents"] else exceptions.ChordError
        with pytest.raises(raised):
            body.get(timeout=5, **ids) if way == "get" else asyncio.run(body.aget(timeout=5, **ids))
    told: list[Any] = []
    for each in ("a", "b"):
        app.backend.forget(each)
    app.backend.mark_as_done("late", 7)
    late = AsyncResult("late", app=app, parent=GroupResult("g", of(app, "a", "b"), app=app))
    assert late.get(timeout=5, callback=lambda *said: told.append(said)) == 7
    assert told == [("late", 7)]


def test_on_interval_and_on_message(app: Celery) -> None:
    calls: list[int] = []
    with pytest.raises(exceptions.TimeoutError):
        AsyncResult("t", app=app).get(timeout=0.2, interval=0.02, on_interval=lambda: calls.append(1))
    assert len(calls) >= 3

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        AsyncResult("t", app=app).get(timeout=5, interval=0.02, on_interval=stop)
    metas: list[Any] = []
    app.backend.store_result("t", {"n": 1}, "PROGRESS")
    later(lambda: app.backend.mark_as_done("t", 2), 0.2)
    assert AsyncResult("t", app=app).get(timeout=5, on_message=metas.append) == 2
    assert [meta["status"] for meta in metas] == ["PROGRESS", "SUCCESS"]


def test_nobody_waits_within_a_task(app: Celery) -> None:
    app.backend.mark_as_done("t", 1)
    with denied_join_result():
        with pytest.raises(RuntimeError, match=r"Never call result\.get"):
            AsyncResult("t", app=app).get()
        with pytest.raises(RuntimeError):
            ResultSet(of(app, "t"), app=app).get()
        with pytest.raises(RuntimeError):
            EagerResult("t", 1, states.SUCCESS).get()
        assert AsyncResult("t", app=app).get(disable_sync_subtasks=False) == 1
        assert asyncio.run(AsyncResult("t", app=app).aget()) == 1
        with allow_join_result():
            assert_will_not_block()
            assert AsyncResult("t", app=app).get() == 1
    assert_will_not_block()


def test_then_is_called_by_whoever_waits(app: Celery) -> None:
    got: list[Any] = []
    first = AsyncResult("a", app=app)
    first.then(lambda result: got.append(result.result))
    app.backend.mark_as_done("a", 1)
    app.backend.mark_as_done("b", 2)
    AsyncResult("b", app=app).get(timeout=5)
    assert got == [1]
    first.then(lambda result: got.append("at once"))
    assert got == [1, "at once"]
    lost = AsyncResult("c", app=app)
    lost.then(got.append, weak=True)
    del lost
    gc.collect()
    assert not list(app.backend._pending_results.weak)


def test_after_a_failure_a_promise_knows_it(app: Celery) -> None:
    app.backend.mark_as_failure("f", KeyError("x"))
    result = AsyncResult("f", app=app)
    with pytest.raises(KeyError):
        result.get(timeout=1)
    assert result.on_ready.failed
    assert isinstance(result.on_ready.reason, KeyError)


def test_remote_tracebacks(app: Celery) -> None:
    app.conf.task_remote_tracebacks = True
    text = 'Traceback (most recent call last):\n  File "far.py", line 7, in there\n    1 / 0\nZeroDivisionError: x'
    app.backend.mark_as_failure("f", ZeroDivisionError("x"), text)
    with pytest.raises(ZeroDivisionError) as caught:
        AsyncResult("f", app=app).get(timeout=1)
    shown = str(caught.value.__cause__) if caught.value.__cause__ else str(caught.getrepr())
    assert "far.py" in shown


def test_revoke_goes_through_control(app: Celery) -> None:
    told: list[Any] = []

    class Control:
        def revoke(self, *args: Any, **kwargs: Any) -> None:
            told.append((args, kwargs))

        def revoke_by_stamped_headers(self, *args: Any, **kwargs: Any) -> None:
            told.append((args, kwargs))

    app.control = Control()  # type: ignore[misc, assignment]
    AsyncResult("t", app=app).revoke(terminate=True, signal="KILL", wait=True, timeout=1)
    known = {"connection": None, "terminate": True, "signal": "KILL", "reply": True, "timeout": 1}
    assert told.pop() == (("t",), known)
    AsyncResult("t", app=app).revoke_by_stamped_headers({"a": "b"})
    assert told.pop()[0] == ({"a": "b"},)
    ResultSet(of(app, "a", "b"), app=app).revoke()
    assert told.pop()[0] == (["a", "b"],)


def test_as_a_value(app: Celery) -> None:
    one, parent = AsyncResult("t", app=app, parent=AsyncResult("p", app=app)), AsyncResult("p", app=app)
    assert one == AsyncResult("t", app=app)
    assert one == "t"
    assert one != parent
    assert one != 3
    assert {one: 1}["t"] == 1  # type: ignore[index]
    assert (str(one), repr(one)) == ("t", "<AsyncResult: t>")
    assert one.as_tuple() == (("t", (("p", None), None)), None)
    assert one.as_list() == ["t", "p"]
    assert copy.copy(one).parent is one.parent
    assert isinstance(one, AsyncResult[int].__origin__)  # type: ignore[attr-defined]
    assert result_from_tuple(one.as_tuple(), app).parent.id == "p"
    assert result_from_tuple(("t", None), app).id == "t"
    assert result_from_tuple(one, app) is one
    one.task_id = "u"
    assert one.id == "u"


def test_trees(app: Celery) -> None:
    class Request:
        id = "p"
        group = parent_id = chord = None
        ignore_result = False
        children = of(app, "a", "b")

    app.backend.mark_as_done("p", "up", request=Request)
    app.backend.mark_as_done("a", 1)
    with pytest.raises(exceptions.IncompleteStream):
        list(AsyncResult("p", app=app).iterdeps())
    assert [node.id for _, node in AsyncResult("p", app=app).iterdeps(intermediate=True)] == ["p", "a", "b"]
    app.backend.mark_as_done("b", 2)
    assert [(result.id, value) for result, value in AsyncResult("p", app=app).collect()] == [
        ("p", "up"),
        ("a", 1),
        ("b", 2),
    ]
    assert AsyncResult("p", app=app).get_leaf() == 2
    assert AsyncResult("p", app=app).children == of(app, "a", "b")


# --- sets and groups


def test_a_set_is_a_list_without_repetition(app: Celery) -> None:
    a, b, c = of(app, "a", "b", "c")
    several = ResultSet([a], app=app)
    several.add(b)
    several.add(AsyncResult("a", app=app))
    several.update([b, c])
    assert list(several) == [a, b, c]
    assert (len(several), several[1]) == (3, b)
    several.remove("c")
    with pytest.raises(KeyError):
        several.remove("c")
    several.discard("c")
    several.discard(a)
    assert several == ResultSet([b], app=app)
    assert several != [b]
    kept = several.results
    several.clear()
    assert kept == []
    assert several.supports_native_join is None


def test_a_set_in_all_states(app: Celery) -> None:
    several = ResultSet(of(app, "a", "b"), app=app)
    assert (several.ready(), several.waiting(), several.completed_count()) == (False, True, 0)
    app.backend.mark_as_done("a", 1)
    later(lambda: app.backend.mark_as_done("b", 2))
    assert several.get(timeout=5) == [1, 2]
    assert several.join(timeout=5) == [1, 2]
    got: list[Any] = []
    assert several.join(callback=lambda *pair: got.append(pair)) == []
    assert several.join_native(callback=lambda *pair: got.append(pair)) is None
    assert sorted(got) == [("a", 1), ("a", 1), ("b", 2), ("b", 2)]
    assert (several.successful(), several.failed(), several.completed_count()) == (True, False, 2)
    app.backend.mark_as_failure("c", ValueError("no"))
    several.add(AsyncResult("c", app=app))
    for wait in (several.get, several.join, several.maybe_throw):
        with pytest.raises(ValueError, match="no"):
            wait()
    assert isinstance(several.get(propagate=False)[2], ValueError)
    with pytest.raises(exceptions.TimeoutError):
        ResultSet(of(app, "a", "z"), app=app).get(timeout=0.05)
    with pytest.raises(exceptions.ImproperlyConfigured):
        several.join(on_message=print)
    several.forget()
    assert AsyncResult("a", app=app).state == states.PENDING


def test_a_set_is_a_promise(app: Celery) -> None:
    got: list[Any] = []
    several = ResultSet(of(app, "a", "b"), app=app)
    several.then(lambda result: got.append(len(result)))
    app.backend.mark_as_done("a", 1)
    app.backend.mark_as_done("b", 1)
    several.get(timeout=5)
    assert got == [2]
    several.add(AsyncResult("c", app=app))
    several.then(lambda result: got.append("again"))
    app.backend.mark_as_done("c", 1)
    several.get(timeout=5)
    assert got == [2, "again"]


def test_a_group_is_saved_and_restored(app: Celery) -> None:
    inner = GroupResult("in", of(app, "b", "c"), app=app)
    group = GroupResult("g", [AsyncResult("a", app=app), inner], app=app, parent=AsyncResult("p", app=app))
    group.save()
    found = GroupResult.restore("g", app=app)
    assert found == group
    assert found == "g"
    assert found.parent.id == "p"
    assert isinstance(found[1], GroupResult)
    assert (str(group), repr(group), hash(group)) == ("g", "<GroupResult: g [a, in]>", hash("g"))
    assert group.children is group.results
    assert group
    for each, value in zip("abc", (1, 2, 3), strict=True):
        app.backend.mark_as_done(each, value)
    assert sorted(map(str, found.get(timeout=5))) == ["1", "[2, 3]"]
    group.delete()
    assert GroupResult.restore("g", app=app) is None
    assert not GroupResult(None, [], app=app)


def test_members_may_be_eager(app: Celery) -> None:
    app.backend.mark_as_done("a", 1)
    group = GroupResult("g", [AsyncResult("a", app=app), EagerResult("e", 2, states.SUCCESS)], app=app)
    assert group.get(timeout=5) == [1, 2]


def test_coroutines_take_results_as_they_come(app: Celery) -> None:
    async def main() -> list[str]:
        several = ResultSet(of(app, "a", "b", "c"), app=app)
        later(lambda: app.backend.mark_as_done("c", 1), 0.05)
        later(lambda: app.backend.mark_as_done("a", 1), 0.25)
        later(lambda: app.backend.mark_as_failure("b", KeyError()), 0.45)
        ids = [result.id async for result in several]
        with pytest.raises(KeyError):
            await several.aget(timeout=5)
        with pytest.raises(exceptions.TimeoutError):
            await AsyncResult("none", app=app).aget(timeout=0.05)
        return ids

    assert asyncio.run(main()) == ["c", "a", "b"]


# --- what has run here


def test_eager_results() -> None:
    done = EagerResult("t", 3, states.SUCCESS, name="tasks.add")
    assert (done.get(), done.wait(), done.result, done.state, done.name) == (3, 3, 3, "SUCCESS", "tasks.add")
    assert done.ready()
    assert done.successful()
    assert repr(done) == "<EagerResult: t>"
    assert pickle.loads(pickle.dumps(done)).get() == 3
    assert copy.copy(done).get() == 3
    assert not done.supports_native_join
    assert done.children is None
    done.forget()
    got: list[Any] = []
    done.then(got.append)
    assert got == [done]
    assert asyncio.run(done.aget()) == 3
    failed = EagerResult("t", KeyError("x"), states.FAILURE, traceback="Traceback")
    with pytest.raises(KeyError):
        failed.get()
    assert isinstance(failed.get(propagate=False), KeyError)
    assert failed.traceback == "Traceback"
    with pytest.raises(KeyError):
        failed.maybe_throw()
    assert EagerResult("t", "later", states.RETRY).get() is None
    with pytest.raises(Exception, match="text"):
        EagerResult("t", "text", states.FAILURE).get()
    done.revoke()
    with pytest.raises(exceptions.TaskRevokedError):
        done.get()

"""The short way and the long way send the same; what may make a difference makes the long way be taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.compat import signals
from celeriac.compat.app.base import Celery
from celeriac.compat.app.sending import send_calls
from celeriac.protocol.rules.calling import Call
from celeriac.worker.brokers import memory

# A task's own queue and priority are deprecated, and work.
pytestmark = pytest.mark.filterwarnings("ignore:The '.*' task attribute")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d")


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    made = Celery("short", broker="memory://shortcuts", set_as_current=False, fixups=[])

    @made.task(name="short.add", typing=False)
    def add(*_args: Any, **_kwargs: Any) -> None:
        """Nothing."""

    @made.task(
        name="short.set", queue="other", priority=3, ignore_result=True, time_limit=9, typing=False, shared=False
    )
    def with_options(*_args: Any, **_kwargs: Any) -> None:
        """Nothing."""

    made.finalize()
    yield made
    made.close()


def taken(app: Any) -> list[Any]:
    """What lies in the broker, which is empty then."""
    store = memory.store_named("shortcuts")
    found = []
    for name in list(store.lines):
        line = store.lines[name]
        while (waiting := line.next()) is not None:
            found.append((name, waiting.message, waiting.exchange, waiting.routing_key))
    return found


def told(found: list[Any]) -> str:
    return TIME.sub("TIME", repr(found))


def hear(**_kwargs: Any) -> None:
    """Somebody listens: the long way."""


values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False) | st.binary()
options = st.fixed_dictionaries(
    {"task_id": st.just("the-id")},
    optional={
        "countdown": st.integers(0, 9),
        "queue": st.sampled_from(["celery", "third"]),
        "priority": st.none() | st.integers(0, 9),
        "serializer": st.sampled_from(["json", "pickle", None]),
        "compression": st.sampled_from(["zlib", None]),
        "ignore_result": st.none() | st.booleans(),
        "time_limit": st.none() | st.integers(1, 9),
        "soft_time_limit": st.integers(1, 9),
        "group_id": st.text(max_size=3),
        "group_index": st.integers(0, 3),
        "root_id": st.text(max_size=3),
        "parent_id": st.text(max_size=3),
        "shadow": st.text(max_size=3),
        "retries": st.integers(0, 3),
        "delivery_mode": st.sampled_from([1, 2, None, "transient"]),
        "reply_to": st.text(max_size=3),
        "link": st.none(),
        "routing_key": st.sampled_from(["x", None]),
        "expires": st.none(),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.sampled_from(["short.add", "short.set"]),
    st.lists(values, max_size=3),
    st.dictionaries(st.text(max_size=3), values, max_size=2),
    options,
)
def test_both_ways_send_the_same(
    app: Any, name: str, args: list[Any], kwargs: dict[str, Any], given_options: dict[str, Any]
) -> None:
    task = app.tasks[name]
    short = task.apply_async(args, kwargs, **given_options)
    by_short = told(taken(app))
    assert list(send_calls(app, [Call(name, args, kwargs, given_options)])) == [short.id]
    in_bulk = told(taken(app))
    signals.after_task_publish.connect(hear)
    try:
        long = task.apply_async(args, kwargs, **given_options)
    finally:
        signals.after_task_publish.disconnect(hear)
    assert (by_short, short.id, short.ignored) == (told(taken(app)), long.id, long.ignored)
    assert in_bulk == by_short


def is_short(app: Any, **given_options: Any) -> bool:
    task = app.tasks["short.add"]
    found = app.amqp.shortcuts.way(task, (), {}, given_options, None) is not None
    return bool(found)


def test_plain_calls_are_short(app: Any) -> None:
    assert is_short(app)
    assert is_short(app, queue="x", countdown=3, task_id="a", priority=3)


@pytest.mark.parametrize(
    "given_options",
    [{"link": []}, {"headers": {}}, {"x": 1}, {"expires": 3}, {"queue": object()}, {"stamped_headers": ["a"]}],
)
def test_others_are_not(app: Any, given_options: dict[str, Any]) -> None:
    assert not is_short(app, **given_options)


@pytest.mark.parametrize(
    ("name", "value"), [("task_protocol", 1), ("task_always_eager", True), ("task_send_sent_event", True)]
)
def test_a_setting_that_changes_is_seen(app: Any, name: str, value: Any) -> None:
    before = app.conf[name]
    assert is_short(app)
    setattr(app.conf, name, value)
    try:
        assert not is_short(app)
    finally:
        setattr(app.conf, name, before)
    assert is_short(app)


def test_what_is_replaced_is_used(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    original = Celery.send_task

    def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return original(self, *args, **kwargs)

    app.tasks["short.add"].delay(1)
    with monkeypatch.context() as patch:
        patch.setattr(Celery, "send_task", patched)
        app.tasks["short.add"].delay(1)
    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", lambda *args, **_kwargs: calls.append("instance"))
        app.tasks["short.add"].delay(1)
    app.tasks["short.add"].delay(1)
    assert calls == ["short.add", "instance"]
    assert len(taken(app)) == 3


def test_a_receiver_hears_of_the_next_call(app: Any) -> None:
    heard: list[str] = []

    def note(sender: Any = None, **_kwargs: Any) -> None:
        heard.append(sender)

    app.tasks["short.add"].delay(1)
    signals.before_task_publish.connect(note)
    app.tasks["short.add"].delay(1)
    signals.before_task_publish.disconnect(note)
    app.tasks["short.add"].delay(1)
    assert (heard, len(taken(app))) == (["short.add"], 3)


def test_a_queue_that_is_added_later_is_used(app: Any) -> None:
    from kombu import Exchange, Queue

    task = app.tasks["short.add"]
    task.apply_async(queue="later")
    app.amqp.queues.add(Queue("elsewhere", Exchange("elsewhere"), alias="later", routing_key="elsewhere"))
    task.apply_async(queue="later")
    assert [where for where, *_ in taken(app)] == ["later", "elsewhere"]


def test_many_are_sent_in_order(app: Any) -> None:
    calls = [Call("short.add", (n,), {}, {"shadow": "odd"} if n % 2 else {}) for n in range(1100)]
    calls.insert(700, Call("nobody.knows", ("x",)))
    ids = list(send_calls(app, iter(calls)))
    found = taken(app)
    assert [message.headers["id"] for _, message, *_ in found] == ids
    assert len(ids) == 1101

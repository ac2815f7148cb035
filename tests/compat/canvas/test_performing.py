"""Steps of the rules performed: in order, in bulk, with a word to the store; what a running task sent is its child."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat import canvas
from celeriac.compat.canvas import chain, chord, group, performing
from celeriac.protocol.rules.calling import Call, Parent
from celeriac.protocol.rules.freezing import Node
from celeriac.protocol.rules.publishing import SaveGroup, SetChordSize
from tests.compat.canvas.stand import App, Result, Task


@pytest.fixture
def add(app: App) -> Any:
    return app.tasks["wire.add"].s


class Running:
    """A task in whose course things are sent."""

    def __init__(self, **request: Any) -> None:
        told = {"id": "me", "root_id": None, "delivery_info": {"priority": 4}}
        self.request = SimpleNamespace(**{**told, **request})
        self.trail: list[str] = []

    def add_trail(self, result: Any) -> Any:
        self.trail.append(result.id)
        return result


def test_facts(app: App) -> None:
    app.current_worker_task = Running(root_id="root")
    app.conf.update(task_inherit_parent_priority=True, task_protocol=1)
    facts = performing.facts(app)
    assert (facts.reply_to, facts.protocol, facts.chords) == (app.thread_oid, 1, "native")
    assert facts.parent == Parent("me", "root", 4)
    assert (facts.inherit_priority, facts.errback_on_header) == (True, False)


@pytest.mark.parametrize("kind", ["native", "saved", "polled", "refused"])
def test_how_a_store_completes_chords(kind: str) -> None:
    assert performing.chords(App(chords=kind).backend) == kind


def test_a_backend_that_is_no_store() -> None:
    assert performing.chords(SimpleNamespace(ensure_chords_allowed=lambda: None)) == "polled"


def test_what_is_sent_belongs_to_the_task_that_runs(app: App, add: Any) -> None:
    app.current_worker_task = Running()
    app.conf["task_inherit_parent_priority"] = True
    (add(1) | add(2)).apply_async()
    (call,) = app.steps
    assert {key: call.options[key] for key in ("parent_id", "root_id", "priority")} == {
        "parent_id": "me", "root_id": "me", "priority": 4,
    }  # fmt: skip


def test_children_of_the_task_that_runs(app: App, add: Any) -> None:
    task = app.current_worker_task = Running()

    result = (add(1) | add(2) | add(3)).apply_async()
    assert task.trail == [result.parent.parent.id]
    task.trail.clear()
    result = group(add(1), add(2)).apply_async()
    assert task.trail == [result.id]
    task.trail.clear()
    result = chord([add(1)], add()).apply_async()
    assert task.trail == [result.parent.id]
    task.trail.clear()
    result = (chord([add(1)], add()) | (add(1) | add(2))).apply_async()
    assert task.trail == [result.parent.parent.parent.id]
    task.trail.clear()
    result = chord([], add()).apply_async()
    assert task.trail == [result.id]
    task.trail.clear()
    group(add(1)).apply_async(add_to_parent=False)
    assert task.trail == []


def test_a_group_of_one_chain_that_ends_in_a_group(app: App, add: Any) -> None:
    task = app.current_worker_task = Running()
    result = group([add(1) | group(add(2), add(3))]).apply_async()
    assert len(result.results) == 2
    assert task.trail == [result.id]


def test_results_of_tasks_that_make_their_own(app: App, add: Any) -> None:
    class Mine(Result):
        pass

    class Own(Task):
        def AsyncResult(self, task_id: str) -> Mine:
            return Mine(task_id, name=self.name)

    app.tasks["wire.echo"] = Own(app, "wire.echo")
    echo = app.tasks["wire.echo"].s
    assert isinstance((add(1) | echo()).apply_async(), Mine)
    assert isinstance((echo() | add(1)).apply_async().parent, Mine)
    assert [type(result) for result in group(add(1), echo()).apply_async().results] == [Result, Mine]
    assert isinstance(chord([echo()], echo()).apply_async(), Mine)
    assert isinstance(chord([add(1)], echo() | add(1)).freeze().parent, Mine)
    assert isinstance((add(1) | chord([add(1)], group(add(2), echo()))).apply_async().results[1], Mine)


def test_steps_of_one_promise_or_none(app: App) -> None:
    def one() -> Any:
        yield Call("wire.add", (1,), {}, {"task_id": "i"})
        return Node("i")

    def none() -> Any:
        yield from ()

    assert performing.perform(app, one()).id == "i"
    assert performing.perform(app, none()) is None


def test_a_word_to_the_store(app: App) -> None:
    tree = (("g", None), [(("a", None), None)])
    for step in (SetChordSize("g", 3), SaveGroup("g", tree)):
        performing.tell_store(app, step)
    saved = ["save", "g", {"result": [["g", None], [[["a", None], None]]]}]
    assert app.steps == [["size", "g", 3], saved]
    counting = App(chords="saved")
    performing.tell_store(counting, SaveGroup("g", tree))
    assert counting.steps == [saved, ["size", "g", 1]]
    with pytest.raises(TypeError, match="no such step"):
        performing.tell_store(app, "nonsense")


def test_a_backend_of_somebody_else() -> None:
    heard: list[Any] = []
    backend = SimpleNamespace(
        set_chord_size=lambda *a: heard.append(a),
        save_group=lambda group_id, result: heard.append((group_id, result)),
    )
    app = SimpleNamespace(backend=backend)
    performing.tell_store(app, SetChordSize("g", 3))
    assert heard == [("g", 3)]


def test_a_chord_in_a_counting_store(add: Any) -> None:
    app = App(chords="saved")
    sig = chord([app.tasks["wire.add"].s(1), app.tasks["wire.add"].s(2)], app.tasks["wire.mul"].s())
    result = sig.apply_async()
    assert app.steps[0][:2] == ["save", result.parent.id]
    assert app.steps[1] == ["size", result.parent.id, 2]
    assert [step.name for step in app.steps[2:]] == ["wire.add", "wire.add"]


@pytest.mark.parametrize(("options", "queue", "priority"), [({}, "celery", None), ({"queue": "q"}, "q", None)])
def test_where_the_polling_task_goes(add: Any, options: dict[str, Any], queue: str, priority: Any) -> None:
    polled = App(chords="polled")
    sig = chord([polled.tasks["wire.add"].s(1)], polled.tasks["wire.mul"].s().set(**options))
    sig.apply_async()
    unlock = polled.steps[0]
    assert unlock.name == "celery.chord_unlock"
    assert (unlock.options["queue"], unlock.options["priority"]) == (queue, priority)
    assert unlock.options["countdown"] == 1
    assert unlock.kwargs["_chord_unlock_exchange_type"] == "direct"


NESTED: dict[str, Any] = {
    "body": lambda add, sig: chord([add(1), add(2)], sig),
    "chain in the body": lambda add, sig: chord([add(1)], chain(add(2), sig)),
    "header, body a chain": lambda add, sig: chord([sig], chain(add(1), add(2))),
    "header, body a group": lambda add, sig: chord([sig, add(1)], group(add(2), add(3))),
    "header, body a chord": lambda add, sig: chord([sig], chord([add(1)], add(2))),
    "header, body a chain to a group": lambda add, sig: chord([sig], chain(add(1), group(add(2), add(3)))),
    "header, body a chain to a chord": lambda add, sig: chord([sig], chain(add(1), chord([add(2)], add(3)))),
    "groups that follow groups": lambda add, sig: group(sig, add(1)) | group(add(2), add(3)),
}


@pytest.mark.parametrize("shape", NESTED)
def test_messages_of_deep_chords_are_linear(app: App, add: Any, shape: str) -> None:
    def nested(depth: int) -> int:
        app.steps.clear()
        sig = add(0)
        for _ in range(depth):
            sig = NESTED[shape](add, sig)
        sig.apply_async()
        return max(len(repr(step)) for step in app.steps)

    small, big = nested(3), nested(12)
    assert big < small * 5


def test_a_vast_group_costs_no_memory_of_its_own(app: App, add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from celeriac.compat.app import sending

    waiting: list[int] = []

    def send_calls(_app: Any, calls: Any, _producer: Any = None) -> Any:
        waiting.append(len(calls))
        return iter(())

    made = 0

    def tasks() -> Any:
        nonlocal made
        for number in range(20_000):
            made += 1
            assert made - sum(waiting) <= 2_002
            yield add(number)

    with monkeypatch.context() as patch:
        patch.setattr(sending, "send_calls", send_calls)
        canvas.group(tasks()).apply_async()
    assert sum(waiting) == 20_000


def test_nesting_ends_where_python_does_and_says_so(app: App, add: Any) -> None:
    canvas = add(1)
    for _ in range(60):
        canvas = chord([canvas, add(1)], add())
    canvas.apply_async()
    # One header task a level, and the innermost two.
    assert len([step for step in app.steps if isinstance(step, Call)]) == 61
    before, here = sys.getrecursionlimit(), len(inspect.stack(0))
    sys.setrecursionlimit(here + 200)
    try:
        with pytest.raises(RecursionError, match="nested deeper than Python can recurse"):
            canvas.apply_async()
    finally:
        sys.setrecursionlimit(before)

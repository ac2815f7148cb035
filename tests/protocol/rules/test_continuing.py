"""What follows the end of a task: each thing in its order, with the right parent, root and chord."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.rules import continuing
from celeriac.protocol.rules.calling import Call, Parent
from celeriac.protocol.rules.canvas import chain, chord, group, raw_chain
from celeriac.protocol.rules.continuing import LostBody, Running
from celeriac.protocol.rules.freezing import frozen
from celeriac.protocol.rules.publishing import Facts, publish
from celeriac.protocol.rules.signature import Signature, immutable, signature
from tests.protocol.shell import numbered

FACTS = Facts("reply", parent=Parent("me", "root", 5))


def s(name: str = "a", *args: Any, **options: Any) -> Signature:
    return signature(name, args, options=options)


def calls(steps: Iterable[Any]) -> list[Call]:
    return [step for step in steps if isinstance(step, Call)]


def succeeded(callbacks: Any, rest: Any, facts: Facts = FACTS) -> list[Call]:
    return calls(continuing.succeeded(7, callbacks, rest, ids=numbered(), facts=facts))


def test_one_callback_goes_alone_and_several_as_a_group() -> None:
    (call,) = succeeded([s("cb", 1)], None)
    assert call.args == (7, 1)
    assert (call.options["parent_id"], call.options["root_id"]) == ("me", "root")
    assert "group_id" not in call.options
    found = succeeded([s("a"), group(s("b"), s("c")), immutable(s("d"))], None)
    assert [call.name for call in found] == ["b", "c", "a", "d"]
    assert [call.options["group_index"] for call in found] == [0, 1, 0, 1]
    assert found[3].args == ()
    assert [call.name for call in succeeded([group(s("a")), group(s("b"))], [])] == ["a", "b"]


def test_the_next_step_carries_the_rest() -> None:
    callback, step = succeeded([s("cb")], [s("last", task_id="3"), s("next", task_id="2")])
    assert callback.name == "cb"
    assert (step.name, step.options["task_id"], step.options["chain"]) == ("next", "2", [s("last", task_id="3")])
    assert "priority" not in step.options
    (step,) = succeeded(None, [s("last")], replace(FACTS, inherit_priority=True))
    assert (step.options["chain"], step.options["priority"]) == ([], 5)
    assert succeeded([raw_chain([])], [raw_chain([])]) == []


def test_children_are_returned() -> None:
    sending = continuing.succeeded(7, [s("cb")], [s("next", task_id="2")], ids=numbered(), facts=FACTS)
    children: list[Any] = []

    def collect() -> Any:
        children.extend((yield from sending))

    assert len(list(collect())) == 2
    assert [node.id for node in children] == [numbered()(), "2"]


def test_a_continuation_has_a_parent() -> None:
    with pytest.raises(BadCall, match="the task that it continues"):
        succeeded([s()], None, Facts("reply"))
    with pytest.raises(BadMessage):
        succeeded([5], None)


def test_errbacks() -> None:
    here, away = continuing.divided_errbacks([s("old"), s("new")], lambda sig: sig["task"] == "new")
    assert ([sig["task"] for sig in here], [sig["task"] for sig in away]) == (["new"], ["old"])
    (call,) = calls(continuing.failed("id", None, away, ids=numbered(), facts=Facts("reply")))
    assert call.args == ("id",)
    assert (call.options["parent_id"], call.options["root_id"]) == ("id", "id")
    assert list(continuing.failed("id", None, [], ids=numbered(), facts=FACTS)) == []


def test_what_a_failure_takes_along() -> None:
    inner = chord([s("h")], s("body", task_id="b", chord=s("outer"), group_id="g", group_index=2), task_id="c")
    lost = list(continuing.lost_steps([s("last", task_id="1"), inner, s("unknown")]))
    assert [step.task_id for step in lost] == ["1", "c", "b"]
    assert lost[2].chord is not None
    assert (lost[2].chord["task"], lost[2].group_id, lost[2].group_index) == ("outer", "g", 2)
    assert list(continuing.lost_steps(None)) == []
    assert [step.task_id for step in continuing.lost_steps([chord([s()], None, task_id="c")])] == ["c"]


RUNNING = Running(
    "id",
    root_id="root",
    group="g",
    group_index=3,
    chord=s("body"),
    callbacks=[s("cb")],
    errbacks=[s("eb")],
    replaced_task_nesting=1,
)


def replaced(sig: Signature, **changes: Any) -> tuple[Signature, list[Call]]:
    made = continuing.replacement(sig, replace(RUNNING, **changes), ids=numbered(), facts=FACTS)
    return made, calls(publish(made, ids=numbered(), facts=FACTS))


def test_a_task_in_a_tasks_place() -> None:
    _, (call,) = replaced(s("new", 1))
    options = call.options
    assert (options["task_id"], options["group_id"], options["group_index"]) == ("id", "g", 3)
    assert (options["chord"], options["root_id"], options["replaced_task_nesting"]) == (s("body"), "root", 2)
    assert (options["link"], options["link_error"]) == ([s("cb")], [s("eb")])


def test_a_chain_in_a_tasks_place() -> None:
    made, (call,) = replaced(raw_chain([s("one"), s("two", link=s("own"))]))
    (last,) = call.options["chain"]
    assert last["options"]["task_id"] == "id"
    assert last["options"]["link"] == [s("own"), s("cb")]
    assert last["options"]["replaced_task_nesting"] == 2
    assert "link" not in made["options"]
    assert replaced(raw_chain([s()]), callbacks=None)[0]["options"].get("link") is None


def test_a_group_in_a_tasks_place() -> None:
    _, (first, second) = replaced(group(s("one"), s("two")))
    assert first.options["chord"]["task"] == "celery.accumulate"
    assert first.options["chord"]["options"]["task_id"] == "id"
    assert second.options["chord"] == first.options["chord"]
    _, (call,) = replaced(raw_chain([s("a"), group(s("one"), s("two"))]))
    assert call.options["chain"][0]["subtask_type"] == "chord"


def test_the_replaced_tasks_chain_goes_on() -> None:
    _, (call,) = replaced(s("new"), chain=[s("last", task_id="3"), s("next", task_id="2")])
    assert [step["options"]["task_id"] for step in call.options["chain"]] == ["3", "2"]
    assert {step["options"]["replaced_task_nesting"] for step in call.options["chain"]} == {2}


@pytest.mark.parametrize("sig", [s(chord=s()), raw_chain([])])
def test_what_cannot_replace(sig: Signature) -> None:
    with pytest.raises(BadCall):
        replaced(sig)


def test_adding_to_a_chord() -> None:
    step, sig = continuing.added_to_chord(s("more"), RUNNING, ids=numbered(), facts=FACTS)
    assert step.group_id == "g"
    assert (sig["options"]["group_id"], sig["options"]["group_index"], sig["options"]["chord"]) == ("g", 3, s("body"))
    with pytest.raises(BadCall, match="not part of a chord"):
        continuing.added_to_chord(s(), replace(RUNNING, chord=None), ids=numbered(), facts=FACTS)


def test_a_body_gets_all_results_as_one_argument() -> None:
    (call,) = calls(continuing.chord_body(s("body", 1), [2, 3], ids=numbered(), facts=FACTS))
    assert call.args == ([2, 3], 1)


def test_what_a_failed_header_takes_along() -> None:
    body = s("body", task_id="b", link_error=s("eb"), chain=[s("next", task_id="n")])
    lost, steps = continuing.lost_body(body, ids=numbered(), facts=FACTS)
    assert lost == [LostBody("b", [s("eb")])]
    assert [step.task_id for step in steps] == ["n"]
    assert continuing.lost_body(s(), ids=numbered(), facts=FACTS)[0] == [LostBody(numbered()())]


def test_a_group_body_fails_task_by_task() -> None:
    inner = chord([s("h")], group(s("x", link_error=s("own")), chain(s("y"), s("z"))), link_error=s("mine"))
    sig = group(s("a", link_error=[s("own"), s("eb")]), inner, link_error=s("eb"))
    body, node = frozen(sig, numbered(), "reply")
    lost, _ = continuing.lost_body(body, ids=numbered(), facts=FACTS)
    assert [each.task_id for each in lost] == [*(child.id for child in node.children or ()), node.id]
    assert [[sig["task"] for sig in each.errbacks] for each in lost] == [["own", "eb"], ["mine", "own", "eb"], []]

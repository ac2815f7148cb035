"""What follows the end of a task: each thing in its order, with the right parent, root and chord."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.rules import continuing
from celeriac.protocol.rules.canvas import chord, group
from celeriac.protocol.rules.signature import GROUP, Signature, signature

LINEAGE = {"parent_id": "me", "root_id": "root", "priority": 5}


def s(name: str = "a", *args: Any, **options: Any) -> Signature:
    return signature(name, args, options=options)


def following(callbacks: Any, rest: Any) -> list[tuple[Signature, dict[str, Any]]]:
    return [*continuing.called_next(callbacks, rest, LINEAGE, lambda sig: sig["subtask_type"] == GROUP, group)]


def test_one_callback_goes_alone_and_several_as_a_group() -> None:
    for one in (s("cb", 1), group(s("b"), s("c"))):
        assert following([one], None) == [(one, LINEAGE)]
    found = following([s("a"), group(s("b"), s("c")), s("d")], None)
    assert found == [(group(s("b"), s("c")), LINEAGE), (group([s("a"), s("d")]), LINEAGE)]
    assert following([group(s("a")), group(s("b"))], []) == [(group(s("a")), LINEAGE), (group(s("b")), LINEAGE)]
    assert following([], None) == []


def test_the_next_step_carries_the_rest() -> None:
    steps = [s("last", task_id="3"), s("next", task_id="2")]
    callback, step = following([s("cb")], steps)
    assert callback == (s("cb"), LINEAGE)
    assert step == (steps[1], {**LINEAGE, "chain": steps[:1]})
    assert following([], [s("last")]) == [(s("last"), {**LINEAGE, "chain": []})]


def test_errbacks() -> None:
    here, away = continuing.divided_errbacks([s("old"), s("new")], lambda sig: sig["task"] == "new")
    assert ([sig["task"] for sig in here], [sig["task"] for sig in away]) == (["new"], ["old"])
    assert continuing.divided_errbacks(None, bool) == ([], [])
    with pytest.raises(BadMessage):
        continuing.divided_errbacks([5], bool)


def test_what_a_failure_takes_along() -> None:
    inner = chord([s("h")], s("body", task_id="b", chord=s("outer"), group_id="g", group_index=2), task_id="c")
    lost = list(continuing.lost_steps([s("last", task_id="1"), inner, s("unknown")]))
    assert [step.task_id for step in lost] == ["1", "c", "b"]
    assert lost[2].chord is not None
    assert (lost[2].chord["task"], lost[2].group_id, lost[2].group_index) == ("outer", "g", 2)
    assert list(continuing.lost_steps(None)) == []
    assert [step.task_id for step in continuing.lost_steps([chord([s()], None, task_id="c")])] == ["c"]

"""Ids: what each part of a canvas gets, who is whose parent, and what is left out of what travels."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.canvas import chain, chord, group, raw_chain
from celeriac.protocol.rules.freezing import Freezer, Node, frozen, oldest, strip_header_chords, told_once
from celeriac.protocol.rules.signature import Signature, signature


def s(name: str = "a", *args: Any, **options: Any) -> Signature:
    return signature(name, args, options=options)


def counted() -> Any:
    numbers = iter(range(1, 100))
    return lambda: str(next(numbers))


def freeze(sig: Signature, **where: Any) -> tuple[Signature, Node]:
    before = json.dumps(sig)
    made = frozen(sig, counted(), "reply", **where)
    assert json.dumps(sig) == before
    return made


def line(node: Node | None) -> list[Any]:
    """The ids from a result to its oldest ancestor; a group as its id and its members."""
    found: list[Any] = []
    while node is not None:
        found.append(node.id if node.children is None else {node.id: [child.id for child in node.children]})
        node = node.parent
    return found


def test_a_task() -> None:
    sig, node = freeze(s(), group_id="g", chord=s("c"), root_id="r", parent_id="p", group_index=0)
    assert line(node) == ["1"]
    assert sig["options"] == {
        "task_id": "1",
        "root_id": "r",
        "parent_id": "p",
        "reply_to": "reply",
        "group_id": "g",
        "chord": s("c"),
        "group_index": 0,
    }
    again, node = freeze(sig, task_id="other", group_id="other")
    assert again == sig
    assert freeze(s(), task_id="mine")[1].id == "mine"


def test_a_chain() -> None:
    sig, node = freeze(raw_chain([s("a"), raw_chain([s("b"), s("c")])]), group_id="g", group_index=1)
    assert line(node) == ["1", "2", "3"]
    assert sig["options"]["task_id"] == "1"
    with pytest.raises(BadCall, match="empty chain"):
        freeze(raw_chain([]))


def test_a_chain_of_nothing_but_empty_groups_is_one_of_them() -> None:
    sig, node = freeze(raw_chain([group([]), raw_chain([]), group([])]))
    assert line(node) == [{"1": []}]
    assert freeze(raw_chain([group([]), raw_chain([])]))[1].children == []
    assert freeze(raw_chain([s("a"), group([]), s("b")]))[1].as_tuple() == (("1", (("2", None), None)), None)
    assert sig["options"]["task_id"] == "1"


def test_a_group_in_a_chain_becomes_a_chord() -> None:
    sig = raw_chain([s("a"), group(s("b"), s("c")), s("d"), s("e")])
    _, node = freeze(sig)
    last, body, header, first = line(node)
    assert (last, body) == ("1", "2")
    assert len(next(iter(header.values()))) == 2
    assert isinstance(first, str)


def test_groups_in_a_row() -> None:
    _, node = freeze(raw_chain([group(s("a"), s("b")), group(s("c"), s("d")), group(s("e"), s("f")), s("g")]))
    assert [type(part) for part in line(node)] == [str, dict, dict, dict]


def test_chords_in_a_row() -> None:
    parts = [group(s("a"), s("b")), s("c"), group(s("d"), s("e")), s("f")]
    _, node = freeze(raw_chain(parts))
    assert [type(part) for part in line(node)] == [str, dict, str, dict]


def test_a_group() -> None:
    sig, node = freeze(
        group(group(s("a"), s("b")), raw_chain([]), s("c")), group_id="g", chord=s("body"), group_index=7, root_id="r"
    )
    assert [task["task"] for task in sig["kwargs"]["tasks"]] == ["b", "a", "c"]
    assert [task["options"]["group_index"] for task in sig["kwargs"]["tasks"]] == [0, 1, 2]
    assert sig["options"] == {
        "task_id": "1",
        "group_id": "g",
        "chord": s("body"),
        "group_index": 7,
        "root_id": "r",
        "parent_id": None,
    }
    assert line(node) == [{"1": ["2", "3", "4"]}]


def test_a_chord() -> None:
    sig, node = freeze(chord([s("a"), s("b")], chain(s("c"), s("d"))), task_id="body", group_id="g", chord=s("outer"))
    assert line(node) == ["body", "4", {"1": ["2", "3"]}]
    last = sig["kwargs"]["body"]["kwargs"]["tasks"][1]
    assert last["options"]["chord"] == s("outer")
    assert last["options"]["group_id"] == "g"
    assert sig["options"]["task_id"] == "1"
    assert sig["kwargs"]["header"]["kwargs"]["tasks"][0]["options"]["chord"] is sig["kwargs"]["body"]


def test_a_signature_cannot_follow_itself() -> None:
    task, _ = freeze(s())
    with pytest.raises(BadCall, match="occurs twice"):
        freeze(chord([s()], raw_chain([task, task])))


def test_a_chord_on_its_way_carries_its_body_once() -> None:
    inner = chord([s("x")], s("y"))
    sig = chord([s("a"), raw_chain([s("b"), s("c")]), raw_chain([]), inner], raw_chain([s("d"), group(inner)]))
    made, _ = freeze(sig)
    # A group that was frozen apart can stand inside another: its tasks report to the same chord.
    made["kwargs"]["header"]["kwargs"]["tasks"] += [group(s("e", chord=s("d"))), raw_chain([])]
    strip_header_chords(made)
    assert '"chord": {' not in json.dumps(made)
    strip_header_chords(chord([s("a")], s("b")))


@pytest.mark.parametrize(
    ("body", "tasks"),
    [
        (raw_chain([s("a"), s("b")]), lambda made: made["kwargs"]["tasks"][-1:]),
        (raw_chain([s("a"), group(s("b"), s("c"))]), lambda made: made["kwargs"]["tasks"][-1]["kwargs"]["tasks"]),
        (group(s("a"), raw_chain([s("b"), s("c")])), lambda made: [made["kwargs"]["tasks"][0], made["kwargs"]["tasks"][1]["kwargs"]["tasks"][-1]]),
        (chord([s("a")], s("b")), lambda made: [made["kwargs"]["body"]]),
    ],
    ids=["chain", "chain to a group", "group", "chord"],
)  # fmt: skip
def test_a_body_says_once_what_it_reports_to(body: Signature, tasks: Any) -> None:
    made, _ = freeze(body, chord=s("outer"))
    assert [task["options"]["chord"] for task in tasks(made)] == [s("outer")] * len(tasks(made))
    before = json.dumps(made)
    kept = tasks(made)
    told_once({**made, "options": {**made["options"], "chord": None}})
    assert json.dumps(made) == before, "it does not say it itself"
    made["options"]["chord"] = s("outer")
    told_once(made)
    assert [task["options"].get("chord") for task in tasks(made)] == [None] * len(kept)
    assert [task["options"]["chord"] for task in kept] == [s("outer")] * len(kept), "others may hold these tasks"
    assert made["options"]["chord"] == s("outer")


def test_a_task_as_body_has_nothing_to_repeat() -> None:
    made, _ = freeze(s("a"), chord=s("outer"))
    told_once(made)
    assert made["options"]["chord"] == s("outer")


def test_protocol_1_links_what_protocol_2_chains() -> None:
    freezer = Freezer(counted(), "reply", linked_chains=True)
    steps, _ = freezer.prepare(raw_chain([]), (1,), [s("a"), s("b"), s("c")], kwargs={"k": 1})
    *_, first = steps
    assert (first["args"], first["kwargs"]) == ((1,), {"k": 1})
    assert first["options"]["link"][0]["options"]["link"][0]["task"] == "c"
    body = raw_chain([chord([s("a")], chain(s("b"), s("c")))])
    freezer.unroll_chords(body)
    assert len(body["kwargs"]["tasks"]) == 1


def test_long_bodies_are_unrolled() -> None:
    freezer = Freezer(counted(), "reply")
    sig = raw_chain(
        [s("z"), raw_chain([chord([s("a")], chain(s("b"), s("c")))]), chord([s("d")], chain(s("e"), s("f")))]
    )
    freezer.unroll_chords(sig)
    kinds = [task["subtask_type"] or task["task"] for task in sig["kwargs"]["tasks"]]
    assert kinds == ["z", "chain", "chord", "f"]
    steps, _ = freezer.prepare(raw_chain([]), (), [s("z"), chord([s("d")], chain(s("e"), s("f"), s("g")))])
    assert [task["subtask_type"] or task["task"] for task in steps] == ["g", "f", "chord", "z"]


def test_ancestors() -> None:
    first = Node("1")
    assert oldest(Node("2", Node("3", first))) is first
    assert Node("g", first, [Node("a"), Node("b", first)]).as_tuple() == (
        ("g", (("1", None), None)),
        [(("a", None), None), (("b", (("1", None), None)), None)],
    )

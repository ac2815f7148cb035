"""The steps that sending takes: whose options go where, in which order the store hears of it, and how lazily."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.calling import Call, Parent
from celeriac.protocol.rules.canvas import chain, chord, group, joined, raw_chain
from celeriac.protocol.rules.freezing import Node, frozen
from celeriac.protocol.rules.publishing import Facts, SaveGroup, SetChordSize, Step, publish
from celeriac.protocol.rules.signature import Signature, linked_error, signature
from tests.protocol.shell import numbered

FACTS = Facts("reply")


def s(name: str = "a", *args: Any, **options: Any) -> Signature:
    return signature(name, args, options=options)


def steps(sig: Signature, *args: Any, facts: Facts = FACTS, **options: Any) -> list[Step]:
    before = json.dumps(sig) if "iterator" not in repr(sig) and "generator" not in repr(sig) else ""
    done = list(publish(sig, args, None, options, ids=numbered(), facts=facts))
    assert not before or json.dumps(sig) == before
    return done


def calls(sig: Signature, *args: Any, facts: Facts = FACTS, **options: Any) -> list[Call]:
    return [step for step in steps(sig, *args, facts=facts, **options) if isinstance(step, Call)]


def promise(sig: Signature, facts: Facts = FACTS) -> Node | None:
    found: list[Node | None] = []

    def send() -> Any:
        found.append((yield from publish(sig, ids=numbered(), facts=facts)))

    list(send())
    return found[0]


def test_one_task() -> None:
    (call,) = calls(s("a", 2, queue="q"), 1, countdown=3, expires=None)
    assert (call.name, call.args, call.kwargs) == ("a", (1, 2), {})
    assert dict(call.options) == {"queue": "q", "countdown": 3, "task_id": numbered()()}
    assert promise(s(task_id="x")).id == "x"  # type: ignore[union-attr]


def test_a_chain_gives_its_options_to_the_right_step() -> None:
    (call,) = calls(
        raw_chain([s("a"), s("b")]), 1, countdown=5, task_id="last", link=s("cb"), link_error=s("eb"), parent_id="p"
    )
    assert call.args == (1,)
    assert call.options["countdown"] == 5
    assert "parent_id" not in call.options
    (last,) = call.options["chain"]
    assert last["options"] == {"task_id": "last", "reply_to": "reply", "link_error": [s("eb")], "link": [s("cb")]}
    assert call.options["link_error"] == [s("eb")]


def test_the_rest_of_an_outer_chain_comes_after_the_inner_one() -> None:
    (call,) = calls(raw_chain([s("a"), s("b")]), chain=[s("z")])
    assert [step["task"] for step in call.options["chain"]] == ["z", "b"]
    (call,) = calls(raw_chain([s("a"), s("b")]), facts=replace(FACTS, protocol=1))
    assert "chain" not in call.options
    assert [step["task"] for step in call.options["link"]] == ["b"]


def test_nothing_to_send() -> None:
    assert steps(raw_chain([])) == []
    assert promise(raw_chain([])) is None
    assert steps(group([])) == []
    node = promise(group([], task_id="g"))
    assert node is not None
    assert (node.id, node.children) == ("g", [])


def test_an_immutable_chain_takes_no_arguments() -> None:
    sig = raw_chain([s("a", 2)])
    sig.update(immutable=True)
    assert calls(sig, 1)[0].args == (2,)


def test_a_groups_members_count_within_their_own_group() -> None:
    found = calls(group(group(s("a"), s("b")), raw_chain([]), s("c")), task_id="g")
    assert [call.options["group_id"] for call in found] == ["g", "g", "g"]
    assert [call.options["group_index"] for call in found] == [0, 1, 2]


def test_members_know_the_root_of_their_group() -> None:
    for call in calls(group(s("a"), s("b", queue="q"), root_id="r"), priority=3):
        assert {key: call.options[key] for key in ("root_id", "priority", "reply_to")} == {
            "root_id": "r",
            "priority": 3,
            "reply_to": "reply",
        }


def test_a_group_takes_no_links() -> None:
    for name in ("link", "link_error"):
        with pytest.raises(BadCall, match=f"no {name}:"):
            steps(group(s()), **{name: s()})


def test_a_group_of_one_group_promises_that_one() -> None:
    node = promise(group([raw_chain([s(), group(s("b"), s("c"))])]))
    assert node is not None
    assert len(node.children or ()) == 2


def test_the_size_is_told_before_the_last_header_task() -> None:
    kinds = [type(step).__name__ for step in steps(chord([s("a"), s("b"), s("c")], s("d")))]
    assert kinds == ["Call", "Call", "SetChordSize", "Call"]


def test_the_size_is_told_first_where_the_header_may_have_run_before() -> None:
    """Its first member would meet the mark that says that the chord is over, and not be counted."""
    known = chord([s("a"), s("b")], s("c"))
    known["kwargs"]["header"] = {**group(s("a"), s("b")), "options": {"task_id": "g"}}
    first, *others = steps(known)
    assert first == SetChordSize("g", 2)
    assert [type(step).__name__ for step in others] == ["Call", "Call"]
    known["kwargs"]["header"]["kwargs"]["tasks"] = []
    assert [type(step).__name__ for step in steps(known)] == ["Call"]


def test_the_shape_of_a_nested_header_is_saved_first() -> None:
    found = steps(chord([s("a"), raw_chain([s("b"), group(s("c"), s("d"))])], s("e")))
    assert [type(step).__name__ for step in found] == ["SaveGroup", "Call", "SetChordSize", "Call"]
    save, _, size, _ = found
    assert isinstance(save, SaveGroup)
    assert isinstance(size, SetChordSize)
    assert (save.group_id, save.tree[0], size.size) == (size.group_id, (size.group_id, None), 3)
    assert save.tree[1][0][1] is None


def test_stores_that_count_in_the_saved_group_need_every_one() -> None:
    found = steps(chord([s("a"), s("b")], s("e")), facts=replace(FACTS, chords="saved"))
    assert [type(step).__name__ for step in found] == ["SaveGroup", "Call", "Call"]


def test_stores_that_cannot_count_are_polled() -> None:
    stamped = s("e", exchange="x", routing_key="k", priority=3, stamped_headers=["headers"], headers="stamp")
    unlock, *rest = calls(chord([s("a"), s("b")], stamped), interval=2, facts=replace(FACTS, chords="polled"))
    assert len(rest) == 2
    assert unlock.name == "celery.chord_unlock"
    assert unlock.args[0] == rest[0].options["group_id"]
    assert unlock.kwargs is not None
    assert list(unlock.kwargs) == ["interval", "max_retries", "result", "_chord_unlock_exchange_type"]
    assert unlock.kwargs["interval"] == 2
    assert unlock.options | {"task_id": 0} == {
        "countdown": 1,
        "priority": 3,
        "queue": "celery",
        "exchange_type": "direct",
        "exchange": "x",
        "routing_key": "k",
        "task_id": 0,
    }
    bare = replace(FACTS, chords="polled", unlock=lambda _body: {"queue": "q"})
    unlock, *_ = calls(chord([s("a")], s("e")), facts=bare)
    assert "_chord_unlock_exchange_type" not in (unlock.kwargs or {})


@pytest.mark.parametrize("sig", [chord([s()], s()), chain(s(), group(s(), s()), s()), group(chord([s()], s()))])
def test_stores_without_chords_refuse_them(sig: Signature) -> None:
    with pytest.raises(BadCall, match="no chords"):
        steps(sig, facts=replace(FACTS, chords="refused"))


@pytest.mark.parametrize("header", [[], [raw_chain([])], iter(())])
def test_an_empty_header_sends_the_body(header: Any) -> None:
    (call,) = steps(chord(header, s("body", 1)))
    assert isinstance(call, Call)
    assert (call.name, call.args) == ("body", ([], 1))


def test_a_body_can_come_with_the_call() -> None:
    found = list(publish(chord([s()]), (), {"body": s("late")}, ids=numbered(), facts=FACTS))
    assert found[-1].options["chord"]["task"] == "late"  # type: ignore[union-attr]
    with pytest.raises(BadCall, match="without a body"):
        steps(chord([s()]))


def test_a_delay_is_for_the_header() -> None:
    (call,) = calls(chord([s()], s("b"), countdown=3), eta=None)
    assert call.options["countdown"] == 3
    assert "countdown" not in call.options["chord"]["options"]


def test_a_long_body_is_cut() -> None:
    inner = chord([s("x")], raw_chain([s("b"), s("c")]))
    (call,) = calls(chord([s()], raw_chain([s("z"), inner])))
    assert [step["subtask_type"] for step in call.options["chord"]["kwargs"]["tasks"]] == [None, "chord", None]


def test_a_header_of_one_group_promises_that_one() -> None:
    node = promise(chord([raw_chain([s(), group(s("b"), s("c"))])], s("d")))
    assert node is not None
    assert node.parent is not None
    assert len(node.parent.children or ()) == 2


def test_links_of_a_chord_belong_to_its_body() -> None:
    (call,) = calls(chord([s()], s("b", link_error=[s("eb")])), link=s("cb"), link_error=[s("eb"), s("other")])
    assert call.options["chord"]["options"]["link"] == [s("cb")]
    assert call.options["chord"]["options"]["link_error"] == [s("eb"), s("other")]


def test_errbacks_of_a_group_body() -> None:
    body = group(s("b"), chord([s("c")], s("d")), group(s("e")))
    (call,) = calls(chord([s()], body), link_error=s("eb"))
    first, second, third = call.options["chord"]["kwargs"]["tasks"]
    assert first["options"]["link_error"] == second["kwargs"]["body"]["options"]["link_error"] == [s("eb")]
    assert third["options"]["link_error"] == [s("eb")]
    (call,) = calls(chord([s()], group(s("b"), link_error=[s("own")])), link_error=s("eb"))
    assert call.options["chord"]["options"]["link_error"] == [s("own"), s("eb")]


def test_an_empty_group_body_keeps_its_links() -> None:
    (call,) = calls(chord([s()], group([])), link=s("cb"))
    assert "chord" not in call.options


def test_a_child_knows_its_parent() -> None:
    facts = replace(FACTS, parent=Parent("p", "r", 4))
    (call,) = calls(s(), facts=facts)
    assert (call.options["root_id"], call.options["parent_id"], call.options.get("priority")) == ("r", "p", None)
    (call,) = calls(s(), facts=replace(facts, inherit_priority=True))
    assert call.options["priority"] == 4
    (call,) = calls(s(), facts=replace(facts, inherit_priority=True), root_id="x", parent_id="y")
    assert (call.options["root_id"], call.options["parent_id"], call.options.get("priority")) == ("x", "y", None)
    (call,) = calls(s(), facts=replace(FACTS, parent=Parent("p")))
    assert call.options["root_id"] == "p"


def lazily(count: int, pulled: list[int]) -> Iterable[Signature]:
    for i in range(count):
        pulled.append(i)
        yield s("a", i)


@pytest.mark.parametrize(
    "make", [group, lambda tasks: chord(tasks, s("b")), lambda tasks: joined(group(tasks), s("b"))]
)
def test_lazy_members_are_pulled_one_ahead(make: Any) -> None:
    pulled: list[int] = []
    sending = publish(make(lazily(10, pulled)), ids=numbered(), facts=FACTS)
    next(sending)
    assert pulled == [0, 1]
    assert len(list(sending)) >= 9


@pytest.mark.parametrize("chords", ["polled", "saved"])
def test_a_lazy_header_is_read_first_when_the_store_must_know_it(chords: Any) -> None:
    first, *rest = steps(chord(lazily(5, []), s("b")), facts=replace(FACTS, chords=chords))
    tree = first.kwargs["result"] if isinstance(first, Call) else first.tree[1]  # type: ignore[index,union-attr]
    assert len(tree) == len(rest) == 5


def test_many_members_stay_flat() -> None:
    tracemalloc.start()
    try:
        sending = publish(chord((s("a", i) for i in range(20_000)), s("b")), ids=numbered(), facts=FACTS)
        count, peak_early = 0, 0
        for _ in sending:
            count += 1
            if count == 1_000:
                peak_early = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - peak_early
    finally:
        tracemalloc.stop()
    assert count == 20_001
    # What grows is the promise, an id for each member, and nothing of the messages.
    assert grown / 19_000 < 400


def test_a_frozen_canvas_keeps_its_ids() -> None:
    ids = numbered()
    sig, node = frozen(chord([s("a"), s("b")], s("c")), ids, "reply")
    (first, second) = (call for call in publish(sig, ids=ids, facts=FACTS) if isinstance(call, Call))
    assert first.options["chord"]["options"]["task_id"] == node.id
    assert first.options["group_id"] == sig["options"]["task_id"]
    members = [child.id for child in (node.parent.children if node.parent else None) or ()]
    assert members == [first.options["task_id"], second.options["task_id"]]


def test_errbacks_on_the_header_when_the_app_wants_them() -> None:
    facts = replace(FACTS, errback_on_header=True)
    (call,) = calls(raw_chain([chord([s("a")], s("b"))]), link_error=s("eb"), facts=facts)
    assert call.options["link_error"] == [s("eb", immutable=True)]
    assert linked_error(s(), s("eb"))["options"] == {"link_error": [s("eb")]}

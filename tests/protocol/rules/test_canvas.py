"""Composition: what `|` gives for each pairing, and that nothing that goes in is changed."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules import canvas
from celeriac.protocol.rules.canvas import chain, chord, group, joined, raw_chain
from celeriac.protocol.rules.signature import Signature, chunks, linked, linked_error, signature, starmap


def s(name: str) -> Signature:
    return signature(name)


def shape(sig: Signature) -> str:
    """A canvas in letters: `a`, `a|b`, `{a,b}` for a group, `{a}>b` for a chord."""
    kind, kwargs = sig["subtask_type"], sig["kwargs"]
    if kind == "chain":
        return "(" + "|".join(map(shape, kwargs["tasks"])) + ")"
    if kind == "group":
        return "{" + ",".join(map(shape, kwargs["tasks"])) + "}"
    if kind == "chord":
        return "{" + ",".join(map(shape, kwargs["header"])) + "}>" + shape(kwargs["body"])
    return str(sig["task"])


def parts() -> dict[str, Signature]:
    return {
        "task": s("a"),
        "chain": raw_chain([s("b"), s("c")]),
        "group": group(s("d"), s("e")),
        "chord": chord([s("f")], s("g")),
        "nothing": group([]),
        "no steps": raw_chain([]),
        "one": group([s("h")]),
        "ends in group": raw_chain([s("i"), group(s("j"), s("k"))]),
        "ends in chord": raw_chain([s("l"), chord([s("m")], s("n"))]),
        "chord, group": raw_chain([chord([s("o")], s("p")), group(s("q"), s("r"))]),
        "only chain": group([raw_chain([s("t")])]),
    }


JOINS = """
task | task = (a|a)
task | chain = (a|b|c)
task | group = (a|{d,e})
task | chord = (a|{f}>g)
task | nothing = (a|{})
task | one = (a|h)
task | only chain = (a|(t))
chain | task = (b|c|a)
chain | chain = (b|c|b|c)
chain | group = (b|c|{d,e})
chain | chord = (b|c|{f}>g)
chain | nothing = (b|c)
chain | one = (b|c|h)
chain | no steps = (b|c)
chain | only chain = (b|c|t)
no steps | group = {d,e}
no steps | task = (a)
group | task = {d,e}>a
group | chain = {d,e}>(b|c)
group | group = {d,e}>{d,e}
group | chord = {d,e}>{f}>g
group | nothing = {d,e}
chord | task = {f}>(g|a)
chord | chain = ({f}>g|b|c)
chord | group = ({f}>g|{d,e})
chord | one = {f}>(g|h)
chord | chord = {f}>(g|{f}>g)
chord | nothing = ({f}>g|{})
ends in group | task = (i|{j,k}>a)
ends in group | chord = (i|{j,k}>{f}>g)
ends in group | group = (i|{j,k}|{d,e})
ends in chord | task = (l|{m}>(n|a))
ends in chord | chord = (l|{m}>n|{f}>g)
ends in chord | group = (l|{m}>(n|{d,e}))
chord, group | task = ({o}>(p|{q,r}>a))
"""


@pytest.mark.parametrize("line", JOINS.strip().splitlines())
def test_joining(line: str) -> None:
    left, right, result = re.split(r" \| | = ", line, maxsplit=2)
    assert shape(joined(parts()[left], parts()[right])) == result


@pytest.mark.parametrize(("left", "right"), list(product(parts(), parts())))
def test_joining_changes_neither_side(left: str, right: str) -> None:
    one, two = parts()[left], parts()[right]
    before = json.dumps([one, two])
    joined(one, two)
    assert json.dumps([one, two]) == before


@pytest.mark.parametrize(("left", "right"), [(5, s("a")), (s("a"), {}), (s("a"), None)])
def test_only_signatures_join(left: Any, right: Any) -> None:
    with pytest.raises(BadCall, match="only signatures"):
        joined(left, right)


def names(*keys: str) -> list[Signature]:
    return [parts()[key] for key in keys]


@pytest.mark.parametrize(
    ("keys", "result"),
    [
        (("task", "task"), "(a|a)"),
        (("task", "group", "task"), "(a|{d,e}>a)"),
        (("task", "group", "task", "task"), "(a|{d,e}>(a|a))"),
        (("task", "chain", "chord", "task", "chord"), "(a|b|c|{f}>(g|a)|{f}>g)"),
        (("task", "nothing", "task"), "(a|a)"),
        (("group", "task", "task"), "{d,e}>(a|a)"),
        (("nothing", "only chain", "task"), "(t|a)"),
        (("task", "chord", "group"), "(a|{f}>(g|{d,e}))"),
        (("task", "group", "group", "task"), "(a|{d,e}|{d,e}>a)"),
        (("task", "group", "chord"), "(a|{d,e}>{f}>g)"),
        (("no steps", "group", "task"), "{d,e}>a"),
    ],
)
def test_folding(keys: tuple[str, ...], result: str) -> None:
    assert shape(chain(*names(*keys))) == result


def test_a_chain_of_one_or_with_options_stands_as_it_is() -> None:
    assert shape(chain(parts()["group"])) == "({d,e})"
    assert shape(chain([parts()["group"]])) == "{d,e}"
    assert chain(s("a"), parts()["group"], s("b"), task_id="x")["options"] == {"task_id": "x"}
    assert shape(chain([s("a"), parts()["group"], s("b")], task_id="x")) == "(a|{d,e}|b)"
    assert shape(chain()) == shape(chain([])) == "()"
    with pytest.raises(BadCall, match="made of signatures"):
        chain(s("a"), 5)


def test_folding_is_linear() -> None:
    assert len(chain(s("a") for _ in range(5000))["kwargs"]["tasks"]) == 5000


def test_a_chains_links_move_to_its_tasks() -> None:
    sig = linked_error(linked(raw_chain([s("a"), s("b")]), s("cb")), s("eb"))
    first, second, third = joined(sig, s("c"))["kwargs"]["tasks"]
    assert first["options"] == {"link_error": [s("eb")]}
    assert second["options"] == {"link": [s("cb")], "link_error": [s("eb")]}
    assert third["options"] == {}
    assert joined(s("c"), linked(raw_chain([]), s("cb")))["kwargs"]["tasks"] == [s("c")]


def test_groups_of_anything() -> None:
    assert shape(group(s("a"))) == shape(group([s("a")])) == "{a}"
    assert shape(group(parts()["group"])) == "{d,e}"
    assert shape(group(raw_chain([s("a")]))) == "{(a)}"
    lazy = (s("a") for _ in range(2))
    assert group(lazy)["kwargs"]["tasks"] is lazy
    assert group(group(lazy))["kwargs"]["tasks"] is lazy
    assert group(s("a"), queue="q")["options"] == {"queue": "q"}


def test_headers_of_anything() -> None:
    assert shape(chord(parts()["group"], s("a"))) == "{d,e}>a"
    assert shape(chord(parts()["chain"], s("a"))) == "{b,c}>a"
    assert shape(chord(s("b"), s("a"))) == "{b}>a"
    lazy = (s("a") for _ in range(2))
    assert chord(group(lazy), s("b"))["kwargs"]["header"] is lazy


def test_chunks_become_starmaps_one_at_a_time() -> None:
    pulled = []

    def items() -> Any:
        for i in range(5):
            pulled.append(i)
            yield (i, i)

    parts_of = iter(canvas.chunk_group(chunks(s("a"), items(), 2))["kwargs"]["tasks"])
    assert next(parts_of) == starmap(s("a"), [(0, 0), (1, 1)])
    assert pulled == [0, 1]
    assert [len(part["kwargs"]["it"]) for part in parts_of] == [2, 1]
    with pytest.raises(BadCall, match="at least 1"):
        canvas.chunk_group(chunks(s("a"), [], 0))


def test_a_led_body_is_cut_after_its_first_step() -> None:
    sig = chord([s("a")], raw_chain([s("b"), s("c")], priority=3, task_id="x"))
    assert [shape(step) for step in canvas.unrolled_body(sig)] == ["{a}>b", "c"]
    assert canvas.unrolled_body(sig)[0]["kwargs"]["body"]["options"] == {"priority": 3}
    assert not canvas.is_led_by_task(None)
    assert not canvas.is_led_by_task(raw_chain([parts()["group"], s("a")]))

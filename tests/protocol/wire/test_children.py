"""Trees of results, both forms, and nesting without end."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire import children
from celeriac.protocol.wire.children import Node

ids = st.text(min_size=1, max_size=5)
nodes = st.recursive(
    st.builds(Node, ids),
    lambda inner: st.builds(Node, ids, st.none() | inner, st.none() | st.lists(inner, max_size=3).map(tuple)),
    max_leaves=12,
)


@given(nodes)
def test_round_trip(node):
    assert children.parse(json.loads(json.dumps(children.build(node)))) == node


def test_forms_on_the_wire():
    task = Node("t")
    assert children.build(task) == [["t", None], None]
    assert children.build(Node("t", Node("p"))) == [["t", [["p", None], None]], None]
    group = Node("g", None, (task, Node("u")))
    assert children.build(group) == [["g", None], [[["t", None], None], [["u", None], None]]]
    assert children.parse([["g", None], []]) == Node("g", None, ())


def test_celery_31_writes_the_bare_id():
    assert children.parse(["g", [["t", None], [["u", None], None]]]) == Node("g", None, (Node("t"), Node("u")))
    assert children.parse(("g", ())) == Node("g", None, ())


def test_members_with_parents_keep_their_places():
    node = Node("g", Node("gp"), (Node("a", Node("ap")), Node("b", None, (Node("c"),)), Node("d")))
    assert children.parse(children.build(node)) == node


def test_walk_and_leaves():
    node = Node("g", Node("gp"), (Node("a"), Node("h", None, (Node("b"), Node("c"))), Node("e", None, ())))
    assert [each.id for each in node.walk()] == ["g", "a", "h", "b", "c", "e"]
    assert list(node.leaves()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "ab",
        {},
        [],
        ["a"],
        [["a", None]],
        [["a", None], 5],
        [["a", None], {}],
        [5, None],
        [[None, None], None],
        [["", None], None],
        [["a", 5], None],
        [["a", None], [None]],
        [["a", None, None], None],
    ],
)
def test_bad_trees(value):
    with pytest.raises(BadMessage, match="result tree"):
        children.parse(value)


def _nested(depth, place):
    value = [["x", None], None]
    for _ in range(depth - 1):
        value = [["x", value], None] if place == "parent" else [["x", None], [value]]
    return value


@pytest.mark.parametrize("place", ["parent", "members"])
def test_depth_is_bounded(place):
    node = children.parse(_nested(children.DEEPEST, place))
    again = children.parse(children.build(node))
    depth = 0
    while again is not None:
        depth += 1
        again = again.parent if place == "parent" else again.members and again.members[0]
    assert depth == children.DEEPEST
    with pytest.raises(BadMessage, match="deeper than"):
        children.parse(_nested(50_000, place))
    over = Node("x", node) if place == "parent" else Node("x", None, (node,))
    with pytest.raises(BadCall, match="deeper than"):
        children.build(over)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_any_value_is_a_tree_or_bad(value):
    with suppress(BadMessage):
        assert isinstance(children.parse(value), Node)

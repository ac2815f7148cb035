"""The text of arguments: a table, laws over any value, and bounds on what cannot be shown in full."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.wire.reprs import saferepr

Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - the point of it


class Words(set[str]):
    pass


class Row(list[int]):
    pass


class Text(str):
    __slots__ = ()


class Raw(bytes):
    __slots__ = ()


class Bad:
    def __repr__(self) -> str:
        raise ValueError("no")


class BadInt(int):
    def __str__(self) -> str:
        raise ValueError("no")


class BadList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise ValueError("no")


class Said:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def loop() -> list[Any]:
    me: list[Any] = [1]
    me.append(me)
    return me


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((), "()"),
        ([], "[]"),
        ({}, "{}"),
        (set(), "set()"),
        (frozenset(), "frozenset()"),
        (5, "5"),
        ("it's", "'it\\'s'"),
        ('"', "'\"'"),
        ("a\nb\\", "'a\nb\\'"),
        ((1,), "(1,)"),
        ((1, "a", None, True, 1.5), "(1, 'a', None, True, 1.5)"),
        ({"a": 1, 2: "b"}, "{'a': 1, 2: 'b'}"),
        ({"a": [1]}, "{'a': [1]}"),
        ({(1, 2): Decimal("1.1")}, "{(1, 2): Decimal('1.1')}"),
        ([{1}], "[{1}]"),
        ([frozenset({1})], "[frozenset({1})]"),
        ([Words("a")], "[Words({'a'})]"),
        ([Words()], "[Words()]"),
        ([Row([1])], "[[1]]"),
        ([Pair(1, [2])], "[(1, [2])]"),
        ([OrderedDict(a=[1])], "[{'a': [1]}]"),
        ([Text("x"), Raw(b"x")], "['x', b'x']"),
        ([b"it's"], "[b'it's']"),
        ([b"\xff\x00"], "[b'ff00']"),
        ([range(3)], "[range(0, 3)]"),
        ([uuid.UUID(int=1)], "[UUID('00000000-0000-0000-0000-000000000001')]"),
        ([[[[]]]], "[[[[...]]]]"),
        ([[[[[1]]]]], "[[[[...]]]]"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{'a': {'b': {'c': {...}}}}"),
        ([[[set()]]], "[[[set()]]]"),
        ([[[(1,)]]], "[[[(...,)]]]"),
        ([10**5_000], "[<int of 16610 bits>]"),
        ([10**4_000], "[1" + "0" * 1022 + "...]"),
    ],
)
def test_table(value: Any, shown: str) -> None:
    assert saferepr(value) == shown


MIXED = (1, "abc def", [2, 3], {"k": (4,)})


@pytest.mark.parametrize(
    ("maxlen", "shown"),
    [
        (0, ", ..."),
        (1, "(, ...)"),
        (2, "(1..., ...)"),
        (3, "(1, , ...)"),
        (6, "(1, 'ab...', ...)"),
        (9, "(1, 'abc...', ...)"),
        (12, "(1, 'abc def', ...)"),
        (16, "(1, 'abc def', [, ...])"),
        (17, "(1, 'abc def', [2..., ...])"),
        (22, "(1, 'abc def', [2, 3], , ...)"),
        (26, "(1, 'abc def', [2, 3], {'k', ...})"),
        (None, "(1, 'abc def', [2, 3], {'k': (4,)})"),
    ],
)
def test_the_limit_is_a_budget(maxlen: int | None, shown: str) -> None:
    assert saferepr(MIXED, maxlen) == shown


def test_levels() -> None:
    assert saferepr([[1]], maxlevels=1) == "[[...]]"
    assert saferepr([[[[[1]]]]], maxlevels=0) == "[[[[[1]]]]]"


def test_a_loop_is_named() -> None:
    me = loop()
    assert saferepr([me]) == f"[[1, <Recursion on list with id={id(me)}>]]"
    assert saferepr([me[:1], me[:1]]) == "[[1], [1]]"


def test_what_cannot_be_shown_is_said() -> None:
    bad = Bad()
    assert saferepr([bad, 1]) == f"[<Unrepresentable Bad at {id(bad):#x}: ValueError>, 1]"
    assert saferepr({bad: bad}).count("<Unrepresentable Bad") == 2
    assert "<Unrepresentable BadInt" in saferepr([BadInt(1)])
    assert "<Unrepresentable list" in saferepr([BadList([1])])
    assert "Unrepresentable" in saferepr([Said(5)])  # type: ignore[arg-type]
    assert saferepr([Said("a b c")], 4) == "[a...]"


def test_endless_nesting_without_levels() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    shown = saferepr(deep, None, 0)
    assert shown.endswith(": RecursionError>")


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(plain, inner)
        | st.sets(st.integers() | st.text())
    ),
    max_leaves=20,
)


@given(values, st.integers(0, 200), st.integers(1, 4))
def test_it_is_about_as_long_as_it_may_be(value: Any, maxlen: int, maxlevels: int) -> None:
    shown = saferepr(value, maxlen, maxlevels)
    assert len(shown) <= 2 * maxlen + 16 + 16 * maxlevels


@given(
    st.lists(st.none() | st.booleans() | st.integers(-999, 999) | st.text("ab'", max_size=3), max_size=6),
    st.integers(0, 60),
)
def test_the_short_way_says_the_same(items: list[Any], maxlen: int) -> None:
    """A container of a type of one's own takes the long way."""
    assert saferepr(items, maxlen) == saferepr(Row(items), maxlen)
    assert saferepr(dict.fromkeys(items, 1), maxlen) == saferepr(OrderedDict.fromkeys(items, 1), maxlen)
    if len(items) == 2:
        assert saferepr(tuple(items), maxlen) == saferepr(Pair(*items), maxlen)


@pytest.mark.parametrize(
    "value",
    [
        ("x" * 50_000_000,),
        (b"x" * 50_000_000,),
        {"k" * 50_000_000: 1},
        [1] * 10_000_000,
        dict.fromkeys(range(2_000_000)),
        [[0] * 1_000_000] * 1_000_000,
        (1 << 100_000_000,),
        {"a" * 60: 2**60, "b": "c" * 65},
        tuple(range(65)),
    ],
    ids=range(9),
)
def test_it_looks_at_no_more_than_it_shows(value: Any) -> None:
    started = time.process_time()
    shown = saferepr(value)
    assert time.process_time() - started < 0.2
    assert len(shown) < 1200

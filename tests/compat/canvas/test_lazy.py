"""Members of an iterator: looked at as a list, streamed in flat memory."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.compat.canvas import lazy
from celeriac.compat.canvas.lazy import Lazy, regen

ITEMS = st.lists(st.integers(), max_size=8)


def test_lists_and_tuples_stay_as_they_are() -> None:
    for it in ([1], (1, 2)):
        assert regen(it) is it
    assert type(regen({1: 2}.values())) is Lazy


@given(ITEMS)
def test_it_looks_like_the_list(items: list[int]) -> None:
    for look in (list, len, bool, repr, json.dumps, copy.copy, copy.deepcopy, lambda it: list(reversed(it))):
        assert look(Lazy(iter(items))) == look(items)  # type: ignore[operator]
    made = Lazy(iter(items))
    assert made == items
    assert made != [*items, 0]
    assert [*made, 1] == [*items, 1]
    assert made + made == items + items
    assert [item in made for item in items] == [True] * len(items)
    assert made == Lazy(iter(items))
    assert made.data == made.copy() == made.__json__() == pickle.loads(pickle.dumps(made)) == items


@given(ITEMS, st.integers(-9, 9))
def test_one_item(items: list[int], index: int) -> None:
    if -len(items) <= index < len(items):
        assert Lazy(iter(items))[index] == items[index]
    else:
        with pytest.raises(IndexError):
            Lazy(iter(items))[index]
    assert Lazy(iter(items))[:index] == items[:index]


def counting(pulled: list[int], count: int = 5) -> Iterator[int]:
    for number in range(count):
        pulled.append(number)
        yield number


def test_no_more_is_pulled_than_is_looked_at() -> None:
    pulled: list[int] = []
    made = Lazy(counting(pulled))
    assert made
    assert pulled == [0]
    assert made[2] == 2
    assert pulled == [0, 1, 2]
    assert next(iter(made)) == 0
    assert pulled == [0, 1, 2]


def test_changes() -> None:
    made = Lazy(iter([1, 2, 3]))
    made[0] = 7
    del made[1]
    made.append(4)
    made.extend([5])
    assert made == [7, 3, 4, 5]


def test_a_change_of_all_reaches_those_to_come() -> None:
    pulled: list[int] = []
    made = Lazy(counting(pulled, 3))
    assert made[0] == 0
    made.map(lambda number: number + 10)
    assert pulled == [0]
    assert list(made) == [10, 11, 12]


def test_a_short_stream_can_be_had_again() -> None:
    made = Lazy(iter(range(3)))
    assert [list(made.stream()), list(made.stream()), list(made)] == [[0, 1, 2]] * 3


def test_a_stream_left_early_goes_on() -> None:
    made = Lazy(iter(range(3)))
    assert next(made.stream()) == 0
    assert list(made.stream()) == [0, 1, 2]


def test_a_long_stream_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "KEPT", 4)
    made = Lazy(iter(range(10)))
    assert list(made.stream()) == list(range(10))
    assert bool(made)
    assert "spent" in repr(made)
    with pytest.raises(RuntimeError, match="give a list"):
        list(made)
    with pytest.raises(RuntimeError, match="the first 10 of them"):
        made[0]


def test_two_streams_of_one_iterator_share_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "KEPT", 2)
    made = Lazy(iter(range(6)))
    assert list(made.stream()) == [0, 1, 2, 3, 4, 5]
    assert list(made.stream()) == []

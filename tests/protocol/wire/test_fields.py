"""Each field of a task message takes what a stock worker lives with, and refuses what would harm."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import fields

READERS: list[Callable[[str, Any], Any]] = [
    *(fields.read_id, fields.read_name, fields.read_label, fields.read_integer, fields.read_flag),
    *(fields.read_limits, fields.read_stamps, fields.read_names, fields.read_date),
]
TAKEN: list[tuple[Callable[[str, Any], Any], Any, Any]] = [
    (fields.read_id, "a", "a"),
    (fields.read_id, "ä", "ä"),
    (fields.read_id, 7, "7"),
    (fields.read_id, "", ""),
    (fields.read_name, "add", "add"),
    (fields.read_label, "x", "x"),
    (fields.read_label, ["x"], "list of 1"),
    (fields.read_integer, 3, 3),
    (fields.read_integer, True, 1),
    (fields.read_integer, 2.0, 2),
    (fields.read_integer, "0", 0),
    (fields.read_integer, " -12 ", -12),
    (fields.read_flag, 1, True),
    (fields.read_flag, "", False),
    (fields.read_limits, [10, 5.5], (10, 5.5)),
    (fields.read_limits, (None, 5), (None, 5)),
    (fields.read_limits, [], (None, None)),
    (fields.read_stamps, {"a": [1]}, {"a": [1]}),
    (fields.read_names, ["a"], ["a"]),
    (fields.read_names, ("a",), ["a"]),
    (fields.read_date, "2024", "2024"),
    (fields.read_date, datetime(2024, 1, 1, tzinfo=timezone.utc), "2024-01-01T00:00:00+00:00"),
]
REFUSED: list[tuple[Callable[[str, Any], Any], Any]] = [
    *((fields.read_id, value) for value in (True, 1.5, None, b"a", [], "\ud800", 2**64)),
    *((fields.read_name, value) for value in ("", None, {}, [])),
    *(
        (fields.read_integer, value)
        for value in ("", "x", "1.5", 1.5, math.nan, math.inf, 2**63, "9" * 30, None, [], "--1", "+-1", "1" * 10**6)
    ),
    *(
        (fields.read_limits, value)
        for value in (5, 0, [1], [1, 2, 3], "ab", {"a": 1, "b": 2}, ["1", None], [math.nan, 1])
    ),
    *((fields.read_limits, [limit, None]) for limit in (math.inf, 2**64, {})),
    *((fields.read_stamps, value) for value in ([], "a", {1: 2}, 5)),
    *((fields.read_names, value) for value in ("ab", [1], {"a": 1}, 5)),
    *((fields.read_date, value) for value in (5, "", [], b"2024")),
]


@pytest.mark.parametrize(("read", "value", "expected"), TAKEN)
def test_taken(read: Callable[[str, Any], Any], value: Any, expected: Any) -> None:
    got = read("field", value)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(("read", "value"), REFUSED)
def test_refused_with_the_field_s_name(read: Callable[[str, Any], Any], value: Any) -> None:
    with pytest.raises(BadMessage, match=r"^task message: the field: expected .+, got ") as caught:
        read("the field", value)
    assert len(str(caught.value)) < 250


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), some, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(READERS), ANYTHING)
def test_anything_is_taken_or_a_bad_message(read: Callable[[str, Any], Any], value: Any) -> None:
    with suppress(BadMessage):
        read("field", value)

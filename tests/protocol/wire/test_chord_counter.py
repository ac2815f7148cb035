"""Chords by counters: the names, and what a member leaves where its number says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import states
from celeriac.protocol.wire.chord_counter import CounterKeys, Seat, build_seat, in_order, number, parse_seat
from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.stored import Codec
from celeriac.protocol.wire.stores import Keys

KEYS = CounterKeys.of(Keys.under("mine"), "g")
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


def test_names() -> None:
    assert (KEYS.count, KEYS.saved) == ("mine_chord-unlock-g", "mine_celery-taskset-meta-g")
    assert (KEYS.size, KEYS.added, KEYS.claim) == tuple(f"mine_chord-unlock-g.{end}" for end in "stc")
    assert KEYS.seats(2) == ["mine_chord-unlock-g.1", "mine_chord-unlock-g.2"]
    assert KEYS.seats(0) == []
    assert KEYS.mark("t", 3) == "mine_chord-unlock-g.t:3"
    assert KEYS.mark("t", None) == "mine_chord-unlock-g.t:+inf"


@given(st.text(), st.none() | st.integers(-(2**40), 2**40), VALUES, st.sampled_from(["json", "pickle"]))
def test_a_seat_comes_back(task_id: str, index: int | None, value: Any, serializer: str) -> None:
    codec = Codec(serializer, {"application/json", "application/x-python-serialize"})
    seat = Seat(index, Member(task_id, states.SUCCESS, value))
    data = build_seat(seat.member, index, codec)
    assert parse_seat(data, codec) == seat
    assert seat.mark == (task_id, index)


def test_a_seat_is_a_place_and_a_member() -> None:
    failed = Member("t", states.FAILURE, Failure("ValueError", ("x",)))
    assert build_seat(failed, 7).startswith(b'7:[1, "t", "FAILURE", {"exc_type"')
    assert build_seat(failed, None).startswith(b":[1,")
    assert parse_seat(build_seat(failed, 7)).member == failed


@pytest.mark.parametrize(
    "data", [b"", b"7", b"[1]", b"x:[]", b"--1:[]", b"9" * 21 + b":[]", b"1:", b"1:[]", b"1:\xff", b"\xff:1"]
)
def test_what_is_no_seat(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_seat(data)


@given(st.binary())
def test_any_bytes_are_a_seat_or_a_bad_message(data: bytes) -> None:
    with suppress(BadMessage):
        parse_seat(data)
    with suppress(BadMessage):
        number(data)


def test_those_without_a_place_come_last() -> None:
    seats = [Seat(place, Member(str(place), states.SUCCESS, None)) for place in (3, None, 0, 10)]
    assert [seat.index for seat in in_order(seats)] == [0, 3, 10, None]


def test_numbers() -> None:
    assert [number(data) for data in (None, b"", b" ", b"0", b"9 ", b"12")] == [None, None, None, 0, 9, 12]
    for bad in (b"x", b"-1", b"1.5", b"9" * 21):
        with pytest.raises(BadMessage):
            number(bad)

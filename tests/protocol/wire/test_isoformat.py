"""Our reader of ISO texts against Python's own of 3.11, where that runs; a table of both elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, time, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celeriac.protocol.wire.isoformat import datetime_of, read_datetime, read_time, time_of

digits = st.integers(0, 99).map("{:02}".format)
hours = st.integers(0, 23).map("{:02}".format)  # later Pythons read 24:00 as the next day
sixty = st.integers(0, 61).map("{:02}".format)
fractions = st.just("") | st.tuples(st.sampled_from(".,"), st.text("0123456789", min_size=1, max_size=9)).map("".join)
clocks = (
    hours
    | st.tuples(hours, sixty).map(":".join)
    | st.tuples(hours, sixty).map("".join)
    | st.tuples(hours, st.just(":"), sixty, st.just(":"), sixty, fractions).map("".join)
    | st.tuples(hours, sixty, sixty, fractions).map("".join)
)
offsets = st.sampled_from(["", "Z", "z", "+00:00", "-00:00"]) | st.tuples(st.sampled_from("+-"), clocks).map("".join)
times = st.tuples(clocks, offsets).map("".join)
years = st.integers(0, 9999).map("{:04}".format)
months = st.integers(0, 13).map("{:02}".format)
days = st.integers(0, 32).map("{:02}".format)
weeks = st.integers(0, 54).map("W{:02}".format)
dates = (
    st.tuples(years, months, days).map("-".join)
    | st.tuples(years, months, days).map("".join)
    | st.tuples(years, weeks).map("-".join)
    | st.tuples(years, weeks, st.integers(0, 8).map(str)).map("-".join)
    | st.tuples(years, weeks, st.integers(0, 8).map(str)).map("".join)
)
moments = dates | st.tuples(dates, st.sampled_from("T _"), times).map("".join)


def outcome(read: Callable[[str], Any], text: str) -> Any:
    try:
        found = read(text)
    except ValueError:
        return ValueError
    return found, found.tzinfo, found.isoformat()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the fromisoformat of 3.10 reads only what isoformat writes")
class TestAgreesWithPython:
    @given(moments)
    @example("2024-02-29T12:30:15Z")
    @example("2024-W09-4T12")
    def test_moments(self, text: str) -> None:
        assert outcome(datetime_of, text) == outcome(datetime.fromisoformat, text)

    @given(times | times.map("T{}".format))
    @example("T12:30")
    def test_times(self, text: str) -> None:
        assert outcome(time_of, text) == outcome(time.fromisoformat, text)


@given(st.datetimes(timezones=st.none() | st.just(timezone.utc)))
def test_what_python_writes_is_read(moment: datetime) -> None:
    assert datetime_of(moment.isoformat()) == read_datetime(moment.isoformat()) == moment
    assert time_of(moment.timetz().isoformat()) == read_time(moment.timetz().isoformat()) == moment.timetz()


@given(st.text() | st.text("0123456789-:.,TZW+ "))
def test_any_text_gives_a_value_or_a_value_error(text: str) -> None:
    for read in (datetime_of, time_of):
        outcome(read, text)


@pytest.mark.parametrize("read", [datetime_of, time_of])
@pytest.mark.parametrize("wrong", [17, None, b"2024-01-01", []])
def test_only_texts_are_read(read: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(TypeError, match="argument must be str"):
        read(wrong)

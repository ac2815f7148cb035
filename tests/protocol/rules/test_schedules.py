"""Intervals, plain and on round times, and the zones that they are read in."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.schedules import Due, Interval, interval

UTC = timezone.utc
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
LATEST = datetime.max.replace(tzinfo=UTC)


def at(text: str, zone: tzinfo = UTC, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def test_plain_interval_counts_from_the_last_run() -> None:
    every, last = interval(10), at("2026-03-01T10:00:00")
    assert every.is_due(last, last + timedelta(seconds=9.5), UTC) == Due(is_due=False, next=0.5)
    assert every.is_due(last, last + timedelta(seconds=10), UTC) == Due(is_due=True, next=10)
    assert every.is_due(last, last + timedelta(hours=5), UTC) == Due(is_due=True, next=10)
    assert every.remaining_estimate(last, last + timedelta(seconds=15), UTC) == timedelta(seconds=-5)


def test_plain_interval_counts_real_time_when_clocks_change() -> None:
    last = at("2026-03-07T12:00:00", NEW_YORK)
    assert interval(86400).remaining_estimate(last, last, NEW_YORK) == timedelta(days=1)
    assert interval(3600).remaining_estimate(at("2026-03-08T01:30:00", NEW_YORK), last, NEW_YORK) == timedelta(
        hours=14.5
    )


def test_interval_of_nothing_or_less_is_always_due() -> None:
    now = at("2026-03-01T10:00:00")
    for seconds in (0, -5):
        assert interval(seconds).is_due(now, now, UTC) == Due(is_due=True, next=0)
        assert interval(seconds, relative=True).is_due(now, now, UTC) == Due(is_due=True, next=0)


@pytest.mark.parametrize(
    ("seconds", "last", "deadline"),
    [
        (0.4, "10:00:00.900000", "10:00:01"),
        (30, "10:00:00.750000", "10:00:30"),
        (60, "10:00:30", "10:01:00"),
        (90, "10:00:30", "10:02:00"),
        (300, "10:02:59", "10:07:00"),
        (3600, "10:00:00", "11:00:00"),
        (3600, "10:59:59", "11:00:00"),
        (5400, "10:40:00", "12:00:00"),
    ],
)
def test_relative_interval_runs_on_round_times(seconds: float, last: str, deadline: str) -> None:
    start, end = at("2026-03-01T" + last), at("2026-03-01T" + deadline)
    assert interval(seconds, relative=True).remaining_estimate(start, start, UTC) == end - start


@pytest.mark.parametrize(
    ("days", "last", "deadline", "fold", "zone"),
    [
        (1, "2026-03-07T23:00:00", "2026-03-08T00:00:00", 0, NEW_YORK),
        (1, "2026-03-08T00:00:00", "2026-03-09T00:00:00", 0, NEW_YORK),
        (1.5, "2026-03-07T13:00:00", "2026-03-09T00:00:00", 0, NEW_YORK),
        (7, "2026-10-29T13:00:00", "2026-11-05T00:00:00", 0, NEW_YORK),
        (1, "2025-11-01T12:00:00", "2025-11-02T00:00:00", 0, ZoneInfo("America/Havana")),  # midnight comes twice
        (1, "2023-09-30T12:00:00", "2023-10-01T01:00:00", 0, ZoneInfo("America/Asuncion")),  # midnight is skipped
        (1 / 24, "2025-04-06T01:15:00", "2025-04-06T02:00:00", 0, LORD_HOWE),  # 02:00 comes 75 minutes later
        (1 / 24, "2025-10-05T01:15:00", "2025-10-05T02:30:00", 0, LORD_HOWE),  # 02:00 is skipped: 45 minutes later
        (1 / 24, "2026-11-01T00:30:00", "2026-11-01T01:00:00", 0, NEW_YORK),
        (1 / 24, "2026-11-01T01:00:00", "2026-11-01T01:00:00", 1, NEW_YORK),
        (3 / 24, "2026-03-08T00:00:00", "2026-03-08T04:00:00", 0, NEW_YORK),
    ],
)
def test_relative_interval_reads_the_clocks_of_the_zone(days, last, deadline, fold, zone) -> None:
    start = at(last, zone).astimezone(UTC)
    end = at(deadline, zone, fold).astimezone(UTC)
    every = Interval(timedelta(days=days), relative=True)
    assert every.remaining_estimate(start, start, zone) == end - start


def test_relative_interval_that_is_due_asks_again_at_the_next_round_time() -> None:
    every, last = interval(3600, relative=True), at("2026-03-01T10:00:00")
    assert every.is_due(last, at("2026-03-01T10:59:00"), UTC) == Due(is_due=False, next=60)
    assert every.is_due(last, at("2026-03-01T11:10:00"), UTC) == Due(is_due=True, next=3000)
    assert interval(0.3, relative=True).is_due(last, at("2026-03-01T11:10:00"), UTC) == Due(is_due=True, next=0.3)


_ZONES = st.sampled_from([UTC, NEW_YORK, LORD_HOWE, ZoneInfo("Pacific/Apia"), ZoneInfo("Pacific/Kwajalein")])
_MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


@settings(deadline=None)
@given(st.integers(60, 40 * 86400), _ZONES, _MOMENTS)
def test_relative_deadline_is_round_later_than_the_last_run_and_near_the_interval(seconds, zone, last) -> None:
    deadline = last + interval(seconds, relative=True).remaining_estimate(last, last, zone)
    assert deadline > last
    assert abs(deadline - last - timedelta(seconds=seconds)) < timedelta(days=2 if seconds >= 86400 else 1)
    shown = deadline.astimezone(zone)
    assert (shown.second, shown.microsecond) == (0, 0)
    if seconds < 3600:
        assert deadline - last <= timedelta(seconds=seconds)


def test_intervals_beyond_the_calendar_never_come() -> None:
    now = at("2026-03-01T10:00:00")
    for relative in (False, True):
        far = Interval(timedelta.max, relative)
        assert far.remaining_estimate(now, now, UTC) == LATEST - now
        assert far.is_due(now, now, UTC).is_due is False
        past = Interval(timedelta.min, relative)
        assert past.is_due(now, now, UTC) == Due(is_due=True, next=0)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "expected a timedelta or a number of seconds, got None"),
        ("5", "expected a timedelta or a number of seconds, got '5'"),
        (math.nan, "interval: nan seconds are no length of time"),
        (math.inf, "interval: inf seconds are no length of time"),
        (-1e300, "seconds are no length of time"),
        pytest.param(10**400, "an integer of 1329 bits seconds are no length of time", id="huge"),
    ],
)
def test_interval_that_cannot_be_is_refused(value, why) -> None:
    with pytest.raises(BadCall, match=why):
        interval(value)


def test_an_interval_is_a_timedelta_or_seconds() -> None:
    assert interval(0.5, relative=True) == Interval(timedelta(seconds=0.5), relative=True)
    assert interval(timedelta(minutes=1)) == interval(60) == Interval(timedelta(minutes=1))

"""Crontabs: their fields, the occurrences that they name in every zone, and when beat has to run them."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.crontab import Crontab, crontab, from_string
from celeriac.protocol.rules.schedules import Due
from tests.protocol.rules.oracle import DAY, UTC, Clocks, changes

NEW_YORK = ZoneInfo("America/New_York")
TICK = timedelta(microseconds=1)


def at(text: str, zone: tzinfo = UTC, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


# --- fields -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "name", "numbers"),
    [
        ({"minute": "*/15"}, "minute", (0, 15, 30, 45)),
        ({"minute": "*"}, "minute", tuple(range(60))),
        ({"minute": 7}, "minute", (7,)),
        ({"minute": True}, "minute", (1,)),
        ({"minute": "1,13,30-45,50-59/2"}, "minute", (1, 13, *range(30, 46), 50, 52, 54, 56, 58)),
        ({"minute": {30, 0}}, "minute", (0, 30)),
        ({"minute": [5, 5, 1]}, "minute", (1, 5)),
        ({"minute": range(0, 60, 20)}, "minute", (0, 20, 40)),
        ({"minute": (n for n in (3, 2))}, "minute", (2, 3)),
        ({"minute": " 5, 7"}, "minute", (5, 7)),
        ({"minute": "*/100"}, "minute", (0,)),
        ({"hour": "22-4"}, "hour", (0, 1, 2, 3, 4, 22, 23)),
        ({"hour": "22-4/3"}, "hour", (1, 4, 22)),
        ({"hour": "0,8-17/2"}, "hour", (0, 8, 10, 12, 14, 16)),
        ({"day_of_week": "mon-fri"}, "day_of_week", (1, 2, 3, 4, 5)),
        ({"day_of_week": "Sat-mon"}, "day_of_week", (0, 1, 6)),
        ({"day_of_week": "sunday,thursday"}, "day_of_week", (0, 4)),
        ({"day_of_week": "*/2"}, "day_of_week", (0, 2, 4, 6)),
        ({"day_of_month": "*/10"}, "day_of_month", (1, 11, 21, 31)),
        ({"day_of_month": "30-2"}, "day_of_month", (1, 2, 30, 31)),
        ({"month_of_year": "*/3"}, "month_of_year", (1, 4, 7, 10)),
        ({"month_of_year": "2-12/2"}, "month_of_year", (2, 4, 6, 8, 10, 12)),
        ({"month_of_year": "nov-feb"}, "month_of_year", (1, 2, 11, 12)),
        ({"month_of_year": "January"}, "month_of_year", (1,)),
    ],
)
def test_field_reads_as_sorted_numbers(fields, name, numbers) -> None:
    assert getattr(crontab(**fields), name) == numbers


def test_fields_left_out_name_everything() -> None:
    assert crontab() == Crontab(
        tuple(range(60)), tuple(range(24)), tuple(range(7)), tuple(range(1, 32)), tuple(range(1, 13))
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"minute": "60"}, "minute: expected 0 to 59, got 60"),
        ({"minute": 60}, "minute: expected 0 to 59, got 60"),
        ({"minute": [1, -1]}, "minute: expected 0 to 59, got -1"),
        ({"hour": "-5"}, "hour: '-5': expected a number, got ''"),
        ({"hour": ""}, "hour: '': expected a number, got ''"),
        ({"hour": "1,,2"}, "hour: '': expected a number"),
        ({"hour": []}, "hour: names no value at all"),
        ({"hour": None}, "hour: expected a number, a text or numbers, got None"),
        ({"hour": 1.5}, "hour: expected a number, a text or numbers, got 1.5"),
        ({"hour": ["1"]}, "hour: expected a number, a text or numbers, got '1'"),
        ({"hour": "*/"}, "hour: '*/': expected a step of 1 or more"),
        ({"hour": "*/0"}, "hour: '*/0': expected a step of 1 or more"),
        ({"hour": "1-5/x"}, "hour: '1-5/x': expected a step of 1 or more"),
        ({"hour": "*/15/2"}, "hour: '*/15/2': expected a step"),
        ({"hour": "5/2"}, "hour: '5/2': a step needs a range or * before it"),
        ({"hour": "1-2-3"}, "hour: '1-2-3': expected a number, got '2-3'"),
        ({"hour": "9" * 5000}, "(5000 long)"),
        ({"hour": "mon"}, "hour: 'mon': expected a number, got 'mon'"),
        ({"day_of_week": "7"}, "day_of_week: expected 0 to 6, got 7"),
        ({"day_of_week": "mar"}, "day_of_week: 'mar': expected a number or a name (sun, mon"),
        ({"month_of_year": 0}, "month_of_year: expected 1 to 12, got 0"),
        ({"day_of_month": 31, "month_of_year": 2}, "day_of_month 31 never occurs in month_of_year 2"),
        ({"day_of_month": "30,31", "month_of_year": "feb"}, "'30,31' never occurs in month_of_year 'feb'"),
        ({"day_of_month": "31", "month_of_year": "2,4,6,9,11"}, "never occurs"),
    ],
)
def test_field_that_cannot_be_is_refused_and_says_why(fields, why) -> None:
    with pytest.raises(BadCall) as raised:
        crontab(**fields)
    assert why in str(raised.value)


def test_cron_line() -> None:
    assert from_string("0 4  8-14 * mon") == crontab(0, 4, "mon", "8-14", "*")


@pytest.mark.parametrize("text", ["* * * *", "* * * * * *", "", None, 5])
def test_cron_line_needs_five_fields(text) -> None:
    with pytest.raises(BadCall, match="expected five fields"):
        from_string(text)


@given(st.text(alphabet="0123456789*/-, monjafebs٣", max_size=12))
def test_any_text_is_a_field_or_a_bad_call(text: str) -> None:
    try:
        minutes = crontab(text).minute
    except BadCall:
        return
    assert minutes
    assert all(0 <= minute < 60 for minute in minutes)


# --- occurrences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "after", "following"),
    [
        ("* * * * *", "2026-03-01T10:00:00", "2026-03-01T10:01:00"),
        ("* * * * *", "2026-03-01T10:00:59.999999", "2026-03-01T10:01:00"),
        ("* * * * *", "2026-12-31T23:59:30", "2027-01-01T00:00:00"),
        ("*/15 8-17 * * *", "2026-03-01T10:44:00", "2026-03-01T10:45:00"),
        ("*/15 8-17 * * *", "2026-03-01T10:45:00", "2026-03-01T11:00:00"),
        ("*/15 8-17 * * *", "2026-03-01T17:45:00", "2026-03-02T08:00:00"),
        ("*/15 8-17 * * *", "2026-03-01T05:45:00", "2026-03-01T08:00:00"),
        ("30 4 * * mon", "2026-11-23T04:30:00", "2026-11-30T04:30:00"),
        ("0 0 31 * *", "2026-01-31T00:00:00", "2026-03-31T00:00:00"),
        ("0 0 29 2 *", "2026-01-31T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 29 2 mon", "2026-01-31T00:00:00", "2044-02-29T00:00:00"),
        ("0 0 29 2 sun", "2088-02-29T00:00:00", "2128-02-29T00:00:00"),
        ("0 12 1-7 * fri", "2026-11-06T12:00:00", "2026-12-04T12:00:00"),
        ("0 0 1 1 *", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_next_and_previous(line: str, after: str, following: str) -> None:
    cron = from_string(line)
    upcoming = cron.next(at(after), UTC)
    assert upcoming == at(following)
    assert cron.previous(upcoming + TICK, UTC) == upcoming
    past = cron.previous(upcoming, UTC)
    assert past is not None
    assert past <= at(after)
    assert cron.next(past, UTC) == upcoming


@pytest.mark.parametrize("zone", [UTC, NEW_YORK, ZoneInfo("Asia/Tokyo")])
def test_searches_end_where_the_calendar_does(zone) -> None:
    first, last = at("0001-01-01T00:00:00"), at("9999-12-31T23:59:59")
    for line in ("* * * * *", "0 0 29 2 *", "0 0 1 1 *", "59 23 31 12 *"):
        cron = from_string(line)
        assert cron.next(last, zone) is None
        assert cron.previous(first, zone) is None
    yearly = from_string("0 0 1 1 *")
    assert yearly.next(at("9999-06-01T00:00:00"), zone) is None
    assert yearly.previous(at("0001-01-01T00:00:00"), zone) is None
    assert from_string("0 0 1 12 *").previous(at("0001-06-01T00:00:00"), zone) is None
    assert yearly.is_due(last, last, zone) == Due(is_due=False, next=math.inf)
    assert yearly.remaining_estimate(last, last, zone) == timedelta(0, 0, 999999)


def test_naive_and_wrong_moments_are_bad_calls() -> None:
    with pytest.raises(BadCall, match="after: expected a datetime with a timezone, got 2026-01-01T00:00:00"):
        crontab().next(datetime(2026, 1, 1), UTC)
    with pytest.raises(BadCall, match="before: expected a datetime, got 5"):
        crontab().previous(5, UTC)  # type: ignore[arg-type] # the caller's mistake that is tested
    edge = at("0001-01-01T00:00:00", timezone(timedelta(hours=5)))
    with pytest.raises(BadCall, match=r"last_run_at: .* lies outside the calendar"):
        crontab().is_due(edge, at("2026-01-01T00:00:00"), UTC)


# --- clocks that change -----------------------------------------------------------------------------------------

CRONS = {
    "rhythm": "*/20 * * * *",
    "hourly": "30 * * * *",
    "night": "0,30 0-3 * * *",
    "one o'clock": "45 1 * * *",
    "two o'clock": "15 2 * * *",
    "midnight": "0 0 * * *",
    "noon": "0 12 * * *",
    "odd hours": "10 1-23/2 * * *",
    "first of the month": "*/30 * 1 * *",
    "sundays": "59 2,23 * * sun",
    "friday the 30th": "0 12 30 12 fri",
}
# Half-hour changes, changes at midnight, days that were left out, hours that were repeated thrice as long.
ODD = {
    "Australia/Lord_Howe": 2025,
    "Africa/Casablanca": 2026,
    "America/Havana": 2025,
    "America/Asuncion": 2023,
    "Pacific/Apia": 2011,
    "Pacific/Kwajalein": 1993,
    "Pacific/Kiritimati": 1994,
    "Antarctica/Casey": 2023,
    "Antarctica/Troll": 2026,
    "Antarctica/Vostok": 1994,
    "Asia/Pyongyang": 2018,
    "America/Caracas": 2016,
    "America/Boa_Vista": 2000,
    "Europe/Dublin": 2026,
    "America/New_York": 2026,
}


def check_change(name: str, change: datetime, chance: random.Random) -> None:
    """Around a change, both searches give what brute force gives, from every occurrence and from anywhere between."""
    zone = ZoneInfo(name)
    change = change.replace(second=0)
    clocks = Clocks(zone, change - 2 * DAY, change + 2 * DAY)
    for label, line in CRONS.items():
        cron = from_string(line)
        expected = clocks.occurrences(cron)
        where = f"{name} {change} {label}"
        moment = clocks.start - TICK
        found = []
        while (moment := cron.next(moment, zone)) < clocks.end:
            found.append(moment)
        assert [when.astimezone(UTC) for when in found] == expected, where
        assert [when.fold for when in found] == [when.astimezone(UTC).astimezone(zone).fold for when in found]
        moment = clocks.end
        found = []
        while (moment := cron.previous(moment, zone)).astimezone(UTC) >= clocks.start:
            found.append(moment.astimezone(UTC))
        assert found[::-1] == expected, where
        for _ in range(12):
            moment = clocks.start + (clocks.end - clocks.start) * chance.random()
            moment = chance.choice([moment, moment.replace(second=0, microsecond=0)])
            later, earlier = bisect_right(expected, moment), bisect_left(expected, moment)
            following, past = cron.next(moment, zone).astimezone(UTC), cron.previous(moment, zone).astimezone(UTC)
            assert following == expected[later] if later < len(expected) else following >= clocks.end, where
            assert past == expected[earlier - 1] if earlier else past < clocks.start, where


@pytest.mark.parametrize("name", ODD)
def test_odd_changes_agree_with_brute_force(name: str) -> None:
    found = changes(name, ODD[name], ODD[name])
    assert found
    for change in found[:2]:
        check_change(name, change, random.Random(name))


def test_changes_of_sampled_zones_agree_with_brute_force() -> None:
    chance = random.Random(5)
    names = [name for name in sorted(available_timezones()) if changes(name, 2026, 2026)]
    for name in chance.sample(names, 6):
        check_change(name, chance.choice(changes(name, 2026, 2026)), chance)


@pytest.mark.fuzz
def test_changes_of_every_zone_agree_with_brute_force(mutations: int) -> None:
    """Every change in sixty years of every zone; those that turn the clocks alike at the same hour are checked once.

    One kind of change in eight, unless as much is asked for as `make fuzz` does.
    """
    chance = random.Random(6)
    step = 1 if mutations >= 100_000 else 8
    kinds = set()
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for change in changes(name, 1973, 2033):
            before, after = (
                (change - when).astimezone(zone).utcoffset() for when in (timedelta(seconds=1), timedelta(0))
            )
            kind = ((change + before).time(), before, after)
            if kind not in kinds:
                kinds.add(kind)
                if len(kinds) % step == 0:
                    check_change(name, change, chance)
    assert len(kinds) > 200


_FIELD = st.tuples(
    st.sets(st.integers(0, 59), min_size=1, max_size=4),
    st.one_of(st.just(set(range(24))), st.sets(st.integers(0, 23), min_size=1, max_size=4)),
    st.one_of(st.just(set(range(7))), st.sets(st.integers(0, 6), min_size=1)),
    st.one_of(st.just(set(range(1, 32))), st.sets(st.integers(1, 28), min_size=1)),
    st.one_of(st.just(set(range(1, 13))), st.sets(st.integers(1, 12), min_size=1)),
)
_ZONES = st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"])
_MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


@settings(deadline=None)
@given(_FIELD, _ZONES, _MOMENTS, _MOMENTS)
def test_next_and_previous_are_inverse_and_monotonic(fields, name, one, other) -> None:
    cron, zone = crontab(*fields), ZoneInfo(name)
    early, late = sorted((one, other))
    upcoming = cron.next(early, zone).astimezone(UTC)
    assert upcoming > early
    assert cron.next(upcoming - TICK, zone) == upcoming
    assert cron.next(late, zone).astimezone(UTC) >= upcoming
    assert cron.previous(upcoming + TICK, zone) == upcoming
    past = cron.previous(upcoming, zone).astimezone(UTC)
    assert past <= early
    assert cron.next(past, zone) == upcoming


@settings(deadline=None, max_examples=20)
@given(_FIELD, _ZONES, st.datetimes(datetime(1980, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)))
def test_nothing_is_skipped_in_two_days(fields, name, start) -> None:
    zone = ZoneInfo(name)
    start = start.replace(second=0, microsecond=0)
    clocks = Clocks(zone, start, start + 2 * DAY)
    cron, found, moment = crontab(*fields), [], start - TICK
    while (moment := cron.next(moment, zone).astimezone(UTC)) < clocks.end:
        found.append(moment)
    assert found == clocks.occurrences(cron)


# --- due --------------------------------------------------------------------------------------------------------


def test_due_counts_from_the_last_run() -> None:
    cron = from_string("30 10 * * *")
    last = at("2026-03-01T10:30:00")
    assert cron.is_due(last, at("2026-03-02T10:29:59.5"), UTC) == Due(is_due=False, next=0.5)
    assert cron.is_due(last, at("2026-03-02T10:30:00"), UTC) == Due(is_due=True, next=86400.0)
    assert cron.is_due(last, at("2026-03-05T11:30:00"), UTC) == Due(is_due=True, next=82800.0)
    assert cron.remaining_estimate(last, at("2026-03-02T11:30:00"), UTC) == timedelta(hours=-1)


def test_due_in_the_repeated_hour_is_told_by_the_instant_and_not_by_the_clock() -> None:
    cron = from_string("30 * * * *")
    first, second = at("2026-11-01T01:30:00", NEW_YORK), at("2026-11-01T01:30:00", NEW_YORK, fold=1)
    assert cron.is_due(first, first + timedelta(minutes=1), NEW_YORK) == Due(is_due=False, next=3540.0)
    assert cron.is_due(first, second, NEW_YORK) == Due(is_due=True, next=3600.0)


@pytest.mark.parametrize(
    ("deadline", "now", "due"),
    [
        (None, "2026-03-02T13:00:00", True),
        (3600, "2026-03-02T11:00:00", True),
        (3600, "2026-03-02T11:30:00", True),
        (3600, "2026-03-02T11:30:00.000001", False),
        (3600, "2026-03-02T13:00:00", False),
        (0, "2026-03-02T10:30:00", True),
        (0, "2026-03-02T10:30:01", False),
        (1e11, "2026-03-02T13:00:00", True),
        (math.inf, "2026-03-02T13:00:00", True),
    ],
)
def test_starting_deadline_leaves_out_what_is_too_old(deadline, now, due) -> None:
    cron = from_string("30 10 * * *")
    answer = cron.is_due(at("2026-03-01T10:30:00"), at(now), UTC, deadline)
    assert answer.is_due is due
    assert answer.next == (cron.next(at(now), UTC) - at(now)).total_seconds()


@pytest.mark.parametrize("name", ["America/New_York", "Australia/Lord_Howe", "America/Asuncion", "Pacific/Apia"])
@pytest.mark.parametrize("label", ["rhythm", "hourly", "night", "two o'clock", "midnight"])
def test_a_beat_that_follows_the_answers_runs_everything_once(name: str, label: str) -> None:
    """It sleeps as long as it is told or less, wakes late now and then, and misses nothing."""
    cron, zone, chance = from_string(CRONS[label]), ZoneInfo(name), random.Random(name + label)
    for change in changes(name, ODD[name], ODD[name])[:2]:
        clocks = Clocks(zone, change - 2 * DAY, change + 2 * DAY)
        expected = clocks.occurrences(cron)
        last = now = clocks.start - TICK
        runs = []
        while now < clocks.end:
            due = cron.is_due(last, now, zone)
            if due.is_due:
                assert any(last < when <= now for when in expected)
                runs.append(now)
                last = now
            assert due.next > 0
            lateness = timedelta(seconds=chance.choice((0, 0, 0.2, 30)))
            now += min(timedelta(seconds=due.next), timedelta(minutes=chance.choice((5, 50)))) + lateness
        assert len(runs) == len(expected)
        assert all(timedelta(0) <= run - when < timedelta(minutes=5) for run, when in zip(runs, expected, strict=True))

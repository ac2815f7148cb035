"""Solar events: against ephem, which Celery asks, and against what everybody knows of the sun."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import ephem
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.schedules import Due
from celeriac.protocol.rules.solar import _CROSSINGS, EVENTS, Solar, solar

UTC = timezone.utc
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def by_ephem(event: str, lat: float, lon: float, start: datetime) -> datetime:
    """The next event as Celery asks ephem for it: days without the event are passed over."""
    observer, sun, when = ephem.Observer(), ephem.Sun(), ephem.Date(start)
    observer.lat, observer.lon, observer.elev, observer.pressure = str(lat), str(lon), 0, 0
    kind, _, light = event.partition("_")
    observer.horizon = {"civil": "-6", "nautical": "-12", "astronomical": "-18", "noon": "0", "": "-0:34"}[light]
    search = {"sunrise": "next_rising", "dawn": "next_rising", "solar": "next_transit"}.get(kind, "next_setting")
    centre = {"use_center": True} if kind in ("dawn", "dusk") else {}
    for _ in range(366):
        try:
            found = getattr(observer, search)(sun, start=when, **centre)
        except ephem.CircumpolarError:  # noqa: PERF203 - the loop is this try
            when = observer.next_antitransit(sun, start=when)
        else:
            return found.datetime().replace(tzinfo=UTC)
    raise AssertionError("every event happens within a year")


def overshoot(event: str, lat: float, lon: float, when: datetime) -> float:
    """By how many degrees the sun, within hours of a crossing, gets past the altitude of an event."""
    days = (when - at("2000-01-01T12:00:00")) / DAY
    heights = [solar(event, lat, lon)._above(_CROSSINGS[event], days + quarter / 96) for quarter in range(-48, 49)]
    return min(max(heights), -min(heights))


def check_against_ephem(chance: random.Random, lat: float) -> float:
    """Within a minute; where the sun only grazes the horizon, so that a hair more or less is a day, within that hair."""
    event, lon = chance.choice(EVENTS), chance.uniform(-180, 180)
    start = at("1990-01-01") + chance.random() * 50 * 365 * DAY
    found, theirs = solar(event, lat, lon).next(start, UTC), by_ephem(event, lat, lon, start)
    seconds = abs((found - theirs).total_seconds())
    if seconds > 60:
        assert overshoot(event, lat, lon, min(found, theirs)) < (0.02 if seconds > 43200 else 0.5), (
            event,
            lat,
            lon,
            start,
        )
    return seconds


def test_events_agree_with_ephem_within_a_minute() -> None:
    chance = random.Random(4)
    apart = sorted(check_against_ephem(chance, chance.uniform(-66, 66)) for _ in range(900))
    assert apart[450] < 2
    assert apart[890] < 60


def test_polar_events_agree_with_ephem() -> None:
    """Up to a degree from the pole: nearer, a day raises the sun less than the season does, which ephem leaves out."""
    chance = random.Random(5)
    apart = sorted(check_against_ephem(chance, chance.uniform(66, 89) * chance.choice((-1, 1))) for _ in range(150))
    assert apart[75] < 20
    assert apart[135] < 120


def test_equinox_noon_in_greenwich() -> None:
    noon = solar("solar_noon", 51.48, 0).next(at("2026-03-20T00:00:00"), UTC)
    assert abs((noon - at("2026-03-20T12:07:30")).total_seconds()) < 20


def test_polar_night_and_midnight_sun_are_passed_over() -> None:
    tromso = (69.65, 18.96)
    sunrise = solar("sunrise", *tromso).next(at("2026-12-05T00:00:00"), UTC)
    assert sunrise.date() in (at("2027-01-14").date(), at("2027-01-15").date(), at("2027-01-16").date())
    sunset = solar("sunset", *tromso).next(at("2026-06-01T00:00:00"), UTC)
    assert sunset.month == 7
    pole = solar("sunrise", 90, 0)
    first = pole.next(at("2026-01-01T00:00:00"), UTC)
    assert first.month == 3
    assert abs(pole.next(first, UTC) - first - 365.24 * DAY) < DAY
    assert solar("dusk_astronomical", -90, 180).next(at("2026-01-01T00:00:00"), UTC).month == 5


def test_answer_is_shown_in_the_zone() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    sunset = solar("sunset", 35.68, 139.69).next(at("2026-08-01T00:00:00"), tokyo)
    assert sunset.tzinfo is tokyo
    assert (sunset.hour, sunset.minute) == (18, 45)


_PLACES = {"lat": st.floats(-90, 90), "lon": st.floats(-180, 180)}


@settings(deadline=None, max_examples=150)
@given(
    event=st.sampled_from(EVENTS),
    start=st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    before=st.floats(0, 1),
    **_PLACES,
)
def test_next_is_later_and_the_same_from_everywhere_before(event, start, before, lat, lon) -> None:
    sun = solar(event, lat, lon)
    first = sun.next(start, UTC)
    assert first > start
    assert sun.next(start + before * (first - start - timedelta(microseconds=1)), UTC) == first
    second = sun.next(first, UTC)
    assert second - first > timedelta(hours=1)
    assert sun.next(first + before * (second - first - timedelta(microseconds=1)), UTC) == second


def test_events_of_a_day_come_in_order() -> None:
    when = at("2026-03-20T00:00:00")
    for event in EVENTS:
        following = solar(event, 45, 0).next(when, UTC)
        assert following > when
        when = following
    assert when < at("2026-03-21T00:00:00")


def test_due() -> None:
    sun = solar("sunrise", 45, 0)
    sunrise = sun.next(at("2026-03-20T00:00:00"), UTC)
    last, following = sunrise - timedelta(hours=4), sun.next(sunrise, UTC)
    assert sun.is_due(last, sunrise - timedelta(seconds=30), UTC) == Due(is_due=False, next=30)
    assert sun.is_due(last, sunrise, UTC) == Due(is_due=True, next=(following - sunrise).total_seconds())
    assert sun.is_due(sunrise, sunrise, UTC).is_due is False
    assert sun.remaining_estimate(last, sunrise + timedelta(seconds=5), UTC) == timedelta(seconds=-5)


def test_search_ends_where_the_calendar_does() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    for event in ("sunrise", "solar_noon"):
        assert solar(event, 80, 0).next(last, UTC) is None
        assert solar(event, 80, 0).is_due(last, at("2026-03-20T00:00:00"), UTC).is_due is False


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (("noon", 1, 1), "event: expected one of dawn_astronomical, dawn_nautical, dawn_civil, sunrise, solar_noon"),
        ((None, 1, 1), "event: expected one of"),
        (("sunset", 90.1, 1), "lat: expected degrees from -90 to 90, got 90.1"),
        (("sunset", 1, -181), "lon: expected degrees from -180 to 180, got -181"),
        (("sunset", float("nan"), 1), "lat: expected degrees"),
        (("sunset", "50", 1), "lat: expected degrees from -90 to 90, got '50'"),
    ],
)
def test_event_that_cannot_be_is_refused(place, why) -> None:
    with pytest.raises(BadCall, match=why):
        solar(*place)


def test_solar_is_a_value() -> None:
    assert solar("sunset", 1, 2) == Solar("sunset", 1.0, 2.0)

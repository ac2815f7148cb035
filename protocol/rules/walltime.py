"""What a wall clock shows and when: the arithmetic of zones that every schedule stands on.

Law: inside the rules an instant is a naive datetime in UTC and a wall time is a naive datetime in its zone.
Aware datetimes come in at the doors and go out at the doors, because Python compares and subtracts two aware
datetimes of one zone by their wall clocks and so forgets an hour twice a year.

A wall time that the clocks skip is read with the offset from before the change, as iCalendar does (RFC 5545):
02:30 in a gap from 02:00 to 03:00 is the instant that the clocks call 03:30. A wall time that the clocks show
twice has two readings.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from ..errors import BadCall, shown

# Clocks have jumped by as much as a day (the date line moved past Samoa), and never twice within a week since 1968.
REACH = timedelta(hours=25)
TICK = timedelta(microseconds=1)
NOTHING = timedelta(0)
EARLIEST = datetime.min  # noqa: DTZ901 - an instant, by the law above
LATEST = datetime.max  # noqa: DTZ901 - an instant, by the law above
_SECOND = timedelta(seconds=1)


class Change(NamedTuple):
    """The instant at which a zone's offset changes, and the offset on either side of it."""

    at: datetime
    before: timedelta
    after: timedelta


def instant(moment: datetime, what: str) -> datetime:
    """An aware datetime from a caller as an instant."""
    if not isinstance(moment, datetime):
        raise BadCall(f"{what}: expected a datetime, got {shown(moment)}")
    offset = moment.utcoffset()
    if offset is None:
        raise BadCall(f"{what}: expected a datetime with a timezone, got {moment.isoformat()}")
    try:
        return moment.replace(tzinfo=None) - offset
    except OverflowError:
        raise BadCall(f"{what}: {moment.isoformat()} lies outside the calendar in UTC") from None


def shown_in(zone: tzinfo, at: datetime) -> datetime:
    """An instant as the aware datetime that the clocks of a zone show."""
    return at.replace(tzinfo=timezone.utc).astimezone(zone)


def offset_at(at: datetime, zone: tzinfo) -> timedelta:
    return zone.fromutc(at.replace(tzinfo=zone)).utcoffset() or NOTHING


def first_reading(wall: datetime, zone: tzinfo) -> datetime:
    """The instant at which the clocks first show a wall time, or would have, had they not skipped it."""
    return wall - (wall.replace(tzinfo=zone, fold=0).utcoffset() or NOTHING)


def readings(wall: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """Every instant at which the clocks show a wall time, in order; a skipped one still has its single reading."""
    first = first_reading(wall, zone)
    second = wall - (wall.replace(tzinfo=zone, fold=1).utcoffset() or NOTHING)
    return (first, second) if first < second else (first,)


def change_near(at: datetime, zone: tzinfo) -> Change | None:
    """The change of offset within REACH of an instant, if there is one."""
    at = at.replace(microsecond=0)
    offset = offset_at(at, zone)
    if offset_at(at - REACH, zone) != offset:
        return _change_between(at - REACH, at, zone)
    if offset_at(at + REACH, zone) != offset:
        return _change_between(at, at + REACH, zone)
    return None


def _change_between(early: datetime, late: datetime, zone: tzinfo) -> Change:
    before = offset_at(early, zone)
    while late - early > _SECOND:
        middle = early + (late - early) // _SECOND // 2 * _SECOND
        if offset_at(middle, zone) == before:
            early = middle
        else:
            late = middle
    return Change(late, before, offset_at(late, zone))

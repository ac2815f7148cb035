"""When a periodic task is due: intervals, and what every kind of schedule answers.

Law: no clock. The last run, the present and the zone in which wall clocks are read are arguments; an answer is
a value. A schedule never answers from anything but these, so the same question has the same answer for ever.

A relative interval runs on the round times of its unit (the whole minute, hour or midnight), the unit being the
largest that fits into the interval: every 90 minutes counts hours, every 36 hours counts days. Its deadline is
the last round time that is later than the last run and not later than the last run plus the interval; intervals
of a day and more count days of the calendar, so that "every day" is midnight also when a day has 23 or 25 hours.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from ..errors import BadCall, shown
from ..values import dataclass
from .walltime import EARLIEST, LATEST, NOTHING, instant, offset_at, readings

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


class Due(NamedTuple):
    """Whether to run now, and after how many seconds to ask again (infinity: never)."""

    is_due: bool
    next: float


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so often, counted from the last run; when `relative`, on the round times of its unit."""

    run_every: timedelta
    relative: bool = False

    @property
    def seconds(self) -> float:
        return max(self.run_every.total_seconds(), 0.0)

    def remaining_estimate(self, last_run_at: datetime, now: datetime, zone: tzinfo) -> timedelta:
        return self._deadline(instant(last_run_at, "last_run_at"), zone) - instant(now, "now")

    def is_due(self, last_run_at: datetime, now: datetime, zone: tzinfo) -> Due:
        present = instant(now, "now")
        remaining = self._deadline(instant(last_run_at, "last_run_at"), zone) - present
        if remaining > NOTHING:
            return Due(is_due=False, next=remaining.total_seconds())
        if self.relative:
            ahead = self._deadline(present, zone) - present
            if ahead > NOTHING:  # below a second the round time can lie behind us: then the interval itself counts
                return Due(is_due=True, next=ahead.total_seconds())
        return Due(is_due=True, next=self.seconds)

    def _deadline(self, start: datetime, zone: tzinfo) -> datetime:
        try:
            return self._round(start, zone) if self.relative else start + self.run_every
        except (OverflowError, ValueError):  # ValueError: a zone that steps out of the calendar
            return LATEST if self.run_every > NOTHING else EARLIEST

    def _round(self, start: datetime, zone: tzinfo) -> datetime:
        wall = start + offset_at(start, zone)
        if self.run_every >= _DAY:
            return _first_after(start, readings(_floor(wall + self.run_every, _DAY), zone))
        end = start + self.run_every
        if self.run_every < _MINUTE:
            return end.replace(microsecond=0)
        unit = _HOUR if self.run_every >= _HOUR else _MINUTE
        rounded = _floor(end + offset_at(end, zone), unit)
        near = [at for step in (-1, 0, 1) for at in readings(rounded + step * unit, zone) if at > start]
        return max((at for at in near if at <= end), default=None) or min(near)


def _first_after(start: datetime, instants: tuple[datetime, ...]) -> datetime:
    return min(at for at in instants if at > start)


def _floor(wall: datetime, unit: timedelta) -> datetime:
    return wall - (wall - EARLIEST) % unit


def interval(run_every: object, relative: bool = False) -> Interval:
    """An interval from a timedelta or a number of seconds."""
    if isinstance(run_every, timedelta):
        return Interval(run_every, bool(relative))
    if not isinstance(run_every, (int, float)):
        raise BadCall(f"interval: expected a timedelta or a number of seconds, got {shown(run_every)}")
    try:
        return Interval(timedelta(seconds=run_every), bool(relative))
    except (ValueError, OverflowError):  # NaN, infinity, and what no timedelta can hold
        raise BadCall(f"interval: {shown(run_every)} seconds are no length of time") from None

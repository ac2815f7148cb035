"""Crontab schedules: Celery's five fields, and the occurrences that they name in any zone.

Law: pure. `next` and `previous` jump from field to field and never step through minutes; fields that name no date
at all (31 February) are refused when the crontab is made, so every search ends.

The clocks of a zone skip some wall times and show others twice. The law here:
- A time that is skipped still happens once, as much later as the clocks jumped: 02:30 runs when they say 03:30.
  When that is also the instant of another time of the same crontab, it is one run.
- A time that is shown twice happens the first time, so that a daily job runs once a day.
- A crontab that names every hour of the day is a rhythm, not a time of day, and keeps running both times.

Stock Celery reads skipped times in the same way and differs, to its loss, in three cases. A crontab of every hour
pauses for the hour that is repeated. Asked within that hour's second turn, Celery looks for the next occurrence in
the first turn, finds one in the past, and beat sends the task over and over. And what a skipped time still owes is
forgotten when the last run, or the start of beat, falls after the gap.

`crontab` and `from_string` are for programs that use this room by itself. `compat/schedules.py` makes a `Crontab` of
numbers that Celery's own parser has read, as its errors and its subclasses are Celery's.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import NamedTuple, TypeAlias

from ..errors import BadCall, shown
from ..values import dataclass
from .schedules import Due
from .walltime import LATEST, NOTHING, REACH, TICK, Change, change_near, first_reading, instant, offset_at, shown_in

_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MINUTE = timedelta(minutes=1)
_MAX_DIGITS = 9

Spec: TypeAlias = "int | str | Iterable[int]"


class _Field(NamedTuple):
    name: str
    lowest: int
    highest: int
    names: dict[str, int]

    @property
    def everything(self) -> range:
        return range(self.lowest, self.highest + 1)


_MINUTE_FIELD = _Field("minute", 0, 59, {})
_HOUR_FIELD = _Field("hour", 0, 23, {})
_DAY_OF_WEEK = _Field("day_of_week", 0, 6, _DAYS)
_DAY_OF_MONTH = _Field("day_of_month", 1, 31, {})
_MONTH_OF_YEAR = _Field("month_of_year", 1, 12, _MONTHS)


@dataclass(frozen=True, slots=True)
class Crontab:
    """The times at which every field agrees; fields are sorted, Sunday is day 0. Made by `crontab`."""

    minute: tuple[int, ...]
    hour: tuple[int, ...]
    day_of_week: tuple[int, ...]
    day_of_month: tuple[int, ...]
    month_of_year: tuple[int, ...]

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The first occurrence later than `after`; None when the calendar ends before it."""
        found = self._next(instant(after, "after"), zone)
        return None if found is None else shown_in(zone, found)

    def previous(self, before: datetime, zone: tzinfo) -> datetime | None:
        """The last occurrence earlier than `before`; None when the calendar begins after it."""
        found = self._previous(instant(before, "before"), zone)
        return None if found is None else shown_in(zone, found)

    def remaining_estimate(self, last_run_at: datetime, now: datetime, zone: tzinfo) -> timedelta:
        upcoming = self._next(instant(last_run_at, "last_run_at"), zone)
        return (upcoming or LATEST) - instant(now, "now")

    def is_due(self, last_run_at: datetime, now: datetime, zone: tzinfo, starting_deadline: float | None = None) -> Due:
        """Whether an occurrence since `last_run_at` waits to be run.

        With a starting deadline (seconds), only when one of them is at most that old: beat that was down for a
        while then leaves out what came too long ago.
        """
        present = instant(now, "now")
        upcoming = self._next(instant(last_run_at, "last_run_at"), zone)
        if upcoming is None or upcoming > present:
            return Due(is_due=False, next=_seconds(upcoming, present))
        fresh = starting_deadline is None or upcoming == present or self._since(starting_deadline, present, zone)
        return Due(is_due=fresh, next=_seconds(self._next(present, zone), present))

    def _since(self, seconds: float, present: datetime, zone: tzinfo) -> bool:
        """Whether anything occurred in the last so many seconds, the present included."""
        try:
            start = present - timedelta(seconds=seconds) - TICK
        except OverflowError:
            return True
        upcoming = self._next(start, zone)
        return upcoming is not None and upcoming <= present

    def _next(self, at: datetime, zone: tzinfo) -> datetime | None:
        try:
            while True:
                change = change_near(at, zone)
                if change is None:
                    wall = self._wall_after(at + offset_at(at, zone))
                    if wall is None:
                        return None
                    upcoming = first_reading(wall, zone)
                    change = change_near(upcoming, zone)
                    if change is None:
                        return upcoming
                    at = max(at, change.at - REACH - TICK)  # nothing occurs before: no wall time in between agrees
                found = self._next_around(change, at)
                if found is not None and found <= change.at + REACH:
                    return found
                at = change.at + REACH
        except (OverflowError, ValueError):  # both: the zone or the search stepped out of the calendar
            return None

    def _previous(self, at: datetime, zone: tzinfo) -> datetime | None:
        try:
            while True:
                change = change_near(at - TICK, zone)
                if change is None:
                    wall = self._wall_before(at + offset_at(at - TICK, zone))
                    if wall is None:
                        return None
                    past = first_reading(wall, zone)
                    change = change_near(past, zone)
                    if change is None:
                        return past
                    at = min(at, change.at + REACH)
                found = self._previous_around(change, at)
                if found is not None and found >= change.at - REACH:
                    return found
                at = change.at - REACH
        except (OverflowError, ValueError):
            return None

    def _next_around(self, change: Change, at: datetime) -> datetime | None:
        """As `_next`, where this change of offset is the only one to think of."""
        early_end, late_start = self._halves(change)
        wall = self._wall_after(at + change.before)
        early = None if wall is None or wall >= early_end else wall - change.before
        wall = self._wall_after(max(at + change.after, late_start - TICK))
        late = None if wall is None else wall - change.after
        return min((found for found in (early, late) if found is not None), default=None)

    def _previous_around(self, change: Change, at: datetime) -> datetime | None:
        early_end, late_start = self._halves(change)
        wall = self._wall_before(min(at + change.before, early_end))
        early = None if wall is None else wall - change.before
        wall = self._wall_before(at + change.after)
        late = None if wall is None or wall < late_start else wall - change.after
        return max((found for found in (early, late) if found is not None), default=None)

    def _halves(self, change: Change) -> tuple[datetime, datetime]:
        """Where wall times stop being read with the offset before, and start being read with the one after."""
        jump = change.after - change.before
        resume = change.at + change.after
        if jump > NOTHING:  # what the clocks skip is read with the offset before
            return resume, resume
        stop = change.at + change.before
        return stop, (resume if len(self.hour) == len(_HOUR_FIELD.everything) else stop)

    def _wall_after(self, wall: datetime) -> datetime | None:
        """The first agreeing wall time later than this one, as if clocks never changed."""
        start = wall.replace(second=0, microsecond=0) + _MINUTE
        if self._agrees(start):
            at = bisect_left(self.hour, start.hour)
            if at < len(self.hour) and self.hour[at] == start.hour:
                within = bisect_left(self.minute, start.minute)
                if within < len(self.minute):
                    return start.replace(minute=self.minute[within])
                at += 1
            if at < len(self.hour):
                return start.replace(hour=self.hour[at], minute=self.minute[0])
        day = self._day_after(start)
        return None if day is None else datetime.combine(day, time(self.hour[0], self.minute[0]))

    def _wall_before(self, wall: datetime) -> datetime | None:
        """The last agreeing wall time earlier than this one."""
        start = (wall - TICK).replace(second=0, microsecond=0)
        if self._agrees(start):
            at = bisect_right(self.hour, start.hour) - 1
            if at >= 0 and self.hour[at] == start.hour:
                within = bisect_right(self.minute, start.minute) - 1
                if within >= 0:
                    return start.replace(minute=self.minute[within])
                at -= 1
            if at >= 0:
                return start.replace(hour=self.hour[at], minute=self.minute[-1])
        day = self._day_before(start)
        return None if day is None else datetime.combine(day, time(self.hour[-1], self.minute[-1]))

    def _agrees(self, day: date) -> bool:
        return (
            day.day in self.day_of_month
            and day.month in self.month_of_year
            and day.isoweekday() % 7 in self.day_of_week
        )

    def _day_after(self, day: date) -> date | None:
        month, after = day.month, day.day
        for year in range(day.year, date.max.year + 1):
            for ahead in self.month_of_year:
                if ahead >= month:
                    found = self._day_in(year, ahead, self.day_of_month, after if ahead == month else 0, 32)
                    if found is not None:
                        return found
            month, after = 0, 0
        return None

    def _day_before(self, day: date) -> date | None:
        month, before = day.month, day.day
        for year in range(day.year, date.min.year - 1, -1):
            for behind in self.month_of_year[::-1]:
                if behind <= month:
                    found = self._day_in(year, behind, self.day_of_month[::-1], 0, before if behind == month else 32)
                    if found is not None:
                        return found
            month, before = 13, 32
        return None

    def _day_in(self, year: int, month: int, days: tuple[int, ...], after: int, before: int) -> date | None:
        """The first of these days of a month that lies between two days, exists, and is a day of the week asked for."""
        first, length = monthrange(year, month)  # Monday is 0 there, so the 1st is number `first` + 1 from Sunday
        for day in days:
            if after < day < before and day <= length and (first + day) % 7 in self.day_of_week:
                return date(year, month, day)
        return None


def _seconds(upcoming: datetime | None, present: datetime) -> float:
    return math.inf if upcoming is None else (upcoming - present).total_seconds()


def crontab(
    minute: Spec = "*",
    hour: Spec = "*",
    day_of_week: Spec = "*",
    day_of_month: Spec = "*",
    month_of_year: Spec = "*",
) -> Crontab:
    """A crontab from its fields: a number, a text such as `*/15`, `mon-fri` or `1,13,30-45,50-59/2`, or numbers."""
    days, months = _numbers(_DAY_OF_MONTH, day_of_month), _numbers(_MONTH_OF_YEAR, month_of_year)
    if not any(days[0] <= _LONGEST[month] for month in months):
        raise BadCall(
            f"crontab: day_of_month {shown(day_of_month)} never occurs in month_of_year {shown(month_of_year)}"
        )
    return Crontab(
        minute=_numbers(_MINUTE_FIELD, minute),
        hour=_numbers(_HOUR_FIELD, hour),
        day_of_week=_numbers(_DAY_OF_WEEK, day_of_week),
        day_of_month=days,
        month_of_year=months,
    )


def from_string(text: object) -> Crontab:
    """A crontab from the five fields of a cron line: minute, hour, day of month, month, day of week."""
    fields = text.split() if isinstance(text, str) else []
    if len(fields) != 5:  # noqa: PLR2004 - a cron line has five fields
        raise BadCall(f"crontab: expected five fields (minute hour day month weekday), got {shown(text)}")
    minute, hour, day_of_month, month_of_year, day_of_week = fields
    return crontab(minute, hour, day_of_week, day_of_month, month_of_year)


def _numbers(field: _Field, spec: object) -> tuple[int, ...]:
    """A field's specification as the sorted numbers that it names."""
    if isinstance(spec, str):
        found = {number for part in spec.split(",") for number in _part(field, part)}
    elif isinstance(spec, Iterable):
        found = {_within(field, number) for number in spec}
    else:
        found = {_within(field, spec)}
    if not found:
        raise BadCall(f"crontab: {field.name}: names no value at all")
    return tuple(sorted(found))


def _part(field: _Field, text: str) -> Sequence[int]:
    """One part of a list: `*`, `n` or `a-b`, the first and the last also with a step. Ranges wrap around."""
    span, slash, step = text.partition("/")
    first, dash, last = span.partition("-")
    if span == "*":
        numbers: Sequence[int] = field.everything
    elif dash:
        start, end = _number(field, first, text), _number(field, last, text)
        whole = field.everything
        numbers = (
            range(start, end + 1)
            if start <= end
            else (*whole[start - field.lowest :], *whole[: end + 1 - field.lowest])
        )
    elif slash:
        raise BadCall(f"crontab: {field.name}: {shown(text)}: a step needs a range or * before it")
    else:
        return (_number(field, first, text),)
    if not slash:
        return numbers
    if not _is_number(step) or int(step) == 0:
        raise BadCall(f"crontab: {field.name}: {shown(text)}: expected a step of 1 or more after the slash")
    return numbers[:: int(step)]


def _number(field: _Field, text: str, part: str) -> int:
    word = text.strip()
    if _is_number(word):
        return _within(field, int(word))
    named = field.names.get(word[:3].lower())
    if named is None:
        names = f" or a name ({', '.join(field.names)})" if field.names else ""
        raise BadCall(f"crontab: {field.name}: {shown(part)}: expected a number{names}, got {shown(text)}")
    return named


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MAX_DIGITS


def _within(field: _Field, number: object) -> int:
    if not isinstance(number, int):
        raise BadCall(f"crontab: {field.name}: expected a number, a text or numbers, got {shown(number)}")
    if not field.lowest <= number <= field.highest:
        raise BadCall(f"crontab: {field.name}: expected {field.lowest} to {field.highest}, got {shown(number)}")
    return int(number)

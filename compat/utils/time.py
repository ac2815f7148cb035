"""Dates, spans of time and time zones, as Celery's settings and schedules use them."""

from __future__ import annotations

import logging
import numbers
import os
import random
import time as _time
from calendar import monthrange
from collections.abc import Callable
from datetime import date, datetime, timedelta, tzinfo
from datetime import timezone as datetime_timezone
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from .functional import dictfilter
from .text import pluralize

logger = logging.getLogger("celery.utils.time")

__all__ = (
    "LocalTimezone",
    "add_seconds_to_datetime",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "subtract_datetimes",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
)  # fmt: skip

DAYNAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WEEKDAYS = {name: number for number, name in enumerate(DAYNAMES)}
MONTHNAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
YEARMONTHS = {name: number for number, name in enumerate(MONTHNAMES, start=1)}

RATE_MODIFIER_MAP: dict[str, Callable[[float], float]] = {
    "s": lambda n: n,
    "m": lambda n: n / 60.0,
    "h": lambda n: n / 60.0 / 60.0,
}
TIME_UNITS: tuple[tuple[str, float, Callable[[float], str]], ...] = tuple(
    (unit, seconds, lambda n: format(n, ".2f"))
    for unit, seconds in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))
)

_LOCALTIME, _TIMEZONE = Path("/etc/localtime"), Path("/etc/timezone")

ZERO = timedelta(0)
_DAY = timedelta(days=1)


class LocalTimezone(tzinfo):
    """The zone of this machine, as far as the C library knows it."""

    def __init__(self) -> None:
        self.STDOFFSET = timedelta(seconds=-_time.timezone)
        self.DSTOFFSET = timedelta(seconds=-_time.altzone) if _time.daylight else self.STDOFFSET
        self.DSTDIFF = self.DSTOFFSET - self.STDOFFSET
        super().__init__()

    def __repr__(self) -> str:
        return f"<LocalTimezone: UTC{int(self.DSTOFFSET.total_seconds() / 3600):+03d}>"

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return self.DSTOFFSET if self._isdst(dt) else self.STDOFFSET

    def dst(self, dt: datetime | None) -> timedelta:
        return self.DSTDIFF if self._isdst(dt) else ZERO

    def tzname(self, dt: datetime | None) -> str:
        return _time.tzname[self._isdst(dt)]

    def fromutc(self, dt: datetime) -> datetime:
        offset = int(self.utcoffset(dt).total_seconds() // 60)
        zone = datetime_timezone(timedelta(minutes=offset))
        return zone.fromutc(dt.replace(tzinfo=zone))

    def _isdst(self, dt: datetime | None) -> bool:
        if dt is None:
            return False
        wall = (dt.year, dt.month, dt.day, dt.hour, dt.minute, dt.second, dt.weekday(), 0, 0)
        return _time.localtime(_time.mktime(wall)).tm_isdst > 0


def _local_zone() -> tzinfo | None:
    """The zone that this machine is set to: TZ, or where /etc/localtime leads; UTC, where it is set to none. None: it
    is set to one whose name it does not tell.
    """
    name = os.environ.get("TZ", "").lstrip(":")
    if name:
        return ZoneInfo(name)
    _, marker, found = str(_LOCALTIME.resolve()).partition("zoneinfo/")
    if marker:
        return ZoneInfo(found)
    try:
        return ZoneInfo(_TIMEZONE.read_text(encoding="utf-8").strip())
    except OSError:
        return None if _LOCALTIME.exists() else ZoneInfo("UTC")


class _Zone:
    """Zones by name, the local one and UTC, and the way from one to another."""

    def tz_or_local(self, tzinfo: Any = None) -> tzinfo:
        """This zone, or the local one."""
        return self.local if tzinfo is None else self.get_timezone(tzinfo)

    def to_local(self, dt: datetime, local: Any = None, orig: Any = None) -> datetime:
        """The same moment in the local zone (or this one)."""
        if is_naive(dt):
            dt = make_aware(dt, orig or self.utc)
        return localize(dt, self.tz_or_local(local))

    def to_system(self, dt: datetime) -> datetime:
        """The same moment as this machine's clock shows it."""
        return dt.astimezone(tz=None)

    def to_local_fallback(self, dt: datetime) -> datetime:
        """The same moment in the local zone; a naive one is taken as local."""
        return make_aware(dt, self.local) if is_naive(dt) else localize(dt, self.local)

    def get_timezone(self, zone: Any) -> tzinfo:
        """The zone of this name."""
        return ZoneInfo(zone) if isinstance(zone, str) else zone

    @cached_property
    def local(self) -> tzinfo:
        """The zone of this machine."""
        try:
            found = _local_zone()
        except Exception as exc:  # noqa: BLE001 - a machine set to a zone that nobody knows still has clocks
            logger.warning("Failed to retrieve local timezone (%s): %s", type(exc).__name__, exc)
            found = None
        return LocalTimezone() if found is None else found

    @cached_property
    def utc(self) -> tzinfo:
        """UTC."""
        return self.get_timezone("UTC")


timezone = _Zone()


def maybe_timedelta(delta: Any) -> Any:
    """A number as so many seconds; anything else as it is."""
    return timedelta(seconds=float(delta)) if isinstance(delta, numbers.Real) else delta


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """The moment, rounded down to the largest unit (day, hour, minute) that fits into the span."""
    seconds = max(delta.total_seconds(), 0)
    for kept, unit in ((3, 86400), (4, 3600), (5, 60)):
        if seconds >= unit:
            parts = (dt.year, dt.month, dt.day, dt.hour, dt.minute)[:kept]
            return datetime(*parts, tzinfo=dt.tzinfo, fold=dt.fold)  # type: ignore[arg-type,misc] # three to five numbers
    return dt


def remaining(start: datetime, ends_in: Any, now: datetime | None = None, relative: bool = False) -> timedelta:
    """The real time from now until `start` and `ends_in` have passed.

    When relative, until the last round time of the span's unit that is not later than that.
    """
    from ...protocol.rules.schedules import interval

    now = now or datetime.now(datetime_timezone.utc)
    if not isinstance(ends_in, timedelta):
        end = start + ends_in
        if relative:
            raise TypeError("a relative end needs a timedelta")
        left: timedelta = end.astimezone(datetime_timezone.utc) - now.astimezone(datetime_timezone.utc)
        return left
    zone = start.tzinfo or timezone.local
    begun = start if start.tzinfo is not None else start.astimezone()
    aware = now if now.tzinfo is not None else now.astimezone()
    return interval(ends_in, relative).remaining_estimate(begun, aware, zone)


def rate(r: Any) -> Any:
    """A rate like `100/m`, `2/h` or `0.5/s` as so many a second."""
    if not r:
        return 0
    if isinstance(r, str):
        count, _, unit = r.partition("/")
        return RATE_MODIFIER_MAP[unit or "s"](float(count)) or 0
    return r


def weekday(name: str) -> int:
    """The number of a day: Sunday is 0."""
    try:
        return WEEKDAYS[name[0:3].lower()]
    except KeyError:
        raise KeyError(name) from None


def yearmonth(name: str) -> int:
    """The number of a month: January is 1."""
    try:
        return YEARMONTHS[name[0:3].lower()]
    except KeyError:
        raise KeyError(name) from None


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """Seconds in words: 7200 is `2.00 hours`."""
    seconds = float(format(float(secs), ".2f"))
    for unit, divider, formatter in TIME_UNITS:
        if seconds >= divider:
            count = seconds / divider
            return f"{prefix}{sep}{formatter(count)} {pluralize(count, unit)}"
    if microseconds and seconds > 0:
        return f"{prefix}{sep}{seconds:.2f} seconds"
    return now


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """A moment from its text; None for nothing."""
    if not dt:
        return None
    if isinstance(dt, datetime):
        return dt
    from ...protocol.wire.dates import parse_iso

    return parse_iso(dt, None, what="date")  # type: ignore[arg-type] # a text without a zone stays without one


def is_naive(dt: datetime) -> bool:
    """Whether it has no zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """The moment so many real seconds later; a naive one by the wall clock."""
    delta = timedelta(seconds=seconds)
    if is_naive(dt):
        return dt + delta
    return (dt.astimezone(datetime_timezone.utc) + delta).astimezone(dt.tzinfo)


def subtract_datetimes(end: datetime, start: datetime) -> timedelta:
    """The real time between both; naive ones are UTC."""
    return maybe_make_aware(end).astimezone(datetime_timezone.utc) - maybe_make_aware(start).astimezone(
        datetime_timezone.utc
    )


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """The wall time, in this zone; of a wall time shown twice, the earlier reading."""
    return dt.replace(tzinfo=tz, fold=0) if isinstance(tz, ZoneInfo) else dt.replace(tzinfo=tz)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """A moment in UTC, shown in this zone; one in another zone stays as it is."""
    if is_naive(dt):
        dt = make_aware(dt, tz)
    if dt.tzinfo == timezone.utc:
        return dt.astimezone(tz)
    return dt


def to_utc(dt: datetime) -> datetime:
    """A naive moment, as one in UTC."""
    return make_aware(dt, timezone.utc)


def maybe_make_aware(dt: datetime, tz: Any = None, naive_as_utc: bool = True) -> datetime:
    """A naive moment in this zone (of UTC, or of the zone itself); an aware one as it is."""
    if not is_naive(dt):
        return dt
    if naive_as_utc:
        dt = to_utc(dt)
    return localize(dt, timezone.utc if tz is None else timezone.tz_or_local(tz))


class ffwd:
    """What is to be set in a date, and added to it: `date + ffwd(hour=3, weeks=1)`."""

    def __init__(
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        minute: int | None = None,
        second: int | None = None,
        microsecond: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.year = year
        self.month = month
        self.weeks = weeks
        self.weekday = weekday
        self.day = day
        self.hour = hour
        self.minute = minute
        self.second = second
        self.microsecond = microsecond
        self.days = weeks * 7
        self._has_time = self.hour is not None or self.minute is not None

    def __repr__(self) -> str:
        shown = self._fields(weeks=self.weeks, weekday=self.weekday)
        return f"ffwd({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, date):
            return NotImplemented
        year = self.year or other.year
        month = self.month or other.month
        day = min(monthrange(year, month)[1], self.day or other.day)
        moment = other.replace(**{**self._fields(), "year": year, "month": month, "day": day})
        if self.weekday is not None:
            moment += timedelta(days=(7 - moment.weekday() + self.weekday) % 7)
        return moment + timedelta(days=self.days)

    def _fields(self, **extra: Any) -> dict[str, Any]:
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return dictfilter({name: getattr(self, name) for name in names}, **extra)


def utcoffset(time: Any = _time, localtime: Callable[..., _time.struct_time] = _time.localtime) -> float:
    """Hours that this machine is behind UTC."""
    return (time.altzone if localtime().tm_isdst else time.timezone) / 3600  # type: ignore[no-any-return] # the time module, or a stand-in


def adjust_timestamp(ts: float, offset: float, here: Callable[..., float] = utcoffset) -> float:
    """A timestamp of a machine that is so many hours behind UTC, as one of this machine."""
    return ts - (offset - here()) * 3600


def get_exponential_backoff_interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """How long to wait before the next try: doubled each time, and with jitter a random part of that."""
    countdown: int = min(maximum, factor * (2**retries))
    if full_jitter:
        countdown = random.randrange(countdown + 1)  # noqa: S311 - spreads load, keeps no secret
    return max(0, countdown)

"""Schedules under Celery's names: what beat and its packages ask of them, answered by protocol/rules.

Law: `is_due` asks `self.remaining_estimate` and `self.now`, which packages override. Pickles carry Celery's names, so
that a schedule file of stock beat is read here and the reverse.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from ..protocol.rules.crontab import Crontab
from ..protocol.rules.schedules import interval
from ..protocol.rules.solar import EVENTS
from ..protocol.rules.solar import solar as solar_event
from .utils.time import (
    ffwd,
    humanize_seconds,
    maybe_make_aware,
    maybe_timedelta,
    timezone,
    weekday,
    yearmonth,
)

if TYPE_CHECKING:
    from .app.base import Celery

__all__ = (
    "ParseException",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "schedule",
    "solar",
)  # fmt: skip

Cronspec: TypeAlias = "int | str | Iterable[int]"

CRON_PATTERN_INVALID = "Invalid crontab pattern.  Valid range is {min}-{max}. '{value}' was found."
CRON_INVALID_TYPE = (
    "Argument cronspec needs to be of any of the following types: int, str, or an iterable type. {type!r} was given."
)
CRON_INVALID_DATE = "Invalid crontab: day_of_month {day_of_month!r} never occurs in month_of_year {month_of_year!r}."

_LONGEST_MONTHS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NOW = timedelta(0)
_TICK = timedelta(microseconds=1)


# Whether to run now, and after how many seconds to ask again.
schedstate = namedtuple("schedstate", ("is_due", "next"), module="celery.schedules")  # noqa: PYI024 - packages unpack it untyped


def cronfield(s: Cronspec | None) -> Cronspec:
    """The field; `*` for none."""
    return "*" if s is None else s


class ParseException(Exception):
    """The text of a crontab field cannot be read."""

    __module__ = "celery.schedules"


class BaseSchedule:  # noqa: PLW1641 - schedules have no hash in Celery
    """What all schedules share: the app, its zone, and what time it is."""

    __module__ = "celery.schedules"

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Celery | None = None) -> None:
        self.nowfun = nowfun
        self._app = app

    def now(self) -> datetime:
        """The present."""
        return (self.nowfun or self.app.now)()

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long until the next run; negative when it is overdue."""
        raise NotImplementedError

    def is_due(self, last_run_at: datetime) -> tuple[bool, Any]:
        """Whether to run now, and after how many seconds to ask again."""
        raise NotImplementedError

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """The moment with a zone: this schedule's, where it has none."""
        return maybe_make_aware(dt, self.tz, naive_as_utc=naive_as_utc)

    @property
    def app(self) -> Any:
        """The app that the schedule belongs to, or the current one."""
        if self._app is not None:
            return self._app
        from ._state import current_app

        return current_app._get_current_object()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @cached_property
    def tz(self) -> tzinfo:
        """The zone in which wall clocks are read."""
        return self.app.timezone  # type: ignore[no-any-return] # any app has it

    @cached_property
    def utc_enabled(self) -> bool:
        """Whether the app counts in UTC."""
        return self.app.conf.enable_utc  # type: ignore[no-any-return] # any app has it

    def to_local(self, dt: datetime) -> datetime:
        """The moment as the app shows it."""
        return dt if self.utc_enabled else timezone.to_local_fallback(dt)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BaseSchedule):
            return other.nowfun == self.nowfun
        return NotImplemented


class schedule(BaseSchedule):  # noqa: PLW1641 - as above
    """Every so often. A relative one keeps to the round times of its unit: the full minute, hour or midnight."""

    __module__ = "celery.schedules"
    relative: bool = False

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Celery | None = None,
    ) -> None:
        self.run_every: Any = maybe_timedelta(run_every)
        self.relative = relative
        super().__init__(nowfun=nowfun, app=app)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        last = self.maybe_make_aware(last_run_at)
        now = self.maybe_make_aware(self.now())
        return interval(self.run_every, self.relative).remaining_estimate(last, now, last.tzinfo or self.tz)

    def is_due(self, last_run_at: datetime) -> tuple[bool, Any]:
        last = self.maybe_make_aware(last_run_at)
        remaining = self.remaining_estimate(last)
        if remaining > _NOW:
            return schedstate(is_due=False, next=remaining.total_seconds())
        seconds = self.seconds
        if self.relative:
            ahead = self.remaining_estimate(self.maybe_make_aware(self.now()).astimezone(last.tzinfo))
            if ahead > _NOW:  # below a second the round time can lie behind us
                seconds = ahead.total_seconds()
        return schedstate(is_due=True, next=seconds)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return bool(self.run_every == other.run_every)
        return bool(self.run_every == other)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.run_every, self.relative, self.nowfun)

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return max(self.run_every.total_seconds(), 0)  # type: ignore[no-any-return] # a timedelta

    @property
    def human_seconds(self) -> str:
        """The interval in words."""
        return humanize_seconds(self.seconds)


class crontab_parser:
    """Reads a field of a crontab (`*/15`, `mon-fri`, `1,13,30-45,50-59/2`) into the numbers that it names.

    The lowest is `min_`, and there are `max_` of them.
    """

    ParseException = ParseException

    _range = re.compile(r"(\w+?)-(\w+)(?:/(\w*))?")
    _star = re.compile(r"\*(?:/(\w*))?")

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """The numbers of the whole field."""
        found: set[int] = set()
        for part in spec.split(","):
            if not part:
                raise self.ParseException("empty part")
            found.update(self._parse_part(part.strip()))
        return found

    def _parse_part(self, part: str) -> Iterable[int]:
        whole = self._star.fullmatch(part)
        if whole:
            return self._every(list(self._all), whole[1])
        span = self._range.fullmatch(part)
        if span is None:
            return (self._expand_number(part),)
        first, last = self._expand_number(span[1]), self._expand_number(span[2])
        if first <= last:
            return self._every(list(range(first, last + 1)), span[3])
        return self._every([*range(first, self._all.stop), *range(self._all.start, last + 1)], span[3])

    @property
    def _all(self) -> range:
        return range(self.min_, self.min_ + self.max_)

    def _every(self, numbers: list[int], step: str | None) -> list[int]:
        if step is None:
            return numbers
        if not step:
            raise self.ParseException("empty filter")
        if int(step) < 1:
            raise ValueError(f"Invalid step: {step}, it must be 1 or more.")
        return numbers[:: int(step)]

    def _expand_number(self, s: str) -> int:
        if s.startswith("-"):
            raise self.ParseException("negative numbers not supported")
        number = int(s) if s.isdecimal() else self._named(s)
        if number not in self._all:
            side, limit, sign = (
                ("end", self._all.stop - 1, ">") if number > self.min_ else ("beginning", self.min_, "<")
            )
            raise ValueError(f"Invalid {side} range: {number} {sign} {limit}.")
        return number

    def _named(self, s: str) -> int:
        for names in (yearmonth, weekday):
            try:
                return names(s)
            except KeyError:  # noqa: PERF203 - there are two
                continue
        raise ValueError(f"Invalid weekday literal {s!r}.")


class crontab(BaseSchedule):  # noqa: PLW1641 - as above
    """At the times that all five fields name; each is a number, numbers, or a text such as `*/15` or `mon-fri`."""

    __module__ = "celery.schedules"

    def __init__(
        self,
        minute: Cronspec = "*",
        hour: Cronspec = "*",
        day_of_week: Cronspec = "*",
        day_of_month: Cronspec = "*",
        month_of_year: Cronspec = "*",
        **kwargs: Any,
    ) -> None:
        self._orig_minute = cronfield(minute)
        self._orig_hour = cronfield(hour)
        self._orig_day_of_week = cronfield(day_of_week)
        self._orig_day_of_month = cronfield(day_of_month)
        self._orig_month_of_year = cronfield(month_of_year)
        self._orig_kwargs = kwargs
        self.hour = self._expand_cronspec(hour, 24)
        self.minute = self._expand_cronspec(minute, 60)
        self.day_of_week = self._expand_cronspec(day_of_week, 7)
        self.day_of_month = self._expand_cronspec(day_of_month, 31, 1)
        self.month_of_year = self._expand_cronspec(month_of_year, 12, 1)
        if all(min(self.day_of_month) > _LONGEST_MONTHS[month] for month in self.month_of_year):
            raise ValueError(
                CRON_INVALID_DATE.format(day_of_month=self._orig_day_of_month, month_of_year=self._orig_month_of_year)
            )
        super().__init__(**kwargs)

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """From a cron line: minute, hour, day of month, month, day of week."""
        fields = crontab.split()
        if len(fields) != 5:
            raise ValueError(f"Expected five fields (minute hour day month weekday), got {crontab!r}")
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    @staticmethod
    def _expand_cronspec(cronspec: Cronspec, max_: int, min_: int = 0) -> set[int]:
        """A field as the numbers that it names."""
        if isinstance(cronspec, int):
            numbers = {cronspec}
        elif isinstance(cronspec, str):
            numbers = crontab_parser(max_, min_).parse(cronspec)
        elif isinstance(cronspec, Iterable):
            numbers = set(cronspec)
        else:
            raise TypeError(CRON_INVALID_TYPE.format(type=type(cronspec)))
        for number in numbers:
            if number >= max_ + min_ or number < min_:
                raise ValueError(CRON_PATTERN_INVALID.format(min=min_, max=max_ - 1 + min_, value=number))
        if not numbers:
            raise ValueError("Invalid crontab: a field names no value at all")
        return numbers

    @property
    def _times(self) -> Crontab:
        """The fields as the rules have them. Made anew: they are attributes that anybody may change."""
        fields = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        return Crontab(**{name: tuple(sorted(getattr(self, name))) for name in fields})

    def __repr__(self) -> str:
        return (
            f"<crontab: {self._orig_minute} {self._orig_hour} {self._orig_day_of_month} {self._orig_month_of_year} "
            f"{self._orig_day_of_week} (m/h/dM/MY/d)>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_week,
            self._orig_day_of_month,
            self._orig_month_of_year,
        )
        return self.__class__, fields, self._orig_kwargs

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__init__(**state)
        self._orig_kwargs = dict(state)

    def _moments(self, last_run_at: datetime, tz: Any = None) -> tuple[datetime, datetime, tzinfo]:
        """The last run and the present, both as the clocks of the schedule's zone show them."""
        zone = timezone.get_timezone(tz or self.tz)
        last = self.maybe_make_aware(last_run_at).astimezone(zone)
        return last, self.maybe_make_aware(self.now()).astimezone(zone), zone

    def remaining_delta(
        self, last_run_at: datetime, tz: Any = None, ffwd: Callable[..., Any] = ffwd
    ) -> tuple[datetime, Any, datetime]:
        """The last run, what is to be set in it to have the next one, and the present."""
        last, now, zone = self._moments(last_run_at, tz)
        upcoming = self._times.next(last, zone) or datetime.max.replace(tzinfo=zone)
        fields = {name: getattr(upcoming, name) for name in ("year", "month", "day", "hour", "minute")}
        return last, ffwd(**fields, second=0, microsecond=0), now

    def remaining_estimate(self, last_run_at: datetime, ffwd: Callable[..., Any] = ffwd) -> timedelta:
        return self._times.remaining_estimate(*self._moments(last_run_at))

    def is_due(self, last_run_at: datetime) -> tuple[bool, Any]:
        """As `BaseSchedule.is_due`; what is older than `beat_cron_starting_deadline` is left out."""
        remaining = self.remaining_estimate(last_run_at)
        if remaining > _NOW:
            return schedstate(is_due=False, next=remaining.total_seconds())
        due = remaining == _NOW or self._is_fresh()
        return schedstate(is_due=due, next=max(self.remaining_estimate(self.now()).total_seconds(), 0))

    def _is_fresh(self) -> bool:
        """Whether anything was to run within the deadline."""
        deadline = self.app.conf.beat_cron_starting_deadline
        if deadline is None:
            return True
        since = self.maybe_make_aware(self.now()).astimezone(timezone.utc) - timedelta(seconds=deadline) - _TICK
        return self.remaining_estimate(since) <= _NOW

    def __eq__(self, other: object) -> bool:
        if isinstance(other, crontab):
            return self._times == other._times and super().__eq__(other)
        return NotImplemented


def maybe_schedule(s: Any, relative: bool = False, app: Celery | None = None) -> Any:
    """A schedule from a number of seconds or a timedelta; one that is a schedule is given the app."""
    if s is None:
        return None
    if isinstance(s, (float, int)):
        s = timedelta(seconds=s)
    if isinstance(s, timedelta):
        return schedule(s, relative, app=app)
    s.app = app
    return s


class solar(BaseSchedule):  # noqa: PLW1641 - as above
    """At an event of the sun (sunrise, solar_noon, dusk_civil...) at a latitude and longitude."""

    __module__ = "celery.schedules"

    _all_events = set(EVENTS)

    max_search_days = 366  # of the nearest one that is not every day; the rules find any

    def __init__(self, event: str, lat: float, lon: float, **kwargs: Any) -> None:
        self.event = event
        self.lat = lat
        self.lon = lon
        super().__init__(**kwargs)
        solar_event(event, lat, lon)  # says at once what is wrong with them

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.event, self.lat, self.lon)

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        last = self.maybe_make_aware(last_run_at)
        now = self.maybe_make_aware(self.now())
        return solar_event(self.event, self.lat, self.lon).remaining_estimate(last, now, timezone.utc)

    def is_due(self, last_run_at: datetime) -> tuple[bool, Any]:
        remaining = self.remaining_estimate(last_run_at)
        if remaining > _NOW:
            return schedstate(is_due=False, next=remaining.total_seconds())
        return schedstate(is_due=True, next=max(self.remaining_estimate(self.now()).total_seconds(), 0))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, solar):
            return (other.event, other.lat, other.lon) == (self.event, self.lat, self.lon)
        return NotImplemented

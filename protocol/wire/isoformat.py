"""What Python 3.11 reads as an ISO 8601 date and time, on Python 3.10 too.

kombu decodes its typed JSON values with `fromisoformat`, and that of 3.10 refuses the `Z` that other languages write.
Law: the same text gives the same value, or ValueError, on every Python.
"""

from __future__ import annotations

import re
import sys
from datetime import date, datetime, time, timedelta, timezone, tzinfo

_DATE = r"(\d{4})(?:-(\d\d)-(\d\d)|(\d\d)(\d\d)|-W(\d\d)(?:-(\d))?|W(\d\d)(\d)?)"
_CLOCK = r"(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d+))?)?|(\d\d)(?:(\d\d)(?:[.,](\d+))?)?)?"
_TIME = rf"{_CLOCK}(?:(Z)|([+-]){_CLOCK})?"
_MOMENT = rf"(?as){_DATE}(?:.(?:{_TIME})?)?\Z"
_HOUR = rf"(?a)T?{_TIME}\Z"
_DATE_PARTS = 9
_CLOCK_PARTS = 7

Parts = tuple[str | None, ...]


def datetime_of(text: str) -> datetime:
    """A date, and perhaps any one character and a time of day.

    >>> datetime_of("2024-02-29T12:30:15Z")
    datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.timezone.utc)
    """
    found = re.match(_MOMENT, _text(text))
    if not found:
        raise ValueError(f"Invalid isoformat string: {text[:80]!r}")
    parts = found.groups()
    return datetime.combine(_date(parts[:_DATE_PARTS]), _time(parts[_DATE_PARTS:]))


def time_of(text: str) -> time:
    """A time of day.

    >>> time_of("01:02:03.000004")
    datetime.time(1, 2, 3, 4)
    """
    found = re.match(_HOUR, _text(text))
    if not found:
        raise ValueError(f"Invalid isoformat string: {text[:80]!r}")
    return _time(found.groups())


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("fromisoformat: argument must be str")
    return value


def _date(parts: Parts) -> date:
    year, month, day, month_basic, day_basic, week, weekday, week_basic, weekday_basic = parts
    if week or week_basic:
        return date.fromisocalendar(_int(year), _int(week or week_basic), int(weekday or weekday_basic or 1))
    return date(_int(year), _int(month or month_basic), _int(day or day_basic))


def _time(parts: Parts) -> time:
    zulu, sign = parts[_CLOCK_PARTS : _CLOCK_PARTS + 2]
    zone: tzinfo | None = timezone.utc if zulu else None
    if sign:
        offset = _span(parts[_CLOCK_PARTS + 2 :])
        zone = timezone(-offset if sign == "-" else offset)
    hour, minute, second, micro = _clock(parts)
    return time(hour, minute, second, micro, tzinfo=zone)


def _span(parts: Parts) -> timedelta:
    hour, minute, second, micro = _clock(parts)
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)


def _clock(parts: Parts) -> tuple[int, int, int, int]:
    hour, minute, second, fraction, minute_basic, second_basic, fraction_basic = parts[:_CLOCK_PARTS]
    digits = (fraction or fraction_basic or "0")[:6]
    return _int(hour), _int(minute or minute_basic), _int(second or second_basic), int(digits.ljust(6, "0"))


def _int(digits: str | None) -> int:
    return int(digits or 0)


read_datetime = datetime.fromisoformat if sys.version_info >= (3, 11) else datetime_of
read_time = time.fromisoformat if sys.version_info >= (3, 11) else time_of

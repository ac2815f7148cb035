"""The dates of task messages: what `eta` and `expires` may look like, and how they are written.

Law: every text that dateutil's `isoparse` reads as a date is read alike, since that is what a stock worker reads with;
all else is BadMessage. Not taken over from older versions of it: blanks, signs and missing digits within numbers.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo

from ..errors import BadMessage, shown

UTC = timezone.utc
_LONGEST = 100  # dateutil reads fractions of any length; nobody writes them

# Patterns stay texts until they are needed: `re` compiles each once, and that costs up to 1 ms.
# What isoformat() writes, and what `fromisoformat` reads alike on every Python.
_USUAL = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?(?:[+-][0-9]{2}:[0-5][0-9])?\Z"

# The branches exclude each other, as dateutil commits to a kind of date before it reads the time.
_DATE = r"""
    (?P<year>[0-9]{4})
    (?: -(?P<month>[0-9]{2})-(?P<day>[0-9]{2}) | (?P<month2>[0-9]{2})(?P<day2>[0-9]{2})
      | -W(?P<week>[0-9]{2})-(?P<weekday>[0-9])  | W(?P<week2>[0-9]{2})(?P<weekday2>[0-9])
      | -(?P<ordinal>[0-9]{3})                 | (?P<ordinal2>[0-9]{3})(?![0-9])
      | (?: -(?P<month3>[0-9]{2}) | -?W(?P<week3>[0-9]{2}) )?\Z )
"""
# A zone may stand alone, at midnight.
_TIME = r"""
    (?: (?P<hour>[0-9]{2})
        (?: : (?P<minute>[0-9]{2}) (?: : (?P<second>[0-9]{2}) (?:[.,](?P<part>[0-9]+))? )?
          | (?P<minute2>[0-9]{2}) (?: (?P<second2>[0-9]{2}) (?:[.,](?P<part2>[0-9]+))? )? )?
        (?P<zone>[Zz]|[+-].+)?
      | (?P<zone2>[+-].+) )
"""
_MOMENT = rf"(?sx){_DATE}(?:.{_TIME})?\Z"
_ZONE = r"([+-])([0-9]{2})(?::?([0-9]{2}))?\Z"


def parse_iso(text: object, naive: tzinfo = UTC, *, what: str = "task message", field: str = "") -> datetime:
    """The moment that a text names, with a zone: its own, or `naive` where it has none.

    A stock 5.7 worker takes a date without offset as UTC, whatever its configured timezone.

    >>> parse_iso("2026-11-21T03:15:19.521Z").isoformat()
    '2026-11-21T03:15:19.521000+00:00'
    """
    if not isinstance(text, str):
        raise BadMessage(what, f"expected an ISO-8601 text, got {shown(text)}", field=field)
    try:
        moment = datetime.fromisoformat(text) if re.match(_USUAL, text) else _parse(text)
        return moment.replace(tzinfo=naive) if moment.tzinfo is None else moment
    except (ValueError, OverflowError) as problem:
        raise BadMessage(what, f"not an ISO-8601 date, {problem}: {shown(text)}", field=field) from None


def isoformat(moment: datetime | str | None) -> str | None:
    """A moment as the wire carries it. A text is taken as written already; nothing is nothing."""
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _parse(text: str) -> datetime:
    found = re.match(_MOMENT, text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError("no known form")
    parts = found.groupdict()
    hour = _number(parts, "hour", 0)
    minute = _number(parts, "minute", 0)
    second = _number(parts, "second", 0)
    part = int((parts["part"] or parts["part2"] or "0")[:6].ljust(6, "0"))
    midnight = _day(parts).replace(tzinfo=_zone(parts["zone"] or parts["zone2"]))
    if hour != 24:  # noqa: PLR2004 - ISO's other midnight
        return midnight.replace(hour=hour, minute=minute, second=second, microsecond=part)
    if minute or second or part:
        raise ValueError("hour 24 is midnight only")
    return midnight + timedelta(days=1)


def _number(parts: dict[str, str | None], name: str, missing: int) -> int:
    """The number that stands in one of the places where the pattern takes it."""
    for place in (name, f"{name}2", f"{name}3"):
        digits = parts.get(place)
        if digits is not None:
            return int(digits)
    return missing


def _day(parts: dict[str, str | None]) -> datetime:
    year = _number(parts, "year", 0)
    week, ordinal = _number(parts, "week", -1), _number(parts, "ordinal", -1)
    if week >= 0:
        return datetime.combine(date.fromisocalendar(year, 1, 1), time()) + _into_year(week, parts)
    if ordinal >= 0:
        from calendar import isleap

        if not 0 < ordinal <= 365 + isleap(year):
            raise ValueError(f"year {year} has no day {ordinal}")
        return datetime(year, 1, 1) + timedelta(days=ordinal - 1)  # noqa: DTZ001 - the caller adds the zone
    return datetime(year, _number(parts, "month", 1), _number(parts, "day", 1))  # noqa: DTZ001 - likewise


def _into_year(week: int, parts: dict[str, str | None]) -> timedelta:
    """dateutil lets week 53 of a year of 52 weeks run over into the next year."""
    weekday = _number(parts, "weekday", 1)
    if not (0 < week <= 53 and 0 < weekday <= 7):  # noqa: PLR2004 - the calendar's own numbers
        raise ValueError(f"no week {week}, day {weekday}")
    return timedelta(weeks=week - 1, days=weekday - 1)


def _zone(text: str | None) -> timezone | None:
    if not text:
        return None
    if text in "Zz":
        return UTC
    found = re.match(_ZONE, text)
    if found is None:
        raise ValueError(f"no zone {text!r}")
    sign, hours, minutes = found[1], int(found[2]), int(found[3] or 0)
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - a zone is less than a day away
        raise ValueError(f"no zone {text!r}")
    away = timedelta(hours=hours, minutes=minutes)
    return timezone(-away if sign == "-" else away)

"""The reader of ISO-8601 dates that Celery had before dateutil's; deprecated there, and here."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from .deprecated import warn

__all__ = ("parse_iso8601",)

_MOMENT = re.compile(
    r"(?P<year>[0-9]{4})(-(?P<month>[0-9]{1,2})(-(?P<day>[0-9]{1,2})"
    r"(.(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(:(?P<second>[0-9]{2})(\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>Z|(?P<sign>[-+])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))?)?)?)?"
)


def parse_iso8601(datestring: str) -> datetime:
    """The moment that the text names; without a zone it stays without one."""
    warn("parse_iso8601", "v5.3", "v6", "datetime.datetime.fromisoformat or dateutil.parser.isoparse")
    found = _MOMENT.match(datestring)
    if found is None:
        raise ValueError(f"unable to parse date string {datestring!r}")
    part = found.groupdict()
    zone = None
    if part["zone"]:
        offset = timedelta(hours=int(part["hours"] or 0), minutes=int(part["minutes"] or 0))
        zone = timezone(-offset if part["sign"] == "-" else offset)
    fraction = (part["fraction"] or "0")[:6].ljust(6, "0") if part["fraction"] else "0"
    return datetime(
        int(part["year"]),
        int(part["month"] or 1),
        int(part["day"] or 1),
        int(part["hour"] or 0),
        int(part["minute"] or 0),
        int(part["second"] or 0),
        int(fraction),
        zone,
    )

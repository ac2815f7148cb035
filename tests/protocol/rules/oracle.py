"""Cron by brute force, and the changes of the zones: what the schedules are checked against.

Knows nothing of how `crontab` searches: it walks every minute of the clocks and asks zoneinfo alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

UTC = timezone.utc
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@cache
def changes(name: str, first: int, last: int) -> tuple[datetime, ...]:
    """The instants (aware, UTC) at which the offset of a zone changes within these years."""
    zone = ZoneInfo(name)
    found = []
    at, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 12, 31, tzinfo=UTC)
    while at < end:
        low, high = at, at + 3 * DAY
        offset = low.astimezone(zone).utcoffset()
        if high.astimezone(zone).utcoffset() != offset:
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                if middle.astimezone(zone).utcoffset() == offset:
                    low = middle
                else:
                    high = middle
            found.append(high.replace(microsecond=0))
        at += 3 * DAY
    return tuple(found)


class Clocks:
    """What the clocks of a zone show in every minute between two instants (aware, UTC), and what they skip."""

    def __init__(self, zone: ZoneInfo, start: datetime, end: datetime) -> None:
        self.start, self.end = start, end
        self.shown: list[tuple[datetime, datetime]] = []
        self.skipped: list[tuple[datetime, datetime]] = []
        at = start
        while at < end:
            self.shown.append((at, at.astimezone(zone)))
            at += MINUTE
        wall = start.replace(tzinfo=None) - 2 * DAY
        while wall < end.replace(tzinfo=None) + 2 * DAY:
            at = wall.replace(tzinfo=zone).astimezone(UTC)
            if start <= at < end and at.astimezone(zone).replace(tzinfo=None) != wall:
                self.skipped.append((at, wall))
            wall += MINUTE

    def occurrences(self, cron) -> list[datetime]:
        """Minutes shown twice count once, or twice for a crontab of every hour; skipped ones count, but later."""
        fields = [
            set(cron.minute),
            set(cron.hour),
            set(cron.day_of_week),
            set(cron.day_of_month),
            set(cron.month_of_year),
        ]
        minute, hour, weekday, day, month = fields

        def agrees(wall: datetime) -> bool:
            return (
                wall.minute in minute
                and wall.hour in hour
                and wall.isoweekday() % 7 in weekday
                and wall.day in day
                and wall.month in month
            )

        twice = len(hour) == 24
        found = {at for at, wall in self.shown if (twice or not wall.fold) and agrees(wall)}
        return sorted(found | {at for at, wall in self.skipped if agrees(wall)})

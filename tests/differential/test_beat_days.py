"""Beat through simulated hours: 300 random schedules beside stock, and both clock changes of every zone by an oracle."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest

from celeriac import Celery
from celeriac.compat.beat import Scheduler
from celeriac.compat.schedules import crontab
from tests.conftest import Environment

PROGRAM = Path(__file__).with_name("beat_days.py")
UTC = timezone.utc
MINUTE = timedelta(minutes=1)


# --- beside stock


def days(python: Path | str, environment: Environment, question: dict[str, Any]) -> list[Any]:
    done = subprocess.run(
        [str(python), "-W", "ignore", str(PROGRAM)],
        input=json.dumps(question),
        env=environment.variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def an_entry(chance: random.Random) -> tuple[str, list[Any]]:
    if chance.random() < 0.3:
        return "every", [chance.choice([45, 90, 600, 1800, 3600, 5400, 7200]), chance.random() < 0.4]
    minute = chance.choice(["*/5", "*/20", "0", "30", "7,37", "1-59/13", "*/15"])
    hour = chance.choice(["*", "*", "*/2", "0", "4", "9-17", "1,3,5", "22-2"])
    day_of_week = chance.choice(["*", "*", "mon-fri", "sun", "1,3,5"])
    day_of_month = chance.choice(["*", "*", "*", "1-15", "*/2"])
    return "cron", [minute, hour, day_of_week, day_of_month, chance.choice(["*", "*", "6", "*/3"])]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
@pytest.mark.real
def test_three_hundred_random_schedules_run_as_in_stock(
    stock_python: Path, celeriac_env: Environment, zone: str
) -> None:
    chance = random.Random(zone)
    entries = [an_entry(chance) for _ in range(100)]
    question = {"zone": zone, "start": "2026-06-14T21:59:31+00:00", "hours": 1, "entries": entries}
    ours = days(sys.executable, celeriac_env, {**question, "ours": True})
    stock = days(stock_python, celeriac_env, {**question, "ours": False})
    assert len(ours) > 150
    # Both act within some hundredths of a second, depending on how many others are due.
    assert runs_of(ours) == runs_of(stock)


def runs_of(sent: list[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for seconds, name in sent:
        found.setdefault(name, []).append(round(seconds))
    return found


# --- by an oracle


class Change(NamedTuple):
    """A moment at which the clocks are turned: the first with the new offset."""

    at: datetime
    before: timedelta | None
    after: timedelta | None


def changes(zone: tzinfo, year: int) -> Iterator[Change]:
    """Those of this year: found day by day, and then by halves."""
    end = datetime(year, 1, 1, tzinfo=UTC)
    for _ in range(365):
        start, end = end, end + timedelta(days=1)
        before, after = start.astimezone(zone).utcoffset(), end.astimezone(zone).utcoffset()
        if before == after:
            continue
        late = end
        while late - start > MINUTE:
            middle = start + (late - start) // MINUTE // 2 * MINUTE
            if middle.astimezone(zone).utcoffset() == before:
                start = middle
            else:
                late = middle
        yield Change(late, before, after)


def oracle(zone: tzinfo, minutes: set[int], hours: set[int], start: datetime, end: datetime) -> list[datetime]:
    """Minute by minute: what the clocks show for the first time, or have just skipped; a rhythm of every hour always."""
    found: set[datetime] = set()
    at = start.replace(second=0, microsecond=0)
    previous = (at - MINUTE).astimezone(zone).utcoffset() or timedelta(0)
    while at <= end:
        shown = at.astimezone(zone)
        offset = shown.utcoffset() or timedelta(0)
        if shown.minute in minutes and shown.hour in hours and (shown.fold == 0 or len(hours) == 24):
            found.add(at)
        skipped = int((offset - previous) / MINUTE)
        for lost in range(max(skipped, 0)):
            wall = at.replace(tzinfo=None) + previous + lost * MINUTE
            if wall.minute in minutes and wall.hour in hours:
                found.add(at + lost * MINUTE)
        previous = offset
        at += MINUTE
    return sorted(each for each in found if start < each <= end)


class Days(Scheduler):
    """Sends nothing, by a clock that the test turns."""

    producer = None
    clock: datetime
    sent: list[tuple[str, datetime]]

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.sent.append((entry.name, self.clock))


def lived_through(
    zone: str, specs: dict[str, tuple[str, str]], start: datetime, end: datetime
) -> dict[str, list[datetime]]:
    app = Celery("days", broker="memory://", set_as_current=False)
    app.conf.update(timezone=zone, result_expires=None)
    scheduler = Days(app, lazy=True, max_interval=300)
    scheduler.clock, scheduler.sent = start, []
    for name, (minute, hour) in specs.items():
        scheduler.add(name=name, task="t", schedule=crontab(minute, hour, nowfun=lambda: scheduler.clock, app=app))
    while scheduler.clock < end + timedelta(seconds=1):
        before = len(scheduler.sent)
        seconds = scheduler.tick()
        if len(scheduler.sent) == before:
            scheduler.clock += timedelta(seconds=max(seconds, 0.005))
    runs: dict[str, list[datetime]] = {name: [] for name in specs}
    for name, at in scheduler.sent:
        runs[name].append(at.replace(second=0, microsecond=0))
        assert at - runs[name][-1] < timedelta(seconds=1)
    return runs


SPECS = {"rhythm": ("*/20", "*"), "night": ("30", "0,1,2,3"), "daily": ("15", "2"), "midnight": ("0", "0")}
FIELDS = {
    "rhythm": ({0, 20, 40}, set(range(24))),
    "night": ({30}, {0, 1, 2, 3}),
    "daily": ({15}, {2}),
    "midnight": ({0}, {0}),
}


def test_both_clock_changes_agree_with_an_oracle_in_every_zone(request: pytest.FixtureRequest) -> None:
    """Zones whose clocks are turned at the same moments by the same hours are one to beat: one of each is lived through.

    In all of them by their own names with `--zones 0`.
    """
    alike: dict[tuple[Change, ...], list[str]] = {}
    for name in sorted(available_timezones()):
        turned = tuple(changes(ZoneInfo(name), 2026))
        if turned:
            alike.setdefault(turned, []).append(name)
    assert len(alike) > 20
    assert {"Europe/Berlin", "Australia/Lord_Howe", "America/New_York"} <= {
        name for each in alike.values() for name in each
    }
    how_many = request.config.getoption("--zones")
    for turned, names in alike.items():
        for name in names if how_many == 0 else names[:how_many]:
            for change in turned:
                start, end = change.at - timedelta(hours=12, seconds=7), change.at + timedelta(hours=12)
                runs = lived_through(name, SPECS, start, end)
                for spec, (minutes, hours) in FIELDS.items():
                    assert runs[spec] == oracle(ZoneInfo(name), minutes, hours, start, end), (name, change, spec)

"""Beat through simulated hours: 300 random schedules beside stock, and both clock changes of many zones by an oracle."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
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


def changes(zone: tzinfo, year: int) -> Iterator[datetime]:
    """The instants of this year at which the clocks are turned, found hour by hour."""
    at = datetime(year, 1, 1, tzinfo=UTC)
    before = at.astimezone(zone).utcoffset()
    for hour in range(1, 366 * 24):
        now = at + timedelta(hours=hour)
        after = now.astimezone(zone).utcoffset()
        if after != before:
            early = now - timedelta(hours=1)
            while (early + MINUTE).astimezone(zone).utcoffset() == before:
                early += MINUTE
            yield early + MINUTE
            before = after


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


def test_both_clock_changes_agree_with_an_oracle_in_many_zones(request: pytest.FixtureRequest) -> None:
    how_many = request.config.getoption("--zones")
    changing = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    chance = random.Random(2026)
    chance.shuffle(changing)
    seen = 0
    for name in ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Africa/Casablanca", *changing]:
        zone = ZoneInfo(name)
        turned = list(changes(zone, 2026))
        if not turned:
            continue
        for change in turned[:2]:
            start = change - timedelta(hours=12, seconds=7)
            end = change + timedelta(hours=12)
            runs = lived_through(name, SPECS, start, end)
            for spec, (minutes, hours) in FIELDS.items():
                assert runs[spec] == oracle(zone, minutes, hours, start, end), (name, change, spec)
        seen += 1
        if seen == how_many:
            break
    assert seen >= 4

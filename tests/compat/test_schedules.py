"""Schedules as beat and its packages use them: the same answers as stock Celery's, and the same pickles."""

from __future__ import annotations

import base64
import pickle
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat import alias, schedules
from celeriac.compat.schedules import (
    BaseSchedule,
    ParseException,
    crontab,
    crontab_parser,
    maybe_schedule,
    schedstate,
    schedule,
    solar,
)
from tests.compat.stock import ask

NOW = datetime(2026, 11, 21, 9, 20, 30, tzinfo=timezone.utc)


def app_at(now: datetime, deadline: float | None = None) -> Any:
    conf = SimpleNamespace(enable_utc=True, beat_cron_starting_deadline=deadline)
    return SimpleNamespace(timezone=timezone.utc, conf=conf, now=lambda: now)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def _aliased() -> Iterator[None]:
    alias.install()
    yield
    alias.uninstall()


def random_schedules(chance: random.Random) -> Iterator[str]:
    minutes = ["*", "*/5", "0", "1,13,30-45,50-59/2", "59", "7-12"]
    hours = ["*", "*/3", "0,8-17/2", "23", "22-2"]
    weekdays = ["*", "mon-fri", "sun", "1,3", "sat-mon", "thursday"]
    days = ["*", "1-7,15-21", "31", "2-30/3"]
    months = ["*", "*/3", "feb-apr", "2", "dec-jan"]
    for _ in range(150):
        fields = [repr(chance.choice(group)) for group in (minutes, hours, weekdays, days, months)]
        if chance.random() < 0.5:
            fields[3] = fields[4] = "'*'"
        yield f"s.crontab({', '.join(fields)}, nowfun=now, app=app)"
    for seconds in (0.5, 1, 30, 90, 3600, 5400, 86400, 129600, 604800):
        for relative in (False, True):
            yield f"s.schedule({seconds}, {relative}, nowfun=now, app=app)"


ASKED = [
    (source, chance.randrange(0, 40_000_000) / 10, chance.randrange(0, 400))
    for chance in [random.Random(5)]
    for source in random_schedules(chance)
    if source.count("31") == 0 or "2" not in source.rpartition(", '")[2]
]

PROGRAM = """
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
import celery.schedules as s
base = datetime(2026, 11, 21, 9, 20, 30, tzinfo=timezone.utc)
answer = []
for source, last, later in question:
    moment = base + timedelta(seconds=later * 977)
    now = lambda: moment
    conf = SimpleNamespace(enable_utc=True, beat_cron_starting_deadline=None)
    app = SimpleNamespace(timezone=timezone.utc, conf=conf, now=now)
    try:
        made = eval(source)
        due = made.is_due(moment - timedelta(seconds=last))
        answer.append([repr(made), due.is_due, round(due.next, 3)])
    except Exception as error:
        answer.append([type(error).__name__])
"""


def test_random_schedules_are_due_when_stock_celerys_are(stock_python: Path) -> None:
    theirs = ask(stock_python, PROGRAM, ASKED)
    mine: dict[str, Any] = {"question": ASKED}
    exec(PROGRAM.replace("import celery.schedules as s", "from celeriac.compat import schedules as s"), mine)
    different = [(asked, a, b) for asked, a, b in zip(ASKED, theirs, mine["answer"], strict=True) if a != b]
    assert different == []


PARSED = [
    "*",
    "*/15",
    "1-5",
    "5-1",
    "1,3",
    "",
    "1,",
    "*/",
    "-1",
    "1-5/2",
    "5/2",
    "99",
    "mon",
    "mon-fri",
    "x",
    "*/x",
    "1-99",
]
PARSERS = [(60, 0), (24, 0), (7, 0), (31, 1), (12, 1)]


def test_fields_are_read_as_stock_celery_reads_them(stock_python: Path) -> None:
    program = (
        "from celery.schedules import crontab_parser, ParseException\n"
        "answer = []\n"
        "for size, low, text in question:\n"
        "    try:\n        answer.append(sorted(crontab_parser(size, low).parse(text)))\n"
        "    except Exception as error:\n        answer.append(type(error).__name__)"
    )
    question = [(size, low, text) for size, low in PARSERS for text in PARSED]
    for (size, low, text), theirs in zip(question, ask(stock_python, program, question), strict=True):
        try:
            mine: Any = sorted(crontab_parser(size, low).parse(text))
        except Exception as error:
            mine = type(error).__name__
        assert mine == theirs, (size, low, text)


@pytest.mark.usefixtures("_aliased")
def test_pickles_cross_between_both(stock_python: Path) -> None:
    sources = [
        "s.crontab(minute='*/5', hour=[1, 2], day_of_week='mon')",
        "s.schedule(30)",
        "s.schedule(timedelta(days=1), relative=True)",
        "s.solar('sunset', 52.5, 13.4)",
        "s.schedstate(True, 3.0)",
    ]
    program = (
        "import base64, pickle, celery.schedules as s\n"
        "from datetime import timedelta\n"
        "sources, pickles = question\n"
        "read = [repr(pickle.loads(base64.b64decode(p))) for p in pickles]\n"
        "made = [s for s in sources if 'solar' not in s]\n"
        "answer = [read, [base64.b64encode(pickle.dumps(eval(m))).decode() for m in made]]"
    )
    mine = [eval(source, {"s": schedules, "timedelta": timedelta}) for source in sources]
    sent = [made for made in mine if not isinstance(made, solar)]  # stock needs the ephem library to read one
    pickles = [base64.b64encode(pickle.dumps(made)).decode() for made in sent]
    read, theirs = ask(stock_python, program, [sources, pickles])
    assert read == [repr(made) for made in sent]
    assert [pickle.loads(base64.b64decode(data)) for data in theirs] == sent
    assert all(pickle.loads(pickle.dumps(made)) == made for made in mine)


def test_a_deadline_leaves_out_what_is_too_old() -> None:
    hourly = {"minute": 0}
    late = app_at(NOW, deadline=60)
    assert not crontab(**hourly, app=late).is_due(at(-7200))[0]
    assert crontab(**hourly, app=app_at(NOW, deadline=3600)).is_due(at(-7200)) == schedstate(True, 2370.0)
    on_time = NOW.replace(minute=0, second=0)
    assert crontab(**hourly, app=app_at(on_time, deadline=0)).is_due(at(-7200))[0]


def test_what_subclasses_override_is_asked() -> None:
    class Soon(schedule):
        def remaining_estimate(self, last_run_at: datetime) -> timedelta:
            return timedelta(seconds=7)

    assert Soon(30, app=app_at(NOW)).is_due(NOW) == schedstate(False, 7.0)

    class Zoned(crontab):
        def __init__(self, *args: Any, tz: Any = None, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.tz = tz

    zone = timezone(timedelta(hours=2))
    assert Zoned(0, 12, tz=zone, nowfun=lambda: NOW, app=app_at(NOW)).is_due(at(-3600)) == schedstate(False, 2370.0)


def test_the_next_run_as_a_change_of_the_last() -> None:
    last, delta, now = crontab(0, 3, app=app_at(NOW)).remaining_delta(NOW)
    assert last + delta == datetime(2026, 11, 22, 3, tzinfo=timezone.utc)
    assert now == NOW


def test_equality() -> None:
    assert crontab(minute="*/15") == crontab(minute="0,15,30,45")
    assert crontab(minute=1) != crontab(minute=2)
    assert crontab(minute=1, nowfun=int) != crontab(minute=1)
    assert schedule(30) == schedule(timedelta(seconds=30)) == timedelta(seconds=30)
    assert schedule(30) != schedule(31)
    assert solar("sunset", 1, 2) == solar("sunset", 1, 2) != solar("sunrise", 1, 2)
    assert (crontab() == 3, solar("sunset", 1, 2) == 3) == (False, False)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: crontab(minute=60), ValueError),
        (lambda: crontab(minute=1.5), TypeError),
        (lambda: crontab(minute=[]), ValueError),
        (lambda: crontab(minute=""), ParseException),
        (lambda: crontab(minute="*/0"), ValueError),
        (lambda: crontab(day_of_month=31, month_of_year=2), ValueError),
        (lambda: crontab.from_string("* * *"), ValueError),
        (lambda: solar("noon", 1, 2), ValueError),
        (lambda: solar("sunset", 91, 2), ValueError),
        (lambda: solar("sunset", 1, 181), ValueError),
        (lambda: BaseSchedule().is_due(NOW), NotImplementedError),
        (lambda: BaseSchedule().remaining_estimate(NOW), NotImplementedError),
    ],
)
def test_what_is_no_schedule(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_from_a_cron_line() -> None:
    assert crontab.from_string("5 4 1 */2 mon") == crontab(5, 4, "mon", 1, "*/2")


def test_what_may_be_a_schedule() -> None:
    app = app_at(NOW)
    assert maybe_schedule(None) is None
    assert maybe_schedule(30, app=app) == schedule(30)
    assert maybe_schedule(timedelta(hours=1), relative=True).relative
    mine = crontab()
    assert maybe_schedule(mine, app=app) is mine
    assert mine.app is app
    assert (mine.tz, mine.utc_enabled, mine.to_local(NOW)) == (timezone.utc, True, NOW)


def test_the_sun(stock_python: Path) -> None:
    sunset = solar("sunset", 52.5, 13.4, nowfun=lambda: NOW, app=app_at(NOW))
    due, after = sunset.is_due(NOW)
    assert not due
    assert at(after).hour == 15
    assert sunset.is_due(at(-86400))[0]
    assert solar._all_events >= {"sunrise", "solar_noon", "dusk_civil"}

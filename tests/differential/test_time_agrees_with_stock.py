"""10,000 random questions of time to stock Celery and to us: equal answers, or a difference of a kind listed here.

`DIFFERENCES` names each bug of stock Celery with a reason and with the condition under which it shows. A case that
differs must meet exactly such a condition, and every one of them must be seen, so that none outlives its bug.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest

from celeriac.compat.app.base import Celery
from celeriac.compat.app.context import Context
from celeriac.compat.exceptions import Retry
from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.crontab import crontab
from celeriac.protocol.rules.retry import backoff, wait_before
from celeriac.protocol.rules.schedules import interval
from tests.protocol.rules.oracle import changes

UTC = timezone.utc
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SCRIPT = Path(__file__).with_name("stock_times.py")
ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Havana",
)
COUNTS = {"cron": 5200, "fields": 800, "interval": 2000, "retry": 800, "backoff": 1000, "waits": 200}


# --- the questions ----------------------------------------------------------------------------------------------


def moments(chance: random.Random, zone: str) -> tuple[str, str]:
    """A last run and a present, half of them close to a change of the zone's clocks."""
    near = changes(zone, 2008, 2031)
    if near and chance.random() < 0.5:
        last = chance.choice(near) + chance.choice((chance.uniform(-30, 6), chance.uniform(-1, 1))) * HOUR
    else:
        last = datetime(2010, 1, 1, tzinfo=UTC) + chance.random() * 7300 * DAY
    if chance.random() < 0.5:
        last = last.replace(second=0, microsecond=0)
    reach = chance.choice((timedelta(minutes=3), 3 * HOUR, 2 * DAY, 40 * DAY))
    now = last + chance.random() * reach
    if chance.random() < 0.2:
        now = now.replace(second=0, microsecond=0)
    return last.isoformat(), max(last, now).isoformat()


def numbers(chance: random.Random, lowest: int, highest: int) -> str:
    def part() -> str:
        low, high = chance.randint(lowest, highest), chance.randint(lowest, highest)
        step = chance.randint(1, 12)
        return chance.choice((f"{low}", f"{low}", f"{low}-{high}", f"{low}-{high}/{step}", f"*/{step}"))

    return ",".join(part() for _ in range(chance.choice((1, 1, 1, 2, 3))))


def some(chance: random.Random, lowest: int, highest: int, often: float, names: tuple[str, ...] = ()) -> Any:
    """A field: mostly `*` with a likelihood of `often`, else a number, a text or a list of numbers."""
    if chance.random() < often:
        return "*"
    if names and chance.random() < 0.3:
        return f"{chance.choice(names)}-{chance.choice(names)}"
    if chance.random() < 0.2:
        return [chance.randint(lowest, highest) for _ in range(chance.randint(1, 4))]
    return chance.choice((chance.randint(lowest, highest), numbers(chance, lowest, highest)))


def cron_fields(chance: random.Random) -> list[Any]:
    return [
        some(chance, 0, 59, 0.2),
        some(chance, 0, 23, 0.4),
        some(chance, 0, 6, 0.6, ("sun", "Mon", "tuesday", "wed", "thu", "fri", "sat")),
        some(chance, 1, 31, 0.6),
        some(chance, 1, 12, 0.6, ("jan", "feb", "March", "sep", "december")),
    ]


def ask_cron(chance: random.Random) -> dict[str, Any]:
    zone = chance.choice(ZONES)
    last, now = moments(chance, zone)
    deadline = chance.choice((None, None, 0, 60, 3600, 86400, 1e6))
    return {"fields": cron_fields(chance), "zone": zone, "last": last, "now": now, "deadline": deadline}


def ask_fields(chance: random.Random) -> dict[str, Any]:
    fields = cron_fields(chance)
    odd = (
        "",
        "1,,2",
        "*/0",
        "*/",
        "1-",
        "-3",
        "61",
        "x",
        "1-5/",
        "mond",
        "*5",
        "1/2",
        "0-70",
        "5-x",
        " 3",
        "1, 2",
        "*/15/2",
        "1-2-3",
        "1-5/2-3",
    )
    if chance.random() < 0.5:
        fields[chance.randrange(5)] = chance.choice((*odd, 99, -1, [1, 99], []))
    return {"fields": fields}


def ask_interval(chance: random.Random) -> dict[str, Any]:
    zone = chance.choice(ZONES)
    last, now = moments(chance, zone)
    unit = chance.choice((1, 60, 3600, 86400))
    seconds = chance.choice((unit * chance.randint(1, 50), unit * chance.uniform(0.1, 10), chance.choice((0, -1, 0.5))))
    return {"seconds": seconds, "relative": chance.random() < 0.6, "zone": zone, "last": last, "now": now}


def ask_retry(chance: random.Random) -> dict[str, Any]:
    policy = {
        "max_retries": chance.choice((None, 0, 1, 3, 10, "absent")),
        "default_retry_delay": chance.choice((0, 5, 180, 1.5, "absent")),
        "retry_backoff": chance.choice((True, False, 0, 0.5, 2, 3.7, 60, -2, "absent")),
        "retry_backoff_max": chance.choice((600, 5, 0, 10**6, "absent")),
        "retry_jitter": chance.choice((True, False, "absent")),
        "retry_kwargs": chance.choice(
            ({}, {"countdown": 7}, {"max_retries": 5}, {"countdown": 0, "max_retries": 1}, "absent")
        ),
    }
    return {"policy": policy, "retries": chance.choice((0, 1, 2, 3, 4, 9, 30)), "chance": chance.random()}


def ask_backoff(chance: random.Random) -> dict[str, Any]:
    return {
        "factor": chance.choice((0, 1, 2, 3, 10, 700)),
        "retries": chance.randint(0, 40),
        "maximum": chance.choice((600, 5, 0, 1, 3600, 10**9)),
        "jitter": chance.random() < 0.5,
        "chance": chance.random(),
    }


def ask_waits(chance: random.Random) -> dict[str, Any]:
    return {
        "max_retries": chance.randint(0, 12),
        "interval_start": chance.choice((0, 0.2, 1, 3)),
        "interval_step": chance.choice((0.2, 0.3, 1, 0)),
        "interval_max": chance.choice((0, 0.5, 1, 2)),
    }


ASK: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "cron": ask_cron,
    "fields": ask_fields,
    "interval": ask_interval,
    "retry": ask_retry,
    "backoff": ask_backoff,
    "waits": ask_waits,
}


# --- our answers ------------------------------------------------------------------------------------------------


def moment(case: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(case[name])


def our_cron(case: dict[str, Any]) -> list[Any]:
    cron, zone = crontab(*case["fields"]), ZoneInfo(case["zone"])
    last, now = moment(case, "last"), moment(case, "now")
    due = cron.is_due(last, now, zone, case["deadline"])
    return [cron.remaining_estimate(last, now, zone).total_seconds(), *due]


def our_fields(case: dict[str, Any]) -> list[list[int]]:
    cron = crontab(*case["fields"])
    fields = (cron.minute, cron.hour, cron.day_of_week, cron.day_of_month, cron.month_of_year)
    return [list(field) for field in fields]


def our_interval(case: dict[str, Any]) -> list[Any]:
    every, zone = interval(case["seconds"], case["relative"]), ZoneInfo(case["zone"])
    last, now = moment(case, "last"), moment(case, "now")
    return [every.remaining_estimate(last, now, zone).total_seconds(), *every.is_due(last, now, zone)]


class Sent:
    """What a retry sends: its options alone are looked at."""

    args, kwargs = (), {}

    def __init__(self, **options: Any) -> None:
        self.options = options

    def apply_async(self) -> None: ...


APP = Celery("times", set_as_current=False)


def our_retry(case: dict[str, Any]) -> Any:
    policy = {name: value for name, value in case["policy"].items() if value != "absent"}

    @APP.task(bind=True, name="t", shared=False, autoretry_for=(KeyError,), **policy)
    def task(_self: Any) -> None:
        raise KeyError

    sent: list[Sent] = []

    def asked(*_: Any, **options: Any) -> Sent:
        sent.append(Sent(**options))
        return sent[-1]

    task.signature_from_request = asked
    task.request_stack.push(Context(id="i", called_directly=False, is_eager=False, retries=case["retries"]))
    try:
        with patch("random.random", lambda: case["chance"]):
            task.run()
    except Retry:
        return [sent[-1].options["countdown"], sent[-1].options["retries"]]
    except KeyError:
        return "exhausted"
    finally:
        task.request_stack.pop()
        APP.tasks.unregister("t")
    raise AssertionError("an automatic retry raises")


def our_backoff(case: dict[str, Any]) -> int:
    return backoff(case["factor"], case["retries"], case["maximum"], case["chance"] if case["jitter"] else None)


def our_waits(case: dict[str, Any]) -> list[float]:
    policy = [case[name] for name in ("interval_start", "interval_step", "interval_max")]
    return [wait_before(tries, *policy) for tries in range(case["max_retries"])]


OURS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "cron": our_cron,
    "fields": our_fields,
    "interval": our_interval,
    "retry": our_retry,
    "backoff": our_backoff,
    "waits": our_waits,
}


def our_answer(case: dict[str, Any]) -> Any:
    try:
        return OURS[case["kind"]](case)
    except BadCall:
        return {"error": "BadCall"}


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict) or isinstance(ours, dict):
        return isinstance(theirs, dict) and isinstance(ours, dict)
    return (
        bool(ours == pytest.approx(theirs, abs=1e-6))
        if isinstance(theirs, list) and ours != theirs
        else bool(ours == theirs)
    )


def stock_answers(python: Path, cases: list[dict[str, Any]]) -> list[Any]:
    done = subprocess.run(
        [str(python), str(SCRIPT)], input=json.dumps(cases), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(cases)
    return answers


# --- the differences --------------------------------------------------------------------------------------------


def asked_from(case: dict[str, Any]) -> list[datetime]:
    """The instants from which the next occurrence was sought for this answer, in the case's zone."""
    last, now = moment(case, "last"), moment(case, "now")
    instants = [last, now]
    if case["deadline"] is not None:
        instants.append(now - timedelta(seconds=case["deadline"], microseconds=1))
    return [when.astimezone(ZoneInfo(case["zone"])) for when in instants]


def in_a_second_hour(case: dict[str, Any]) -> bool:
    return case["kind"] == "cron" and any(when.fold for when in asked_from(case))


def before_a_second_hour(case: dict[str, Any]) -> bool:
    if case["kind"] != "cron":
        return False
    cron, zone = crontab(*case["fields"]), ZoneInfo(case["zone"])
    return len(cron.hour) == 24 and any(cron.next(when, zone).fold for when in asked_from(case))


def after_a_gap(case: dict[str, Any]) -> bool:
    """Whether the clocks jumped by so much, shortly before, that a skipped time is still owed."""
    if case["kind"] != "cron":
        return False
    cron, zone = crontab(*case["fields"]), ZoneInfo(case["zone"])
    for when in asked_from(case):
        owed = cron.next(when, zone).astimezone(UTC)
        for change in changes(case["zone"], owed.year, owed.year):
            jump = change.astimezone(zone).utcoffset() - (change - HOUR).astimezone(zone).utcoffset()
            if change <= when.astimezone(UTC) and change <= owed < change + jump:
                return True
    return False


def with_a_foreign_name(case: dict[str, Any]) -> bool:
    if case["kind"] != "fields":
        return False
    texts = [str(field) if isinstance(field, str) else "" for field in case["fields"]]
    minute, hour, weekday, day, month = texts
    return (
        any(character.isalpha() for character in minute + hour + day)
        or any(name in weekday.lower() for name in ("jan", "feb"))
        or any(name in month.lower() for name in ("mon", "tue"))
    )


def with_trailing_text(case: dict[str, Any]) -> bool:
    return case["kind"] == "fields" and any(field in ("*/15/2", "1-2-3", "1-5/2-3") for field in case["fields"])


def with_no_value(case: dict[str, Any]) -> bool:
    return case["kind"] == "fields" and [] in case["fields"]


DIFFERENCES: dict[Callable[[dict[str, Any]], bool], str] = {
    in_a_second_hour: (
        "Celery drops the fold when it adds to a moment, so that from within the second of two equal hours the next "
        "occurrence lies in the first one, in the past: beat then sends the task over and over for up to an hour"
    ),
    before_a_second_hour: (
        "Celery reads every wall time as its first occurrence, so that even a task of every minute pauses for the "
        "hour that the clocks repeat"
    ),
    after_a_gap: (
        "Celery runs a time that the clocks skip as much later as they jumped, but forgets it when it is asked "
        "after the jump: the second of two skipped times, and one that beat was restarted before, are lost"
    ),
    with_a_foreign_name: (
        "Celery looks every word up among months first and weekdays second, whatever the field: minute='mon' is "
        "minute 1, and day_of_week='jan' is Monday"
    ),
    with_trailing_text: "Celery reads the start of '*/15/2' or '1-2-3' and ignores the rest",
    with_no_value: "Celery accepts an empty list, and fails when beat first asks when it is due",
}


def test_stock_celery_agrees_or_is_wrong_in_a_known_way(stock_python: Path) -> None:
    chance = random.Random(2026)
    cases = [{"kind": kind, **ASK[kind](chance)} for kind, count in COUNTS.items() for _ in range(count)]
    assert len(cases) == 10_000
    seen: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    for case, theirs in zip(cases, stock_answers(stock_python, cases), strict=True):
        ours = our_answer(case)
        if same(ours, theirs):
            equal[case["kind"]] += 1
            continue
        excuse = next((excuse.__name__ for excuse in DIFFERENCES if excuse(case)), None)
        assert excuse, f"{case}\nours:   {ours}\ntheirs: {theirs}"
        seen[excuse] += 1
    assert set(seen) == {excuse.__name__ for excuse in DIFFERENCES}, f"no longer seen: {seen}"
    assert seen.total() < 250, seen
    assert set(equal) == set(COUNTS)


def test_both_answers_vary(stock_python: Path) -> None:
    """The questions are worth asking: due and not due, retried and exhausted, accepted and refused."""
    chance = random.Random(7)
    cases = [{"kind": kind, **ASK[kind](chance)} for kind in COUNTS for _ in range(60)]
    kinds: dict[str, set[str]] = {kind: set() for kind in COUNTS}
    for case, theirs in zip(cases, stock_answers(stock_python, cases), strict=True):
        shape = theirs[1] if case["kind"] in ("cron", "interval") else type(theirs)
        kinds[case["kind"]].add(str(shape if case["kind"] != "backoff" else theirs > 5))
    assert {kind for kind, shapes in kinds.items() if len(shapes) < 2} == {"waits"}

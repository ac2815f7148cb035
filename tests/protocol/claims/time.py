"""Time in the captures: Celery's countdowns and waits, the retries that it published, and what beat sent when."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

from celeriac.protocol.rules.crontab import from_string
from celeriac.protocol.rules.retry import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_RETRY_DELAY,
    Again,
    Exhausted,
    backoff,
    retry,
    wait_before,
)
from celeriac.protocol.rules.schedules import interval
from tests.protocol.vectors import Tally, Vector, claim

UTC = timezone.utc


@claim("misc/formulas-and-defaults")
def formulas(vector: Vector, tally: Tally) -> None:
    found = vector.capture
    for label, countdowns in found["backoff_no_jitter"].items():
        factor, _, maximum = label.partition(" max ")
        ours = [backoff(int(factor), retries, int(maximum or 600)) for retries in range(len(countdowns))]
        assert ours == countdowns
        tally.saw("retry countdowns", rebuilt=True)
    for label, (lowest, highest, mean) in found["backoff_jitter_range"].items():
        factor, retries = map(int, re.findall(r"\d+", label))
        ours = [backoff(factor, retries, 600, chance / 1000) for chance in range(1000)]
        assert (ours[0], ours[-1]) == (lowest, highest)
        assert abs(sum(ours) / len(ours) - mean) < 0.05 * highest
        tally.saw("retry countdowns with jitter", rebuilt=True)
    policy = found["publish_retry_policy"]
    intervals = [policy[name] for name in ("interval_start", "interval_step", "interval_max")]
    assert [wait_before(tries) for tries in range(policy["max_retries"])] == found["publish_intervals"][:3]
    longer = [wait_before(tries, *intervals) for tries in range(len(found["publish_intervals"]))]
    assert longer == found["publish_intervals"]
    tally.saw("publishing waits", rebuilt=True)
    defaults = found["task_defaults"]
    assert (str(DEFAULT_MAX_RETRIES), str(DEFAULT_RETRY_DELAY)) == (
        defaults["max_retries"],
        defaults["default_retry_delay"],
    )
    tally.saw("retry defaults")


# The policies of the captured tasks, as their captions say them.
DECIDE: dict[str, Callable[[int], Again | Exhausted]] = {
    "redis/seq/task-retry": lambda retries: retry(retries, countdown=0.5),
    "redis/seq/task-retry-countdown0": lambda retries: retry(retries, countdown=0),
    "redis/seq/task-retry-exhausted": lambda retries: retry(retries, 1, 0.3),
    "redis/seq/task-retry-options": lambda retries: retry(retries, countdown=0.3),
    "redis/seq/task-autoretry": lambda retries: retry(retries, 2, countdown=backoff(2, retries, 5)),
}


@claim(*DECIDE)
def retries(vector: Vector, tally: Tally) -> None:
    """Each retry was published to run when we would have it run; a task that failed for good was exhausted."""
    decide = DECIDE[vector.case]
    attempts, states = attempts_and_states(vector)
    assert len(attempts) > 1
    for published, headers in attempts[1:]:
        decision = decide(headers["retries"] - 1)
        assert isinstance(decision, Again)
        assert decision.retries == headers["retries"]
        if decision.countdown == 0:
            assert headers["eta"] is None
        else:
            asked = datetime.fromisoformat(headers["eta"]).timestamp() - published
            assert decision.countdown is not None
            assert abs(asked - decision.countdown) < 0.1
        tally.saw("retry decisions")
    if states[-1] == "FAILURE":
        assert isinstance(decide(len(attempts) - 1), Exhausted)
        tally.saw("retry decisions")


def attempts_and_states(vector: Vector) -> tuple[list[tuple[float, dict[str, Any]]], list[str]]:
    """The messages of the task that is retried, with the times of their publishing, and its states, in order."""
    attempts: list[tuple[float, dict[str, Any]]] = []
    states = []
    for command in vector.commands():
        if command.name == "LPUSH" and command.args[1].split(b"\x06")[0] == b"celery":
            headers = json.loads(command.args[2])["headers"]
            if not attempts or headers["id"] == attempts[0][1]["id"]:
                attempts.append((command.record["t"], headers))
        if command.name == "SETEX" and attempts and command.args[1].endswith(attempts[0][1]["id"].encode()):
            states.append(json.loads(command.args[3])["status"])
    return attempts, states


@claim("beat/run")
def beat(vector: Vector, tally: Tally) -> None:
    """Every entry was sent when its schedule is due for us, and none that is not due was sent."""
    entries = vector.capture["shelve"][0]["entries"]
    sent: dict[str, list[datetime]] = {}
    for line in vector.capture["beat_log"]:
        if found := re.match(r"\[(.*?): INFO/.* Sending due task (\S+) ", line):
            when = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)
            sent.setdefault(found[2], []).append(when)
    for name, seconds in re.findall(r"ScheduleEntry: (\S+) [^<]*<freq: ([\d.]+) second", entries):
        every = interval(float(seconds))
        for last, now in pairwise(sent[name]):
            assert every.is_due(last, now + timedelta(milliseconds=20), UTC).is_due
            assert not every.is_due(last, now - timedelta(milliseconds=200), UTC).is_due
            tally.saw("beat intervals")
    nightly = re.findall(r"ScheduleEntry: (\S+) [^<]*<crontab: ([^(]*) \(m/h/dM/MY/d\)>", entries)
    assert {name for name, _ in nightly} == {"nightly", "celery.backend_cleanup"}
    first, last = min(map(min, sent.values())), max(map(max, sent.values()))
    for name, line in nightly:
        answer = from_string(line).is_due(first, last, UTC)
        four = last.replace(hour=4, minute=0, second=0, microsecond=0)
        assert name not in sent
        assert answer == (False, (four - last).total_seconds())
        tally.saw("beat crontabs")

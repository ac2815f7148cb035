"""Asks stock Celery when things are due. Run by Celery's own python, never imported.

Reads one JSON list of cases on stdin and prints one JSON list of answers: a number or list, or {"error": type name}.
Moments are ISO texts with an offset; they are shown in the case's zone before Celery sees them.
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from celery import Celery
from celery.schedules import crontab, schedule
from celery.utils.time import get_exponential_backoff_interval
from kombu.utils.functional import retry_over_time

app = Celery(set_as_current=False)


def moment(text, zone):
    return datetime.fromisoformat(text).astimezone(timezone.utc).astimezone(ZoneInfo(zone))


def answer(entry, case):
    last = moment(case["last"], case["zone"])
    due = entry.is_due(last)
    return [entry.remaining_estimate(last).total_seconds(), bool(due.is_due), due.next]


def cron(case):
    app.conf.beat_cron_starting_deadline = case["deadline"]
    entry = crontab(*case["fields"], nowfun=lambda: moment(case["now"], case["zone"]), app=app)
    entry.__dict__["tz"] = ZoneInfo(case["zone"])
    return answer(entry, case)


def fields(case):
    entry = crontab(*case["fields"], app=app)
    return [sorted(getattr(entry, name)) for name in ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")]


def interval(case):
    run_every = timedelta(seconds=case["seconds"])
    entry = schedule(run_every, case["relative"], nowfun=lambda: moment(case["now"], case["zone"]), app=app)
    entry.__dict__["tz"] = ZoneInfo(case["zone"])
    return answer(entry, case)


def retry(case):
    """One autoretry, as a worker does it: what the exception became."""
    random.randrange = lambda stop: int(case["chance"] * stop)

    @app.task(
        bind=True,
        name="t",
        shared=False,
        autoretry_for=(KeyError,),
        **{name: value for name, value in case["policy"].items() if value != "absent"},
    )
    def task(self):
        raise KeyError

    sent = {}
    task.signature_from_request = lambda *a, **options: Sent(sent, options)
    task.request_stack.push(Request(case["retries"]))
    try:
        task.run()
    except KeyError:
        return "exhausted"
    except Exception as exc:
        if type(exc).__name__ != "Retry":
            raise
        return [sent["countdown"], sent["retries"]]
    finally:
        task.request_stack.pop()
        app.tasks.pop("t")
    raise AssertionError("an autoretry raises")


class Request:
    called_directly = is_eager = False
    id, args, kwargs, callbacks, errbacks = "i", (), {}, None, None

    def __init__(self, retries):
        self.retries = retries


class Sent:
    args, kwargs = (), {}

    def __init__(self, sent, options):
        self.sent, self.options = sent, options

    def apply_async(self):
        self.sent.update(self.options)


def backoff(case):
    random.randrange = lambda stop: int(case["chance"] * stop)
    return get_exponential_backoff_interval(case["factor"], case["retries"], case["maximum"], case["jitter"])


def waits(case):
    seen = []

    def fail():
        raise KeyError

    def note(exc, intervals, retries):
        seen.append(min(next(intervals), float(case["interval_max"])))
        return 0

    try:
        retry_over_time(fail, KeyError, errback=note, **{k: v for k, v in case.items() if k != "kind"})
    except KeyError:
        return seen


KINDS = {"cron": cron, "fields": fields, "interval": interval, "retry": retry, "backoff": backoff, "waits": waits}


def main():
    answers = []
    for case in json.load(sys.stdin):
        try:
            answers.append(KINDS[case["kind"]](case))
        except Exception as exc:  # noqa: PERF203 - one bad case must not end the others
            answers.append({"error": type(exc).__name__})
    json.dump(answers, sys.stdout)


main()

"""Runs a scheduler through hours of a clock that a test turns. Run by stock Celery's python and by ours, never imported.

Reads one JSON object on stdin: `ours`, `zone`, `start`, `hours` and `entries`, each a kind and its arguments. Prints a
JSON list of what was sent: seconds since the start, and the entry's name.
"""

import json
import sys
from datetime import datetime, timedelta, timezone

question = json.load(sys.stdin)
if question["ours"]:
    import celeriac

    celeriac.install()

from celery import Celery  # noqa: E402 - ours takes its name first
from celery.beat import Scheduler  # noqa: E402 - ours takes its name first
from celery.schedules import crontab, schedule  # noqa: E402 - ours takes its name first


class Clock:
    def __init__(self, at):
        self.at = at

    def __call__(self):
        return self.at


app = Celery("days", broker="memory://", set_as_current=False)
app.conf.update(timezone=question["zone"], result_expires=None)
start = datetime.fromisoformat(question["start"]).astimezone(timezone.utc)
clock = Clock(start)
sent = []


class Days(Scheduler):
    producer = None

    def apply_entry(self, entry, producer=None):
        sent.append([round((clock.at - start).total_seconds(), 1), entry.name])


def made(kind, arguments):
    if kind == "cron":
        return crontab(*arguments, nowfun=clock, app=app)
    seconds, relative = arguments
    return schedule(timedelta(seconds=seconds), relative, nowfun=clock, app=app)


app.conf.beat_schedule = {
    str(number): {"task": "t", "schedule": made(*entry)} for number, entry in enumerate(question["entries"])
}
scheduler = Days(app, max_interval=300)
end = start + timedelta(hours=question["hours"])
while clock.at < end:
    before = len(sent)
    seconds = scheduler.tick()
    if len(sent) == before:
        clock.at += timedelta(seconds=max(seconds, 0.002))
json.dump(sent, sys.stdout)

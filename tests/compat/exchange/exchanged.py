"""An app as users write it: it knows `celery`, and nothing else. Run by either Celery, never imported by the tests.

BROKER, BACKEND and NOTES in the environment say where, SERIALIZER how results are written; what happens in the worker is
noted in the list `notes`.
"""

import json
import os
import time

import redis
from celery import Celery, chain, chord, group, signals
from celery.exceptions import Ignore, Reject
from celery.schedules import crontab, schedule
from celery.worker.control import control_command, inspect_command

app = Celery("exchanged", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    accept_content=["json", "pickle"],
    beat_schedule={
        "often": {"task": "exchanged.echo", "schedule": 30.0, "args": ["beat"], "options": {"headers": {"by": "beat"}}},
        "nightly": {"task": "exchanged.echo", "schedule": crontab(minute="*/5", hour="3,4"), "kwargs": {"k": 1}},
        "pieces": {"task": "exchanged.echo", "schedule": schedule(7)},
    },
    result_accept_content=["json", "pickle"],
    result_extended=True,
    result_serializer=os.environ["SERIALIZER"],
    task_send_sent_event=True,
    task_track_started=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    worker_send_task_events=True,
)


def note(*what):
    with redis.Redis.from_url(os.environ["NOTES"]) as client:
        client.rpush("notes", json.dumps(what))


class Point:
    """A class of the user's, which pickles carry."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return (self.x, self.y) == (other.x, other.y)

    __hash__ = None

    def __repr__(self):
        return f"Point({self.x}, {self.y})"


class Own(Exception):
    """An exception of the user's."""


class Odd(Exception):
    """One whose arguments are not those that it is made with."""

    def __init__(self, one, two):
        super().__init__(f"{one}-{two}")


@app.task
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(serializer="pickle")
def keep(value):
    """Pickled both ways."""
    return value


@app.task
def add(*numbers):
    return sum(number if isinstance(number, int) else sum(number) for number in numbers)


@app.task(bind=True)
def about(self, *args, **kwargs):
    """What a task sees of its call."""
    request = self.request
    seen = {
        name: getattr(request, name)
        for name in (
            "argsrepr", "args", "eta", "expires", "group", "group_index", "headers", "ignore_result", "is_eager",
            "kwargs", "kwargsrepr", "lang", "loglevel", "parent_id", "replaced_task_nesting", "retries", "root_id",
            "shadow", "stamped_headers", "stamps", "task", "timelimit",
        )
    }  # fmt: skip
    info = {name: request.delivery_info.get(name) for name in ("exchange", "routing_key", "priority", "redelivered")}
    return {**seen, "delivery_info": info, "same_id": request.correlation_id == request.id, "name": self.name}


@app.task(bind=True)
def fail(self, kind):
    raise {
        "builtin": ValueError("v", 1),
        "nested": KeyError("k", {"a": [1]}),
        "own": Own("o", 2),
        "odd": Odd("a", "b"),
        "strange": RuntimeError(object),
        "system": OSError(2, "No such thing", "file"),
    }[kind]


@app.task(bind=True, max_retries=2)
def stubborn(self):
    raise self.retry(exc=Own("never"), countdown=0)


@app.task(bind=True)
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0.1, kwargs={}, args=())
    return self.request.retries


@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 3})
    note("progress", self.request.id)
    with redis.Redis.from_url(os.environ["NOTES"]) as client:
        client.blpop(f"go:{self.request.id}", 20)
    return "done"


@app.task(soft_time_limit=1)
def slow(seconds):
    time.sleep(seconds)


@app.task
def ignoring():
    raise Ignore


@app.task(acks_late=True)
def rejecting():
    raise Reject("no")


@app.task(ignore_result=True)
def unread():
    note("unread")


@app.task(bind=True)
def replacing(self, number):
    raise self.replace(chain(add.s(number), add.s(1)))


@app.task(bind=True)
def widening(self, number):
    raise self.replace(chord([add.s(number), add.s(number)], add.s()))


@app.task
def told(*args, **kwargs):
    """A callback."""
    note("told", [each if isinstance(each, int) else type(each).__name__ for each in args])


@app.task
def failed_with(request, error, traceback):
    """An errback in its new form."""
    note("failed_with", request.task, type(error).__name__, str(error), "Traceback" in (traceback or ""))


@inspect_command(args=[("word", str)])
def exchanged_say(state, word="nothing"):
    return {"said": word}


@control_command(args=[("word", str)])
def exchanged_note(state, word):
    note("control", word)
    return {"ok": word}


def heard(name):
    def receiver(sender=None, **told):
        what = getattr(sender, "name", None) or getattr(getattr(sender, "task", None), "name", None)
        if name in ("task_prerun", "task_postrun"):
            what = told["task"].name
        if what and what.startswith("exchanged."):
            note("signal", name, what, sorted(told))

    getattr(signals, name).connect(receiver, weak=False)


for _name in ("received", "prerun", "postrun", "success", "failure", "retry", "revoked", "rejected", "internal_error"):
    heard(f"task_{_name}")

__all__ = ("app", "group")

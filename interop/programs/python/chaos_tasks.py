"""The tasks that chaos sends: each leaves a line in a ledger as it starts and one as it ends.

A step that was given other than the result of the one before, or a body other than its members' results, never ends.

Law: a line is one write of less than a page, so that lines of many processes do not mix.
"""

import os
import time

from app import app

LATE = {"acks_late": True, "reject_on_worker_lost": True}


def note(what, key):
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, ("%s %s %.3f %s\n" % (what, key, time.time(), os.environ["SLOT"])).encode())
    os.close(ledger)


def work(key, seconds, value):
    note("start", key)
    time.sleep(seconds)
    note("end", key)
    return value


@app.task(name="chaos.early")
def early(key, seconds):
    return work(key, seconds, key)


@app.task(name="chaos.late", **LATE)
def late(key, seconds):
    return work(key, seconds, key)


@app.task(name="chaos.again", bind=True, max_retries=5, **LATE)
def again(self, key, seconds):
    """Its first try asks for a second."""
    attempt = self.request.retries
    work("%s.%d" % (key, attempt), seconds, None)
    if not attempt:
        raise self.retry(countdown=0.5)
    return attempt


@app.task(name="chaos.step", **LATE)
def step(before, key, seconds):
    if before != (int(key[-1]) if key.startswith("chain") else 0):
        raise ValueError("%s was given %r" % (key, before))
    return work(key, seconds, before + 1)


@app.task(name="chaos.total", **LATE)
def total(numbers, key):
    if numbers != [1, 1, 1]:
        raise ValueError("%s was given %r" % (key, numbers))
    return work(key, 0, sum(numbers))

"""What all programs here begin with: an app on the Redis of the test, and a worker in a thread."""

import json
import os
import sys
import time
from pathlib import Path

from celery import Celery
from celery.contrib.testing.tasks import ping
from celery.contrib.testing.worker import start_worker

URL = os.environ["REDIS_URL"]
POOL = sys.argv[1]
LOG = Path(sys.argv[2])

app = Celery("proj", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.worker_prefetch_multiplier = 0


def worker(**options):
    return start_worker(app, pool=POOL, concurrency=2, loglevel="CRITICAL", shutdown_timeout=20, **options)


def write(what):
    """From whatever process, for `written`."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(json.dumps(what, default=str) + "\n")


def written():
    if not LOG.exists():
        return []
    with LOG.open(encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def fails(result, kind):
    try:
        result.get(timeout=10)
    except kind:
        return True
    return False


__all__ = ("LOG", "POOL", "URL", "app", "fails", "ping", "until", "worker", "write", "written")

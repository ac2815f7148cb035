"""celery-types: a user's program is checked by mypy with these stubs, and runs."""

import subprocess
import sys
from pathlib import Path

import base
from base import WORKS, app, worker

GOOD = """\
from celery import Celery, chain, group, shared_task
from celery.app.task import Task
from celery.result import AsyncResult
from celery.schedules import crontab
from celery.exceptions import Retry
from celery.utils.log import get_task_logger

logger = get_task_logger(__name__)
app: Celery = Celery("typed")
app.conf.beat_schedule = {"one": {"task": "typed.add", "schedule": crontab(hour=3)}}


@app.task(bind=True, max_retries=3)
def add(self: "Task[[int, int], int]", x: int, y: int) -> int:
    if x < 0:
        raise self.retry(countdown=1)
    return x + y


@shared_task
def double(x: int) -> int:
    return 2 * x


def use() -> "AsyncResult[int]":
    chain(double.s(1), double.s())
    group(double.s(n) for n in range(3))
    return double.delay(2)
"""
BAD = "from celery import Celery\n\napp = Celery()\napp.no_such_thing()\n"


def check(name, text):
    Path(name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir=cache", name],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


if __name__ == "__main__":
    if not WORKS:
        told = check("typed.py", GOOD)
        assert told.startswith("Success"), told
        told = check("wrong.py", BAD)
        assert "attr-defined" in told, told
    sys.path.insert(0, ".")
    import typed  # a user's program, written above

    typed.app.conf.update(broker_url=app.conf.broker_url, result_backend=app.conf.result_backend)
    typed.app.set_default()
    base.app = typed.app
    with worker():
        assert typed.use().get(timeout=20) == 4
    print("fine")

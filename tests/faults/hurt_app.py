"""The app of workers that are hurt: tasks that note when they start and end, and tasks that destroy what runs them.

`CONF` in the environment is JSON for `app.conf`.
"""

import asyncio
import ctypes
import json
import os
import signal
import time
from typing import Any, NoReturn

import celeriac

celeriac.install()

from celery import Celery, Task  # noqa: E402 - the name is there only now
from celery.exceptions import SoftTimeLimitExceeded  # noqa: E402

app = Celery("hurt", broker=os.environ["BROKER"], backend=os.environ.get("RESULTS"))
app.conf.update(
    task_default_queue=os.environ.get("QUEUE", "celery"),
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=2,
    **json.loads(os.environ.get("CONF", "{}")),
)


def note(what: str, number: Any) -> None:
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what} {number} {time.time():.3f} {os.getpid()}\n".encode())
    os.close(descriptor)


@app.task(name="hurt.work")
def work(number: int, seconds: float = 0) -> int:
    note("start", number)
    if seconds:
        time.sleep(seconds)
    note("end", number)
    return number


@app.task(name="hurt.late", acks_late=True, reject_on_worker_lost=True)
def late(number: int, seconds: float = 0) -> int:
    return int(work(number, seconds))


@app.task(name="hurt.again", bind=True)
def again(self: Any, number: int, seconds: float) -> int:
    """Is tried twice."""
    result = work(number, 0 if self.request.retries else seconds)
    if not self.request.retries:
        self.retry(countdown=0)
    return int(result)


@app.task(name="hurt.fail")
def fail(number: int, seconds: float) -> NoReturn:
    work(number, seconds)
    raise ValueError(number)


@app.task(name="hurt.nap")
async def nap(number: int, seconds: float) -> int:
    note("start", number)
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        note("soft", number)
        raise
    note("end", number)
    return number


@app.task(name="hurt.busy")
def busy(number: int, seconds: float) -> int:
    """Where an exception can strike at any time; a sleep hears of it at its end."""
    note("start", number)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        note("soft", number)
        raise
    note("end", number)
    return number


@app.task(name="hurt.stubborn")
def stubborn(number: int, seconds: float) -> int:
    """Takes no hint."""
    end = time.monotonic() + seconds
    note("start", number)
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except SoftTimeLimitExceeded:  # noqa: PERF203 - that is what it does
            note("soft", number)
    note("end", number)
    return number


def _die(how: str) -> NoReturn:
    if how == "memory":
        raise MemoryError
    if how == "exit":
        os._exit(7)
    if how == "leave":
        raise SystemExit(3)
    if how == "segv":
        ctypes.string_at(0)
    if how == "recurse":
        _die(how)
    os.kill(os.getpid(), {"oom": signal.SIGKILL, "abort": signal.SIGABRT, "term": signal.SIGTERM}[how])
    time.sleep(1)
    raise AssertionError(how)


@app.task(name="hurt.die")
def die(number: int, how: str) -> None:
    note("start", number)
    _die(how)


@app.task(name="hurt.die_late", acks_late=True, reject_on_worker_lost=True)
def die_late(number: int, how: str) -> None:
    note("start", number)
    _die(how)


class Wire(Task):
    """What captured messages ask for, in any shape."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return [list(args), kwargs]


for _name in ("add", "echo", "noop", "tsum", "classbased", "ignored_result", "prio", "limited"):
    app.register_task(type(_name, (Wire,), {"name": f"wire.{_name}"})())


_LINES: list[int] = []


@app.task(name="hurt.soak", bind=True, default_retry_delay=0)
def soak(self: Any, number: int) -> int:
    """One in a hundred fails, one in a hundred is tried again; each run is a line of eight bytes."""
    if not _LINES:
        _LINES.append(os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    os.write(_LINES[0], b"%7d\n" % number)
    if number % 100 == 7:
        raise ValueError(number)
    if number % 100 == 13 and not self.request.retries:
        raise self.retry()
    return number

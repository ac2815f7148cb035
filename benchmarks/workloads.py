"""Further rows for workers, measured as those of `drain.py`: chords, threads that wait, coroutines, tasks of later."""

from __future__ import annotations

import os
import signal
import time
from argparse import Namespace
from typing import Any

from drain import Place, Row, client, idle, wait_for, working

CHORD = """
import time
{boot}
from bench_app import add, total
from celery import chord
add.delay(1, 1).get(timeout=60)
before = time.process_time()
found = chord((add.s(i, i) for i in range({tasks})), total.s())().get(timeout=300)
print(time.process_time() - before)
assert found == sum(2 * i for i in range({tasks})), found
"""
NAPS = """
{boot}
from bench_app import {name}
from celery import group
group({name}.s({seconds}) for _ in range({tasks})).apply_async()
"""
LATER = """
{boot}
from bench_app import add
for number in range({tasks}): add.apply_async((number, number), countdown={seconds})
"""
SLEEP = 5


def chord(kind: str, place: Place, given: Any) -> dict[str, float]:
    """CPU of who sends and waits, and of the worker, for each task of the header."""
    place.clear()
    with working(kind, place.env, given) as worker:
        client(CHORD, place.env, kind, tasks=50)
        idle(worker)
        before = worker.cpu()
        used = float(client(CHORD, place.env, kind, tasks=given.chord))
        used += idle(worker) - before
    return {"cpu": used / given.chord * 1e6}


def _held_up(kind: str, place: Place, given: Any, *, name: str, seconds: float, tasks: int) -> dict[str, float]:
    """A backlog meets a worker that is up; how many of its tasks are done in a second."""
    place.clear()
    with working(kind, place.env, given) as worker:
        client(NAPS, place.env, tasks=50, name=name, seconds=0.001)
        wait_for(lambda: place.backlog() == 0, f"{kind} warms up")
        idle(worker)
        os.kill(worker.process.pid, signal.SIGSTOP)
        client(NAPS, place.env, tasks=tasks, name=name, seconds=seconds)
        before, began = worker.memory(), time.monotonic()
        os.kill(worker.process.pid, signal.SIGCONT)
        most = before
        while place.backlog():
            most = max(most, worker.memory()) if name == "rest" else most
            time.sleep(0.02)
        wall = time.monotonic() - began
    return {"tasks/s": tasks / wall, "memory MB": most - before}


def threads(kind: str, place: Place, given: Any) -> dict[str, float]:
    """100 threads, tasks of 10 ms that wait."""
    asked = Namespace(**{**vars(given), "pool": "threads", "concurrency": 100})
    return _held_up(kind, place, asked, name="nap", seconds=0.01, tasks=given.tasks)


def coroutines(kind: str, place: Place, given: Any) -> dict[str, float]:
    """10,000 `async def` tasks of 5 s in one process, acknowledged when they have ended."""
    asked = Namespace(**{**vars(given), "pool": "asyncio", "concurrency": 10_000})
    place.env = {**place.env, "ACKS_LATE": "1"}
    return _held_up(kind, place, asked, name="rest", seconds=SLEEP, tasks=10_000)


def later(kind: str, place: Place, given: Any) -> dict[str, float]:
    """Memory of a worker for each task that waits for its time, all of them due within an hour."""
    place.clear()
    with working(kind, place.env, given) as worker:
        client(LATER, place.env, tasks=100, seconds=3000)
        wait_for(lambda: place.broker.size("celery") == 0, f"{kind} takes them")
        idle(worker)
        before, used = worker.memory(), worker.cpu()
        client(LATER, place.env, tasks=given.later, seconds=3000)
        wait_for(lambda: place.broker.size("celery") == 0, f"{kind} takes them")
        used = idle(worker) - used
        grown = worker.memory() - before
    return {"KB": max(grown, 0.0) * 1024 / given.later, "cpu": used / given.later * 1e6}


ROWS: dict[str, Row] = {
    "chord": (chord, "redis", True),
    "threads": (threads, "redis", False),
    "later": (later, "redis", False),
}
OURS: dict[str, Row] = {"coroutines": (coroutines, "redis", False)}

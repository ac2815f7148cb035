"""The tasks of the demo: a plain Celery module. `celery` is celeriac here, and could be Celery."""

from __future__ import annotations

import os
import time

from celery import Celery

STORE = os.environ.get("DEMO_STORE", "embedded://")
app = Celery("demo", broker=STORE, backend=STORE)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def stubborn(self, fails: int) -> str:  # type: ignore[no-untyped-def]  # what `self` is, `bind` says
    if self.request.retries < fails:
        raise self.retry(countdown=0.1)
    return f"done at attempt {self.request.retries + 1}"


@app.task
def late(sent: float) -> float:
    return round(time.time() - sent, 1)


@app.task
async def nap(seconds: float) -> str:
    import asyncio

    await asyncio.sleep(seconds)
    return "rested"


@app.task
def broken() -> None:
    raise ValueError("this one fails, and says so")

"""The app that both kinds of worker serve in `drain.py`: the same file, whatever `celery` is."""

import os
import time

from celery import Celery

app = Celery("bench", broker=os.environ["BROKER"], backend=os.environ.get("RESULTS") or None)
app.conf.update(
    task_ignore_result=not os.environ.get("RESULTS"),
    task_acks_late=bool(os.environ.get("ACKS_LATE")),
    worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "4")),
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.nap")
def nap(seconds):
    time.sleep(seconds)


@app.task(name="bench.total")
def total(values):
    return sum(values)


@app.task(name="bench.mark")
def mark(path, number):
    """Leaves a line: for the run that proves that each task ran once."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"%d\n" % number)
    os.close(descriptor)


@app.task(name="bench.rest")
async def rest(seconds):
    """Ours alone can run it."""
    import asyncio

    await asyncio.sleep(seconds)


@app.task(name="bench.echo")
def echo(text):
    return len(text)

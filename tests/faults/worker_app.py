"""The app whose worker is killed: each task leaves a line as it starts and one as it ends."""

import os
import time

import celeriac

celeriac.install()

from celery import Celery  # noqa: E402 - the name is there only now

app = Celery("killed", broker=os.environ["BROKER"], backend=os.environ.get("RESULTS"))
app.conf.update(
    task_acks_late=os.environ.get("ACKS") == "late",
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    task_default_queue=os.environ.get("QUEUE", "celery"),
    broker_connection_retry_on_startup=True,
)


def note(what: str, number: int) -> None:
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what} {number}\n".encode())
    os.close(descriptor)


@app.task(name="faults.work")
def work(number: int, seconds: float) -> int:
    note("start", number)
    if seconds:
        time.sleep(seconds)
    note("end", number)
    return number

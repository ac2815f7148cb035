"""Puts code of its own around every name that the doctor has in its tables, does what programs do, and prints what was
called. Arguments: a Redis.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import sys
import time
from typing import Any

import celeriac

celeriac.install()

from celeriac.compat.bin.doctor_patches import HEARD, UNHEARD  # noqa: E402 - after what it examines is installed

called: set[str] = set()


def around(name: str, function: Any) -> Any:
    @functools.wraps(function)
    def patched(*args: Any, **kwargs: Any) -> Any:
        called.add(name)
        return function(*args, **kwargs)

    return patched


def patch(place: str, names: tuple[str, ...]) -> None:
    module, _, cls = place.partition(":")
    holder = importlib.import_module(module)
    holder = getattr(holder, cls) if cls else holder
    for name, value in list(vars(holder).items()):
        full = f"{place.replace(':', '.')}.{name}"
        if name in names or (names == ("*",) and not name.startswith("__")):
            if inspect.isfunction(value):
                setattr(holder, name, around(full, value))
            elif isinstance(value, (classmethod, staticmethod)):
                setattr(holder, name, type(value)(around(full, value.__func__)))


for place, names in HEARD.items():
    patch(place, names)
for place, unheard in UNHEARD.items():
    patch(place, unheard.names)

from celery import Celery, chain, chord, group  # noqa: E402 - as a program does, after the patches
from celery.contrib.testing.worker import start_worker  # noqa: E402 - as above

url = sys.argv[1]
app = Celery("probe", broker=url, backend=url)
app.conf.update(task_default_queue="patch-probe", task_track_started=True, worker_send_task_events=True)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def boom() -> None:
    raise ValueError("x")


@app.task(bind=True, max_retries=1)
def again(self: Any) -> int:
    if not self.request.retries:
        raise self.retry(countdown=0)
    return 1


@app.task(acks_late=True)
def late() -> int:
    return 1


with start_worker(app, perform_ping_check=False, pool="solo"):
    assert add.delay(1, 2).get(timeout=30) == 3
    assert isinstance(boom.delay().get(timeout=30, propagate=False), ValueError)
    assert again.delay().get(timeout=30) == 1
    assert late.apply_async(countdown=0.2).get(timeout=30) == 1
    assert chain(add.s(1, 2), add.s(3))().get(timeout=30) == 6
    assert chord([add.s(1, 1), add.s(2, 2)], late.si())().get(timeout=30) == 1
    assert group(add.s(1, 1), add.s(2, 2))().get(timeout=30) == [2, 4]
    app.send_task("probe.add", (1, 1), task_id="forgotten").get(timeout=30)
    app.AsyncResult("forgotten").forget()
    assert add.apply((1, 2)).get() == 3
    app.control.rate_limit("probe.add", "10/s")
    app.control.revoke("no-such-id")
    assert app.control.inspect(timeout=10, limit=1).ping()
    time.sleep(0.1)  # what was told without being asked for an answer is heard by now, or the worse for the test
app.close()
print(json.dumps(sorted(called)))

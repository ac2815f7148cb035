"""Result backends of others that count chords themselves: their `apply_chord` is called, and nobody else sends the body.

The same program, with stock Celery and with ours: it counts what a backend is asked, and how often each body runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import json, sys, threading
if sys.argv[1] == "ours":
    import celeriac; celeriac.install()
from celery import Celery, chain, chord, group
from celery.backends.base import BaseBackend, KeyValueStoreBackend
from celery.contrib.testing.worker import start_worker

shelf, asked, lock = {}, [], threading.RLock()

class Kept(KeyValueStoreBackend):
    def get(self, key): return shelf.get(key)
    def mget(self, keys): return [shelf.get(key) for key in keys]
    def set(self, key, value): shelf[key] = value
    def delete(self, key): shelf.pop(key, None)
    def expire(self, key, value): pass

class Counting(Kept):
    implements_incr = True

    def incr(self, key):
        with lock:
            asked.append("incr")
            shelf[key] = shelf.get(key, 0) + 1
            return shelf[key]

class Asking(Kept):
    "As django-celery-results': a counter of its own, and what it cannot do it leaves to Celery."
    def apply_chord(self, header_result_args, body, **kwargs):
        results = self.app.GroupResult(*header_result_args).results
        asked.append(["apply_chord", len(results), body["task"], sorted(kwargs), kwargs["countdown"], kwargs["interval"]])
        super().apply_chord(header_result_args, body, **kwargs)

    def fallback_chord_unlock(self, header_result, body, **kwargs):
        asked.append(["fallback_chord_unlock", len(header_result), body["task"], kwargs["countdown"]])
        super().fallback_chord_unlock(header_result, body, **kwargs)

    def on_chord_part_return(self, request, state, result, **kwargs):
        asked.append("part")

app = Celery("own", broker="memory://", backend={"counting": Counting, "asking": Asking}[sys.argv[2]], set_as_current=True)
app.conf.update(accept_content=["json"], broker_connection_retry_on_startup=True)
bodies = []

@app.task
def add(x, y):
    return x + y

@app.task
def total(numbers):
    bodies.append(sorted(numbers))
    return sum(numbers)

@app.task
def bad():
    raise ValueError("so")

found = {}
with start_worker(app, perform_ping_check=False, loglevel="CRITICAL"):
    def get(name, made):
        del asked[:], bodies[:]
        value = made.apply_async().get(timeout=30, propagate=False)
        if isinstance(value, Exception):
            value = [type(value).__name__, "raised ValueError('so')" in str(value)]
        found[name] = [value, sorted(map(str, asked)), list(bodies)]
    get("chord", chord([add.s(1, 1), add.s(2, 2)], total.s()))
    get("chain", chain(add.s(1, 1), group(add.s(n) for n in range(3)), total.s()))
    get("failing", chord([add.s(1, 1), bad.si()], total.s()))
print(json.dumps(found))
"""


def begun(python: Path | str, whose: str, kind: str) -> subprocess.Popen[str]:
    return subprocess.Popen([python, "-W", "ignore", "-c", PROGRAM, whose, kind], stdout=-1, stderr=-1, text=True)


def told(running: subprocess.Popen[str]) -> Any:
    out, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.real
def test_who_counts_chords_is_asked_to(stock_python: Path) -> None:
    pythons: dict[str, Path | str] = {"ours": sys.executable, "stock": stock_python}
    kinds = ("counting", "asking")
    running = {(whose, kind): begun(python, whose, kind) for kind in kinds for whose, python in pythons.items()}
    try:
        found = {each: told(program) for each, program in running.items()}
    finally:
        for program in running.values():
            program.kill()  # nothing, where it has ended
            program.communicate()
    for kind in kinds:
        assert found["ours", kind] == found["stock", kind]
        value, _, bodies = found["ours", kind]["chord"]
        assert (value, bodies) == (6, [[2, 4]]), "its body has run once"

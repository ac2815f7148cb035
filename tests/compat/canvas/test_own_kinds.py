"""Signatures of a class of the user's own (`Signature.register_type`): it sends them, wherever in a canvas they stand."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from celeriac.compat.canvas import Signature, signature

PROGRAM = """
import json, sys, threading
import celeriac; celeriac.install()
from celery import Celery, Signature, chain, chord, signature
from celery.contrib.testing.worker import start_worker

app = Celery("kinds", broker="memory://", backend="cache+memory://")

@Signature.register_type("apple")
class Apple(Signature):
    @classmethod
    def from_dict(cls, d, app=None):
        made = cls(d, app=app)
        made["subtask_type"] = "apple"
        return made

    def apply_async(self, args=None, kwargs=None, **options):
        return super().apply_async(args, kwargs, headers={"apple": True}, **options)

seen, told = [], threading.Event()

def see(task, value):
    seen.append([task.name.rpartition(".")[2], value, bool(task.request.get("apple"))])

@app.task(bind=True)
def add(self, x, y):
    see(self, x + y)
    return x + y

@app.task(bind=True)
def total(self, xs):
    see(self, sum(xs))
    told.set()
    return sum(xs)

@app.task
def boom(*args):
    raise ValueError("boom")

@app.task(bind=True)
def heard(self, task_id):
    see(self, None)
    told.set()

@app.task(bind=True)
def replaced(self):
    raise self.replace(apple(add, 7, 7))

def apple(task, *args):
    return signature({"task": task.name, "args": args, "subtask_type": "apple"}, app=app)

def linked(sig, **links):
    for name, link in links.items():
        getattr(sig, name)(link)
    return sig

canvases = {
    "alone": (apple(add, 1, 2), False),
    "step": (chain(add.s(1, 2), apple(add, 3), add.s(4)), False),
    "callback": (linked(add.s([1], [1]), link=apple(total)), True),
    "header": (chord([apple(add, 1, 1), add.s(2, 2)], total.s()), True),
    "body": (chord([add.s(1, 1), add.s(2, 2)], apple(total)), True),
    "errback": (linked(boom.s(), link_error=apple(heard)), True),
    "lost step": (linked(chain(boom.s(), apple(add, 3)), link_error=apple(heard)), True),
    "lost body": (chord([boom.s(), add.s(2, 2)], linked(apple(total), link_error=apple(heard))), True),
    "replacement": (replaced.s(), False),
}
found = {}
with start_worker(app, perform_ping_check=False, loglevel="CRITICAL"):
    for name, (sig, waits) in canvases.items():
        seen.clear()
        told.clear()
        result = sig.apply_async()
        value = result.get(timeout=30, propagate=False)
        assert not waits or told.wait(30), name
        found[name] = [type(value).__name__ if isinstance(value, Exception) else value, sorted(seen, key=repr)]
print(json.dumps(found))
"""


def test_they_are_sent_by_their_class() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[Any]] = json.loads(done.stdout)
    assert found == {
        "alone": [3, [["add", 3, True]]],
        "step": [10, [["add", 10, False], ["add", 3, False], ["add", 6, True]]],
        "callback": [[1, 1], [["add", [1, 1], False], ["total", 2, True]]],
        "header": [6, [["add", 2, True], ["add", 4, False], ["total", 6, False]]],
        "body": [6, [["add", 2, False], ["add", 4, False], ["total", 6, True]]],
        "errback": ["ValueError", [["heard", None, True]]],
        "lost step": ["ValueError", [["heard", None, True]]],
        "lost body": ["ChordError", [["add", 4, False], ["heard", None, True]]],
        "replacement": [14, [["add", 14, True]]],
    }


def test_a_kind_that_nobody_has_registered_is_named() -> None:
    with pytest.raises(KeyError, match=r"Signature\.register_type\('pear'\)"):
        signature({"task": "add", "subtask_type": "pear"})


def test_what_is_left_out_of_a_dict_is_its_own() -> None:
    one, other = signature({"task": "add"}), signature({"task": "add"})
    assert isinstance(one, Signature)
    one.link_error(signature({"task": "heard"}))
    one["kwargs"]["x"] = 1
    assert other == {"task": "add", "args": (), "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}

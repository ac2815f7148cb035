"""A chord that fails fails the chord that it is a member of, and so on to the outermost: each once, and promptly."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.servers import RedisServer

PROGRAM = """
import json, sys, threading
import celeriac; celeriac.install()
from celery import Celery, chord, group
from celery.contrib.testing.worker import start_worker

app = Celery("failing", broker="memory://", backend=sys.argv[1])
heard, told = [], threading.Semaphore(0)

@app.task
def one(*args):
    return 1

@app.task
def boom(*args):
    raise ValueError("boom")

@app.task
def hear(task_id):
    heard.append(task_id)
    told.release()

def nested(how, depth):
    sig = boom.si()
    for level in range(depth):
        body = one.s()
        if level == depth - 1 and how != "linked":
            body.link_error(hear.si("outermost"))
        if how == "header":
            sig = chord([sig, one.s()], body)
        elif how == "linked":  # into each chord that there is
            sig = chord([sig, one.s()], body)
            if level == depth - 1:
                sig.link_error(hear.si("outermost"))
        elif how == "alone":
            sig = chord([sig], body)
        elif how == "chain in body":
            steps = one.s() | one.s()
            sig = chord([sig, one.s()], steps.on_error(hear.si("outermost")) if level == depth - 1 else steps)
        elif how == "chain in header":
            sig = chord([one.s() | sig, one.s()], body)
        elif how == "group in body":
            sig = chord(group(sig, one.s()), group(one.s(), body))
        elif how == "body":
            sig = chord([one.s()], sig.set(link_error=[hear.si("outermost")]) if not level else sig)
    return sig

found = {}
with start_worker(app, perform_ping_check=False, loglevel="CRITICAL"):
    for how in ("header", "linked", "alone", "chain in body", "chain in header", "group in body", "body"):
        for depth in (2, 3, 20 if how == "header" else 5):
            heard.clear()
            result = nested(how, depth).apply_async()
            results = result.results if hasattr(result, "results") else [result]
            values = [app.AsyncResult(each.id).get(timeout=30, propagate=False) for each in results]
            assert told.acquire(timeout=20), (how, depth)
            found[f"{how} {depth}"] = [{type(each).__name__ for each in values}.pop(), max(map(len, map(str, values))), len(heard)]
print(json.dumps(found))
"""


@pytest.mark.parametrize("store", ["cache+memory://", pytest.param("redis", marks=pytest.mark.real)])
def test_the_outermost_fails(store: str, request: pytest.FixtureRequest) -> None:
    if store == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.call("FLUSHALL")
        store = server.url
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, store], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert {name: heard for name, (_, _, heard) in found.items()} == dict.fromkeys(found, 1)
    assert {kind for kind, _, _ in found.values()} <= {"ChordError", "ValueError"}
    longest = max(length for _, length, _ in found.values())
    assert longest < 20 * 100, "what it says grows with each level by a line, and does not double"

"""Sends canvases and tells what came of them. Run by stock Celery's python and by ours, never imported.

Reads JSON on stdin, `[text, ...]`: the last line of each sends `s`. Prints one tree of states and results for each.
"""

import json
import os
import sys
import time
import warnings

from fleet_app import app  # isort: skip - it says which Celery `celery` is

import redis
from celery import chain, chord, group, signature
from celery.result import GroupResult

warnings.simplefilter("ignore")
QUIET = 4.0  # seconds without news, and with nothing left to do, after which nothing more is waited for
LONGEST = 60.0  # the same, whatever there is to do


class T:
    pass


for name in ("add", "mul", "tsum", "echo", "noop", "errback_old", "errback_new"):
    setattr(T, name, app.tasks[f"wire.{name}"])


def send(text):
    names = {"T": T, "app": app, "chain": chain, "group": group, "chord": chord, "signature": signature}
    before, _, last = text.rpartition("\n")
    try:
        exec(f"{before}\nresult = {last}", names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return names["result"]


def wait(results):
    """Until all are ready, or nothing has become so for a while."""
    broker = redis.Redis.from_url(os.environ["REDIS"])
    missing = [result for result in results if result is not None and not isinstance(result, str)]
    news = busy = time.monotonic()
    idle = 0  # looks in a row that saw nothing happen: one of them may take longer than all the rest
    while missing:
        still = [result for result in missing if not result.ready()]
        idle += 1
        if len(still) < len(missing):
            news = busy = time.monotonic()
            idle = 0
        elif broker.llen("celery") or broker.hlen("unacked"):
            busy = time.monotonic()
            idle = 0
        missing = still
        now = time.monotonic()
        if now - news > LONGEST or (now - busy > QUIET and idle > 3):
            return
        time.sleep(0.05)


def tree(result, depth=0):
    if result is None or isinstance(result, str) or depth > 30:
        return result
    before = tree(result.parent, depth + 1)
    if isinstance(result, GroupResult):
        return {"id": result.id, "group": [tree(member, depth + 1) for member in result.results], "parent": before}
    meta = app.backend.get_task_meta(result.id)
    value = meta["result"]
    children = meta.get("children") or []
    return {
        "id": result.id,
        "state": meta["status"],
        "result": repr(value) if isinstance(value, BaseException) else value,
        "parent": before,
        "children": [tree(app_result(child), depth + 1) for child in children],
    }


def app_result(child):
    from celery.result import result_from_tuple

    return result_from_tuple(child, app) if isinstance(child, (list, tuple)) else child


def main():
    results = [send(text) for text in json.load(sys.stdin)]
    wait(results)
    time.sleep(0.5)
    print(json.dumps([tree(result) for result in results]))


if __name__ == "__main__":
    main()

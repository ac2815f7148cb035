"""Builds and sends canvases in stock Celery and prints their forms. Run by Celery's own python, never imported.

Reads JSON on stdin, `[{"call": text, "conf": {...}, "chords": kind}, ...]`: the last line of a call sends `s`.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "differential"))

import datetime as dt
import time

from celery import chain, chord, group, signature
from stock_calls import STREAM, build


def run(job):
    STREAM.clear()
    app, T = build(job.get("conf") or {}, job.get("chords") or "native")
    names = {
        "app": app, "T": T, "chain": chain, "group": group, "chord": chord, "signature": signature,
        "datetime": dt, "time": time,
    }  # fmt: skip
    before, _, last = job["call"].rpartition("\n")
    found = {}
    try:
        exec(before, names)
        s = names["s"]
        found["repr"] = repr(s)
        found["form"] = json.loads(json.dumps(s))
        found["kind"] = type(s).__name__.lstrip("_")
        found["links"] = len(s.flatten_links())
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    try:
        exec(f"result = {last}", names)
        found["stream"] = json.loads(json.dumps(STREAM, default=str))
        found["tree"] = names["result"] and names["result"].as_tuple()
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found


def main():
    print(json.dumps([run(job) for job in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()

"""Writes results of every kind, or reads them and says what it got: `python results_peer.py MODULE write|read URL`.

MODULE is `celery` or `celeriac.compat`: the same program runs on stock Celery and on celeriac.
"""

# ruff: noqa: RUF012  # a request as a worker has it
from __future__ import annotations

import json
import sys
from importlib import import_module


class OwnError(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)
        self.first = first


class Stubborn(Exception):
    """Takes no arguments when it is made again."""

    def __init__(self):
        super().__init__("made", "of", "more")


class Unwritable:
    def __repr__(self):
        return "<Unwritable>"


class Request:
    id = group = parent_id = chord = reply_to = correlation_id = None
    group_index = None
    ignore_result = False
    errbacks = chain = None
    task = "tasks.add"
    args = [1, 2]
    kwargs = {"x": 1}
    hostname = "w@h"
    retries = 2
    delivery_info = {"routing_key": "q"}
    stamps = {"s": ["v"]}
    stamped_headers = ["s"]
    children = ()

    def __init__(self, **known):
        self.__dict__.update(known)


def exceptions(root):
    known = import_module(f"{root}.exceptions")
    return {
        "key": KeyError("missing"),
        "value": ValueError("bad", 3, {"a": [1]}),
        "none": Exception(),
        "own": OwnError("a", 2),
        "stubborn": Stubborn(),
        "unwritable": TypeError(Unwritable(), "x"),
        "unicode": RuntimeError("schön \u2603"),
        "os": FileNotFoundError(2, "No such file", "/x"),
        "system": SystemExit(3),
        "decode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
        "revoked": known.TaskRevokedError("terminated"),
        "reject": known.Reject("no", requeue=False),
        "lost": known.WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 0."),
        "limit": known.TimeLimitExceeded(3),
        "soft": known.SoftTimeLimitExceeded(),
        "registered": known.NotRegistered("tasks.x"),
        "most": known.MaxRetriesExceededError("Can't retry tasks.x[id] args:() kwargs:{}"),
        "chord": known.ChordError("Dependency x raised ValueError(1)"),
        "nested": type("Made", (LookupError,), {"__module__": "no.such.module"})("x"),
    }


VALUES = {
    "int": 3,
    "nothing": None,
    "text": "schön",
    "nested": {"a": [1, 2.5, None, {"b": True}]},
    "big": 2**70,
    "list": [[1], []],
}


def write(root, app):
    backend = app.backend
    result = import_module(f"{root}.result")
    for name, value in VALUES.items():
        backend.mark_as_done(f"value-{name}", value)
    for name, exc in exceptions(root).items():
        backend.mark_as_failure(f"failure-{name}", exc, "Traceback (most recent call last):\n  x")
    backend.mark_as_started("started", pid=7, hostname="w@h")
    backend.mark_as_retry("retry", ValueError("again"), "Traceback")
    backend.mark_as_revoked("revoked", "expired")
    backend.store_result("progress", {"current": 3, "total": 9}, "PROGRESS")
    child = app.AsyncResult("value-int")
    group = app.GroupResult("g", [app.AsyncResult("value-int"), app.AsyncResult("value-text")])
    backend.mark_as_done(
        "parent", "up", request=Request(id="parent", group="gid", parent_id="pid", children=[child, group])
    )
    group.save()
    app.GroupResult("deep", [group, app.AsyncResult("value-nested", parent=app.AsyncResult("value-big"))]).save()
    kept = backend.store_result("twice", 1, "SUCCESS")
    backend.store_result("twice", ValueError(2), "FAILURE")
    assert kept == 1
    assert isinstance(child, result.AsyncResult)


def told(exc):
    kind = type(exc)
    return [kind.__module__, kind.__qualname__, str(exc), [repr(arg) for arg in exc.args]]


def outcome(do):
    try:
        return ["returned", do()]
    except BaseException as exc:  # what a task raised may be any
        return ["raised", told(exc)]


def ids(root):
    yield from (f"value-{name}" for name in VALUES)
    yield from (f"failure-{name}" for name in exceptions(root))
    yield from ("revoked", "parent", "twice")


def read(root, app):
    found = {}
    for task_id in ids(root):
        found[task_id] = outcome(lambda task_id=task_id: app.AsyncResult(task_id).get(timeout=2))
        result = app.AsyncResult(task_id)
        found[f"{task_id} asked"] = [
            result.state,
            result.ready(),
            result.successful(),
            result.failed(),
            result.traceback,
            result.date_done is not None,
            repr(result.get(timeout=2, propagate=False)),
            result.name,
            result.args,
            result.kwargs,
            result.worker,
            result.retries,
            result.queue,
        ]
    for task_id in ("started", "retry", "progress", "nobody"):
        result = app.AsyncResult(task_id)
        found[task_id] = [result.state, repr(result.info), result.ready(), result.traceback]
        found[f"{task_id} late"] = outcome(lambda result=result: result.get(timeout=0.05))
    parent = app.AsyncResult("parent")
    found["children"] = [child.as_tuple() for child in parent.children]
    found["collected"] = [[r.id, v] for r, v in app.AsyncResult("parent").collect()]
    found["leaf"] = app.AsyncResult("parent").get_leaf()
    found["meta"] = {
        key: repr(value)
        for key, value in app.backend.get_task_meta("parent", cache=False).items()
        if key not in ("date_done", "children")
    }
    for name in ("g", "deep", "no such"):
        group = app.GroupResult.restore(name)
        found[f"group {name}"] = None if group is None else [group.as_tuple(), group.get(timeout=2), group.ready()]
    result_set = app.ResultSet([app.AsyncResult("value-int"), app.AsyncResult("failure-key")])
    found["set"] = [
        outcome(lambda: result_set.get(timeout=2)),
        outcome(lambda: result_set.join(timeout=2)),
        [repr(each) for each in result_set.join(timeout=2, propagate=False)],
        result_set.completed_count(),
        result_set.successful(),
        result_set.failed(),
        result_set.waiting(),
    ]
    return found


def main():
    root, action, url, *options = sys.argv[1:]
    # Under both the exceptions of this file live in one module.
    sys.modules["results_peer"] = sys.modules["__main__"]
    for kind in (OwnError, Stubborn):
        kind.__module__ = "results_peer"
    app = import_module(root).Celery("peer", broker="memory://", backend=url)
    app.conf.update(
        dict(option.split("=", 1) for option in options), accept_content=["json", "pickle", "yaml", "msgpack"]
    )
    app.conf.result_extended = bool(app.conf.result_extended)
    if action == "write":
        write(root, app)
    else:
        print(json.dumps(read(root, app), default=repr))


if __name__ == "__main__":
    main()

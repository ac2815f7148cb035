"""Runs tasks and tells all that others could have seen: signals, hooks, log lines, stored states, what was sent.

The same file under stock Celery and under celeriac. Prints one JSON object: scenario -> list of what happened.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings

if "--celeriac" in sys.argv:
    import celeriac

    celeriac.install()

from celery import Celery, Task, signals
from celery.app import trace
from celery.backends.base import KeyValueStoreBackend
from celery.exceptions import Ignore, Reject

SEEN: list = []
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def plain(value, depth=0):
    """A value as both sides would show it."""
    if isinstance(value, BaseException):
        return (
            f"<{type(value).__module__.replace('celeriac.compat', 'celery')}.{type(value).__qualname__} {value.args!r}>"
        )
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if type(value).__name__ == "ExceptionInfo":
        exc = value.exception
        return [
            "einfo",
            value.type.__name__,
            plain(getattr(exc, "exc", exc)),
            last_line(value.traceback),
            value.internal,
        ]
    if type(value).__name__ == "Context":
        return ["request", value.id, value.called_directly, value.is_eager]
    if isinstance(value, Task):
        return ["task", value.name, value.request.id]
    if type(value).__name__.lower() in ("traceback", "tracebacktype"):
        return "traceback"
    return f"<{type(value).__name__}>"


def last_line(text):
    return text.strip().splitlines()[-1] if isinstance(text, str) else text


class Dict(KeyValueStoreBackend):
    persistent = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kept = {}

    def get(self, key):
        return self.kept.get(key if isinstance(key, str) else key.decode())

    def mget(self, keys):
        return [self.get(key) for key in keys]

    def set(self, key, value):
        key = key if isinstance(key, str) else key.decode()
        doc = json.loads(value)
        if isinstance(doc, dict):
            doc["traceback"] = last_line(doc.get("traceback"))
            doc["date_done"] = bool(doc.get("date_done"))
            if isinstance(doc.get("result"), dict) and "pid" in doc["result"]:
                doc["result"]["pid"] = doc["result"]["pid"] == os.getpid()
        SEEN.append(["stored", key, doc])
        self.kept[key] = value if isinstance(value, bytes) else value.encode()

    def delete(self, key):
        self.kept.pop(key if isinstance(key, str) else key.decode(), None)


NATIVE = "--native" in sys.argv  # celeriac's own store, in place of a backend that somebody wrote
app = Celery("scenarios", broker="memory://", backend="memory" if NATIVE else None, set_as_current=True)
app.conf.update(task_store_eager_result=False, broker_connection_retry_on_startup=True)
BACKEND = app.backend if NATIVE else Dict(app)
type(app).backend = property(lambda self: BACKEND)


def left():
    """What is stored in the end, and nothing any more."""
    docs = {}
    for task_id in (T, "c2", "c3"):
        if NATIVE:
            from celeriac.protocol.wire.result import document

            found = BACKEND.store.fetch(task_id)
            doc = found and json.loads(json.dumps(document(found)))
            BACKEND.forget(task_id)
        else:
            found = BACKEND.kept.get(f"celery-task-meta-{task_id}")
            doc = found and json.loads(found)
        if doc:
            doc["traceback"] = last_line(doc.get("traceback"))
            doc["date_done"] = bool(doc.get("date_done"))
        docs[task_id] = doc
    return docs


NAMES = (
    *("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry", "task_internal_error"),
    *("task_rejected", "task_revoked"),
)


def listen(name):
    def receive(sender=None, signal=None, **kwargs):
        said = {key: plain(value) for key, value in kwargs.items() if key != "runtime"}
        SEEN.append(["signal", name, plain(sender), said])

    getattr(signals, name).connect(receive, weak=False)


for name in NAMES:
    listen(name)


@signals.before_task_publish.connect(weak=False)
def sent(sender=None, body=None, headers=None, **_):
    embed = body[2] if isinstance(body, tuple) else None
    kept = {key: headers.get(key) for key in ("parent_id", "root_id", "group", "retries", "ignore_result", "shadow")}
    links = {key: [sig["task"] for sig in embed[key] or ()] for key in ("callbacks", "errbacks", "chain")}
    SEEN.append(["sent", sender, plain(body[0]), plain(body[1]), kept, links])


class Lines(logging.Handler):
    def emit(self, record):
        text = re.sub(r"in [\d.e-]+s", "in Ts", record.getMessage().splitlines()[0])
        data = dict(getattr(record, "data", None) or {})
        for key in ("runtime", "traceback", "hostname"):
            if key in data:
                data[key] = bool(data[key])
        SEEN.append(["log", record.name, record.levelname, text, bool(record.exc_info), plain(data)])


logger = logging.getLogger("celery.app.trace")
logger.addHandler(Lines())
logger.setLevel(logging.INFO)
logger.propagate = False
for other in ("celery.backends.base",):
    logging.getLogger(other).addHandler(Lines())
    logging.getLogger(other).propagate = False


class Hooked(Task):
    abstract = True

    def before_start(self, task_id, args, kwargs):
        SEEN.append(["hook", "before_start", task_id, plain(args), plain(kwargs)])

    def on_success(self, retval, task_id, args, kwargs):
        SEEN.append(["hook", "on_success", plain(retval), task_id, plain(args), plain(kwargs)])

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        SEEN.append(["hook", "on_failure", plain(exc), task_id, plain(args), plain(kwargs), plain(einfo)])

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        SEEN.append(["hook", "on_retry", plain(exc), task_id, plain(args), plain(kwargs), plain(einfo)])

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        SEEN.append(["hook", "after_return", status, plain(retval), task_id, plain(args), plain(kwargs), plain(einfo)])


class Called(Hooked):
    abstract = True

    def __call__(self, *args, **kwargs):
        SEEN.append(["hook", "__call__", plain(args), self.request.called_directly])
        return super().__call__(*args, **kwargs)


class Breaking(Task):
    abstract = True

    def on_success(self, retval, task_id, args, kwargs):
        raise RuntimeError("on_success breaks")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        raise RuntimeError("after_return breaks")


class Unpickleable(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


class Nested:
    class Deep(ValueError):
        pass


@app.task(base=Hooked)
def add(x, y):
    return x + y


@app.task(base=Called)
def called(x):
    return x


@app.task(base=Hooked)
def boom(*args):
    raise KeyError("no", *args)


@app.task(base=Hooked, throws=(KeyError,))
def expected():
    raise KeyError("known")


@app.task(base=Hooked, bind=True, max_retries=2)
def again(self, exc=None):
    try:
        raise ValueError("first")  # noqa: TRY301 - as users do
    except ValueError as error:
        raise self.retry(exc=error if exc else None, countdown=5)  # noqa: B904


@app.task(base=Hooked)
def ignored():
    raise Ignore("leave me")


@app.task(base=Hooked)
def rejected(requeue):
    raise Reject("not me", requeue=requeue)


@app.task(base=Hooked, ignore_result=True)
def silent(fails=False):
    if fails:
        raise ValueError("silently")
    return 1


@app.task(base=Hooked, ignore_result=True, store_errors_even_if_ignored=True)
def half_silent():
    raise ValueError("not silently")


@app.task(base=Hooked, track_started=True)
def tracked():
    return "done"


@app.task(base=Hooked)
def unpickleable():
    raise Unpickleable(1, 2)


@app.task(base=Hooked)
def deep():
    raise Nested.Deep("deep", object)


@app.task(base=Hooked)
def unencodable():
    return object()


@app.task(base=Breaking)
def breaking(fails=False):
    if fails:
        raise ValueError("and more")
    return 1


@app.task(base=Hooked)
def hungry():
    raise MemoryError("eaten")


@app.task(base=Hooked)
def leaving():
    raise SystemExit(3)


@app.task(base=Hooked, bind=True)
def parent(self):
    add.delay(1, 2)
    return self.request.id


@app.task(base=Hooked, bind=True)
def replaced(self):
    raise self.replace(add.s(5, 5))


@app.task(base=Hooked, bind=True)
def states_itself(self):
    self.update_state(state="PROGRESS", meta={"at": 1})
    return "after"


@app.task
def old_errback(task_id):
    SEEN.append(["errback", "old", task_id])


@app.task
def new_errback(request, exc, traceback):
    SEEN.append(["errback", "new", plain(request), plain(exc), last_line(traceback)])


@app.task
def breaking_errback(request, exc, traceback):
    raise RuntimeError("errback breaks")


def sigs(*found):
    return [dict(sig) for sig in found]


def late(name, options=None):
    return [dict(add.s(1).set(task_id=name, **(options or {})))]


T = "11111111-1111-4111-8111-111111111111"
U = "22222222-2222-4222-8222-222222222222"
SCENARIOS = {
    "success": (add, (1, 2), {}, {}),
    "success with kwargs": (add, (), {"x": 1, "y": 2}, {"shadow": "shown", "argsrepr": "A", "kwargsrepr": "K"}),
    "own call": (called, (1,), {}, {}),
    "failure": (boom, (1,), {}, {}),
    "failure that is expected": (expected, (), {}, {}),
    "bad arguments": (add, (1,), {}, {}),
    "no mapping": (add, (1, 2), None, {}),
    "retry": (again, (), {}, {}),
    "retry with a cause": (again, (True,), {}, {"retries": 1}),
    "retries exhausted": (again, (), {}, {"retries": 2}),
    "retries exhausted with a cause": (again, (True,), {}, {"retries": 2}),
    "ignored": (ignored, (), {}, {}),
    "rejected": (rejected, (False,), {}, {}),
    "requeued": (rejected, (True,), {}, {}),
    "silent": (silent, (), {}, {}),
    "silent failure": (silent, (True,), {}, {}),
    "silent by message": (add, (1, 2), {}, {"ignore_result": True}),
    "told by message": (silent, (), {}, {"ignore_result": False}),
    "errors even if ignored": (half_silent, (), {}, {}),
    "tracked": (tracked, (), {}, {}),
    "unpickleable": (unpickleable, (), {}, {}),
    "deep": (deep, (), {}, {}),
    "unencodable": (unencodable, (), {}, {}),
    "unencodable with errback": (unencodable, (), {}, {"errbacks": sigs(new_errback.s())}),
    "breaking hooks": (breaking, (), {}, {}),
    "breaking hooks after a failure": (breaking, (True,), {}, {}),
    "no memory": (hungry, (), {}, {}),
    "exit": (leaving, (), {}, {}),
    "children": (parent, (), {}, {}),
    "replaced": (replaced, (), {}, {"root_id": U, "errbacks": sigs(old_errback.s())}),
    "own state": (states_itself, (), {}, {}),
    "family": (add, (1, 2), {}, {"group": U, "parent_id": U, "root_id": U}),
    "callback": (add, (1, 2), {}, {"callbacks": sigs(add.s(4))}),
    "callbacks": (add, (1, 2), {}, {"callbacks": sigs(add.s(4), tracked.si())}),
    "chain": (add, (1, 2), {}, {"chain": [*late("c3"), *late("c2")]}),
    "callback and chain": (add, (1, 2), {}, {"callbacks": sigs(add.s(4)), "chain": late("c2"), "root_id": U}),
    "failed chain": (boom, (), {}, {"chain": [*late("c3"), *late("c2")], "callbacks": sigs(add.s(4))}),
    "silently failed chain": (silent, (True,), {}, {"chain": late("c2")}),
    "old errback": (boom, (), {}, {"errbacks": sigs(old_errback.s())}),
    "new errback": (boom, (), {}, {"errbacks": sigs(new_errback.s())}),
    "errbacks": (boom, (), {}, {"errbacks": sigs(old_errback.s(), new_errback.s(), breaking_errback.s())}),
    "errback from elsewhere": (boom, (), {}, {"errbacks": [{**dict(add.s()), "task": "elsewhere.task"}]}),
    "errback of a retry": (again, (), {}, {"errbacks": sigs(new_errback.s())}),
    "bad callback": (add, (1, 2), {}, {"callbacks": [{"no": "signature"}]}),
}
EAGER = (
    *("success", "own call", "failure", "failure that is expected", "bad arguments", "retries exhausted", "ignored"),
    *("rejected", "silent failure", "tracked", "unencodable", "no memory", "exit", "unpickleable", "breaking hooks"),
)


def traced(task, args, kwargs, more):
    tracer = trace.build_tracer(task.name, task, app=app, hostname="host")
    request = {
        "id": T,
        "task": task.name,
        "hostname": "host",
        "root_id": T,
        "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False},
        **more,
    }
    ended = tracer(T, args, kwargs, request)
    return [plain(ended.retval), ended.info and [ended.info.state, plain(ended.info.retval)], ended.retstr]


def eager(task, args, kwargs, more, throw=False):
    found = task.apply(args, kwargs, task_id=T, throw=throw)
    return [found.state, plain(found.result), last_line(found.traceback)]


def record(run, *given):
    del SEEN[:]
    if not NATIVE:
        BACKEND.kept.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            ended = run(*given)
        except BaseException as exc:
            ended = ["raised", plain(exc)]
    SEEN.extend(
        ["warned", warning.category.__name__, str(warning.message).splitlines()[0]]
        for warning in warned
        if issubclass(warning.category, RuntimeWarning)
    )
    SEEN.append(["ended", ended])
    SEEN.append(["left", left()])
    return json.loads(numbered(json.dumps(SEEN)))


def numbered(text):
    known = {T: "T", U: "U"}
    text = re.sub(r"0x[0-9a-f]+", "0xN", text).replace("celeriac.compat.", "celery.")
    # Where the class is; and stock passes an exception on to itself as its first argument.
    text = text.replace("celeriac.worker.einfo", "billiard.einfo").replace("Retry (Retry(...),", "Retry (None,")
    return UUID.sub(lambda found: known.setdefault(found[0], f"id{len(known)}"), text)


def all_of_them():
    told = {}
    for name, given in SCENARIOS.items():
        told[name] = record(traced, *given)
    for name in EAGER:
        told[f"eager: {name}"] = record(eager, *SCENARIOS[name])
        told[f"eager, thrown: {name}"] = record(eager, *SCENARIOS[name], True)
    app.conf.result_extended = True
    told["extended"] = record(traced, *SCENARIOS["success"])
    told["extended failure"] = record(traced, *SCENARIOS["failed chain"])
    app.conf.result_extended = False

    app.conf.task_inherit_parent_priority = True
    told["inherited priority"] = record(traced, *SCENARIOS["callback"])
    app.conf.task_inherit_parent_priority = False
    app.loader.on_task_init = lambda task_id, task: 1 / 0
    told["broken loader"] = record(traced, *SCENARIOS["success"])
    del app.loader.on_task_init
    return told


if __name__ == "__main__":
    print(json.dumps(all_of_them()))

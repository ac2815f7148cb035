"""Tasks that do what their arguments say, and a record of all that a worker tells while it runs them.

The same file under stock Celery and under celeriac, in the worker and in the client. What is told goes to the file
that `RECORD` names, a line of JSON for each signal, hook and log line, with the id of its task. Never imported by
the tests: see programs_run.py.
"""

import asyncio
import builtins
import decimal
import json
import logging
import os
import re
import sys
import time

from celery import Celery, Task, chain, chord, group, signals
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

OURS = "celeriac" in sys.modules
ID = re.compile(r"p\d+\.\w+")

app = Celery("programs", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_extended=bool(os.environ.get("EXTENDED")),
    worker_prefetch_multiplier=16,
    task_publish_retry=False,
    result_chord_join_timeout=5,
    task_allow_error_cb_on_chord_header=bool(os.environ.get("HEADER_ERRBACKS")),
)


# --- the record


def record(kind, task_id, *told):
    line = json.dumps([kind, task_id, *told], default=repr) + "\n"
    file = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def plain(value):
    """A value as both sides would show it."""
    if isinstance(value, Retry):
        return f"<Retry {value.exc!r} {value.excs} {value.when} {value.message}>"
    if isinstance(value, BaseException):
        return f"<{type(value).__qualname__} {value.args!r}>"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value if len(str(value)) < 500 else [type(value).__name__, len(str(value))]
    if type(value).__name__ == "ExceptionInfo":
        problem = value.exception
        return ["einfo", value.type.__name__, plain(getattr(problem, "exc", problem)), last_line(value.traceback)]
    if isinstance(value, Task):
        return ["task", value.name]
    if hasattr(value, "task_id") or hasattr(value, "correlation_id"):
        return ["request", getattr(value, "id", None)]
    return f"<{type(value).__name__}>"


def last_line(text):
    return text.strip().splitlines()[-1] if isinstance(text, str) and text.strip() else text


def id_in(told):
    for name in ("task_id", "id"):
        if isinstance(told.get(name), str):
            return told[name]
    request = told.get("request")
    if request is not None:
        return request.id
    sender = told.get("sender")
    return sender.request.id if isinstance(sender, Task) else None


WORKER_SIGNALS = ("task_received", "task_revoked", "task_rejected", "task_unknown")
TASK_SIGNALS = (
    *("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry", "task_internal_error"),
    "before_task_publish",
)


def listen(name):
    def receive(sender=None, signal=None, **told):
        task_id = told["headers"]["id"] if name == "before_task_publish" else id_in({**told, "sender": sender})
        if name == "before_task_publish":
            body, headers = told["body"], told["headers"]
            kept = {key: headers.get(key) for key in ("parent_id", "root_id", "retries", "ignore_result", "shadow")}
            links = {key: body[2][key] and len(body[2][key]) for key in ("callbacks", "errbacks", "chain")}
            said = {**kept, **links, "chord": bool(body[2]["chord"])}
        else:
            said = {key: plain(value) for key, value in told.items() if key not in ("runtime", "message")}
            if isinstance(told.get("traceback"), str):
                said["traceback"] = last_line(told["traceback"])
        record("worker" if name in WORKER_SIGNALS else "task", task_id, name, said)

    getattr(signals, name).connect(receive, weak=False)


class Lines(logging.Handler):
    def emit(self, line):
        text = re.sub(r"in [\d.e-]+s\b", "in Ts", line.getMessage().splitlines()[0])
        text = re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"ForkPoolWorker-\d+|pid:\d+", "W", text))
        found = ID.search(text)
        # The parent's lines and the child's: their order is left to chance.
        kind = "log" if line.name == "celery.app.trace" else "worker log"
        record(kind, found and found[0], line.name, line.levelname, text, bool(line.exc_info))


if os.environ.get("RECORDING"):
    for each in (*WORKER_SIGNALS, *TASK_SIGNALS):
        listen(each)
    for each in (
        "celery.app.trace",
        "celery.worker.strategy",
        "celery.worker.request",
        "celery.worker.consumer.consumer",
    ):
        logging.getLogger(each).addHandler(Lines())


class Hooked(Task):
    abstract = True

    def before_start(self, task_id, args, kwargs):
        record("task", task_id, "before_start", plain(args))

    def on_success(self, retval, task_id, args, kwargs):
        record("task", task_id, "on_success", plain(retval))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        record("task", task_id, "on_failure", plain(exc), plain(einfo))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        record("task", task_id, "on_retry", plain(exc), plain(einfo))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        record("task", task_id, "after_return", status, plain(retval), plain(einfo))


# --- what tasks do


class Odd(Exception):
    """Cannot be made again from its args."""

    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


class Silent(Exception):
    """Its repr breaks."""

    def __repr__(self):
        raise RuntimeError("no repr")


class Holding(Exception):
    pass


class Nested:
    class Deep(ValueError):
        pass


class Slotted(Exception):
    __slots__ = ("code",)


ERRORS = {
    "value": lambda: ValueError("bad", 1),
    "key": lambda: KeyError("k"),
    "odd": lambda: Odd(1, 2),
    "silent": lambda: Silent("x"),
    "holding": lambda: Holding(object, {"a": {1}}),
    "lambda": lambda: Holding(lambda: 1),
    "deep": lambda: Nested.Deep("deep"),
    "os": lambda: FileNotFoundError(2, "No such file", "f"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "long": lambda: ValueError("x" * 3000),
    "empty": Exception,
    "bytes": lambda: ValueError(b"\xff\xfe"),
    "slotted": lambda: Slotted("s"),
    "surrogate": lambda: ValueError("\udcff"),
    "assertion": AssertionError,
    "stop": lambda: StopIteration(5),
    "timeout": lambda: TimeoutError("late"),
    "soft": lambda: SoftTimeLimitExceeded(1),
    "decimal": lambda: decimal.InvalidOperation("d"),
    "group": lambda: vars(builtins).get("ExceptionGroup", Holding)("g", [ValueError(1)]),
    "local": lambda: type("Local", (Exception,), {})("here"),
}
VALUES = {
    "object": object,
    "set": lambda: {3},
    "bytes": lambda: b"\xff\x00",
    "text": lambda: "\u20ac \u0000 \U0001f600",
    "surrogate": lambda: "\ud800",
    "nan": lambda: float("nan"),
    "huge": lambda: "y" * 200_000,
    "wide": lambda: list(range(20_000)),
    "number": lambda: 10**40,
    "decimal": lambda: decimal.Decimal("1.10"),
    "keys": lambda: {1: 2, "b": None},
    "tuple": lambda: (1, (2, [3])),
    "exception": lambda: ValueError("returned"),
    "generator": lambda: (n for n in ()),
    "lambda": lambda: len,
    "none": lambda: None,
    "deep": lambda: [[[[[[[[[[1]]]]]]]]]],
}


def numbers(value):
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int) and value < 10**6 else []


def build(form):
    """A canvas as it is written in a program: [kind, ...]."""
    kind, *rest = form
    return KINDS[kind](*rest)


def one(task_id, name, steps, options):
    options = dict(options)
    made = TASKS[name].s(do=steps) if not options.pop("immutable", False) else TASKS[name].si(do=steps)
    links, errbacks = options.pop("link", ()), options.pop("link_error", ())
    made = made.set(task_id=task_id, **options)
    for form in links:
        made.link(build(form))
    for form in errbacks:
        made.link_error(build(form))
    return made


KINDS = {
    "task": one,
    "chain": lambda *parts: chain(*map(build, parts)),
    "group": lambda *parts: group(*map(build, parts)),
    "chord": lambda header, body: chord([build(part) for part in header], build(body)),
    "old_errback": lambda task_id: old_errback.si("of").set(task_id=task_id),
    "new_errback": lambda: new_errback.s(),  # noqa: PLW0108 - it is made further down
}


def fail(how):
    error = ERRORS[how]()
    raise error


def act(self, previous, steps):
    """What the steps say, one after the other; the sum of the numbers that were given if they say nothing."""
    for word, *rest in steps:
        if word == "raise":
            fail(rest[0])
        if word == "value":
            return VALUES[rest[0]]()
        if word == "return":
            return rest[0]
        if word == "state":
            self.update_state(state=rest[0], meta=rest[1])
        elif word == "retry" and self.request.retries < rest[0]:
            raise self.retry(countdown=0, max_retries=rest[1], exc=ERRORS[rest[2]]() if rest[2] else None)
        elif word == "catch retry" and self.request.retries < rest[0]:
            try:
                fail(rest[1])
            except Exception:  # as users do
                self.retry(countdown=0, max_retries=rest[0])
        elif word == "changed retry" and self.request.retries < 1:
            self.retry(args=(5,), kwargs={"do": [["return", 7]]}, countdown=0)
        elif word == "fail first" and self.request.retries < rest[0]:
            fail(rest[1])
        elif word == "ignore":
            raise Ignore(*rest)
        elif word == "reject":
            raise Reject("why", requeue=False)
        elif word == "replace":
            raise self.replace(build(rest[0]))
        elif word == "extend":
            self.add_to_chord(build(rest[0]))
        elif word == "spawn":
            build(rest[0]).apply_async()
        elif word == "sleep":
            end = time.monotonic() + rest[0]
            while time.monotonic() < end:
                time.sleep(0.01)
        elif word == "catch soft":
            try:
                while True:
                    time.sleep(0.01)
            except SoftTimeLimitExceeded:
                return "caught"
        elif word == "event":
            self.send_event("task-odd", told=rest[0])
    return sum(numbers(previous)) + 1


def run(self, *previous, do=()):
    return act(self, previous, do)


OPTIONS = {
    "act": {},
    "late": {"acks_late": True},
    "early_fails": {"acks_late": True, "acks_on_failure_or_timeout": False},
    "tracked": {"track_started": True},
    "quiet": {"ignore_result": True},
    "half_quiet": {"ignore_result": True, "store_errors_even_if_ignored": True},
    "auto": {
        "autoretry_for": (ValueError, OSError),
        "max_retries": 2,
        "retry_backoff": False,
        "default_retry_delay": 0,
    },
    "auto_not": {
        "autoretry_for": (Exception,),
        "dont_autoretry_for": (KeyError,),
        "max_retries": 1,
        "default_retry_delay": 0,
    },
    "throws": {"throws": (KeyError, ValueError)},
    "limited": {"soft_time_limit": 1.5},  # no stall of a busy machine is as long
    "untrailed": {"trail": False},
    "unevented": {"send_events": False},
    "short": {"resultrepr_maxsize": 20},
}
TASKS = {name: app.task(name=f"p.{name}", bind=True, base=Hooked, **options)(run) for name, options in OPTIONS.items()}

if OURS:

    @app.task(name="p.later", bind=True, base=Hooked)
    async def later(self, *previous, do=()):
        await asyncio.sleep(0)
        return act(self, previous, do)

else:
    later = app.task(name="p.later", bind=True, base=Hooked)(run)

TASKS["later"] = later


@app.task(name="p.strict", base=Hooked)
def strict(x, *, do):
    return x


TASKS["strict"] = strict


@app.task(name="p.old_errback")
def old_errback(of):
    record("task", "errbacks", "old", of)


@app.task(name="p.new_errback")
def new_errback(request, exc, traceback):
    record("task", request.id, "errback", plain(exc), last_line(traceback))

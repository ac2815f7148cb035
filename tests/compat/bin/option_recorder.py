"""Runs command lines in stock Celery or in celeriac, and writes down what each of them comes to.

Input: a JSON list of `{"words": [...], "env": {...}}`; output: a list of `{"code", "out", "calls", "files", "deep"}`.
What would go on for ever, or need a broker, is replaced at Celery's own names by something that notes what it was told:
so the same program tells of both. Each line runs in a child of its own, in an empty folder.
"""

from __future__ import annotations

import code
import contextlib
import gc
import io
import json
import os
import sys
import tempfile
import traceback
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import click

OURS = sys.argv[1] == "celeriac"
if OURS:
    import_module("celeriac.compat.alias").install()
for loaded in ("prefork", "solo", "thread"):  # once, for all children
    import_module(f"celery.concurrency.{loaded}")
import_module("kombu.transport.redis")

celery: Any = import_module("celery")
worker, beat, events, migrating, purging = (
    import_module(f"celery.bin.{name}") for name in ("worker", "beat", "events", "migrate", "purge")
)
program: Any = import_module("celery.bin.celery").celery
Worker: Any = import_module("celery.apps.worker").Worker
Beat: Any = import_module("celery.apps.beat").Beat
Control: Any = import_module("celery.app.control").Control
virtual: Any = import_module("kombu.transport.virtual")
Channel: Any = virtual.Channel

PROJ = """\
from celery import Celery
app = Celery("proj", broker="redis://127.0.0.1:1/0", backend="redis://127.0.0.1:1/1", set_as_current=False)
@app.task
def add(x, y): return x + y
app.finalize()
"""
OTHER = PROJ.replace('"proj"', '"other"')
SETTINGS = "task_default_queue = 'from-settings'\n"
OLD = "BROKER_URL = 'x'\nCELERYD_CONCURRENCY = 3\n"
LOG = """\
[2026-11-21 09:58:03,375: INFO/MainProcess] Task proj.add[0af5f3d2-1d9c-4d1a-ae36-000000000001] received
[2026-11-21 09:58:03,376: INFO/MainProcess] Connected
[2026-11-21 09:58:03,378: ERROR/ForkPoolWorker-1] Task proj.add[0af5f3d2-1d9c-4d1a-ae36-000000000002] raised: ValueError
Traceback (most recent call last):
ValueError: no
"""
MORE = "from proj import app\n@app.task\ndef sub(x, y): return x - y\n"
LOADER = "from celery.loaders.default import Loader\nclass Mine(Loader): pass\n"
FOLDER = {
    "old.py": OLD,
    "more.py": "CELERYD_PREFETCH_MULTIPLIER = 3\n",
    "log": LOG,
    "other.log": LOG + LOG.replace("1d9c", "2d9c"),
}

CALLS: list[tuple[str, dict[str, Any]]] = []
DEEP: dict[str, Any] = {}


def note(what: str, **told: Any) -> None:
    CALLS.append((what, {name: plain(value) for name, value in told.items()}))


def plain(value: Any) -> Any:
    """As JSON holds it, and alike for both."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if value is None or isinstance(value, (str, int, float)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else "something"


# --- worker


def started(self: Any) -> None:
    steps = {type(step).__name__.lower(): step for step in self.consumer.steps}
    note(
        "worker",
        **{
            name: getattr(self, name)
            for name in (
                *("hostname", "autoscale", "prefetch_multiplier", "time_limit"),
                *("soft_time_limit", "max_tasks_per_child", "max_memory_per_child", "task_events", "loglevel"),
                *("logfile", "pidfile", "statedb", "purge", "optimization", "schedule_filename", "scheduler", "quiet"),
                *("no_color", "pool_start_method"),
            )
        },
        pool=self.pool_cls.__module__.rpartition(".")[2] if not OURS else _pool(self),
        concurrency=None if self.autoscale else self.concurrency,
        queues=set(self.app.amqp.queues.consume_from),
        include=self.include,
        disable_prefetch=self.app.conf.worker_disable_prefetch,
        beat=getattr(self, "beat", None) is not None,
        without=[name for name in ("gossip", "mingle", "heart") if name not in steps] if not OURS else _without(self),
        heartbeat=getattr(steps.get("heart"), "heartbeat_interval", None) if not OURS else self._heartbeat,
    )
    if OURS:
        told = self.worker.options
        for part in ("pool", "taking", "telling"):
            options = getattr(told, part)
            DEEP.update({f"{part}.{name}": plain(getattr(options, name)) for name in options.__dataclass_fields__})
        DEEP.update(state_db=told.state_db, without=sorted(self.worker.without))
        DEEP["heart"] = self.worker.heart is not None and plain(self.worker.heart.interval)
        DEEP["queues"] = sorted(self.app.amqp.queues.consume_from)
        DEEP["tasks"] = sorted(name for name in self.app.tasks if not name.startswith("celery."))
        DEEP["beat"] = self.beat is not None and [
            plain(self.beat.service.schedule_filename),
            plain(self.beat.service.scheduler_cls),
        ]


def _pool(worker: Any) -> str:
    kind = worker._options.pool.kind
    return {"threads": "thread"}.get(kind, kind)


def _without(worker: Any) -> list[str]:
    known = {"gossip": "gossip", "mingle": "mingle", "heartbeat": "heart"}
    return [known[name] for name in ("gossip", "mingle", "heartbeat") if name in worker.worker.without]


@contextlib.contextmanager
def detached(logfile=None, pidfile=None, uid=None, gid=None, umask=0, *_: Any, **__: Any) -> Any:
    note("detached", logfile=logfile, pidfile=pidfile, uid=uid, gid=gid, umask=umask)
    yield


def execv(path: str, argv: list[str]) -> None:
    given = ["celery" if word == "celeriac" else word for word in argv[1:]]
    note("execv", path="this python" if path == sys.executable else path, argv=given)


Worker.start = started
os.execv = execv
for module in (worker, beat, events):
    module.detached = detached


def become(uid: Any = None, gid: Any = None) -> None:
    note("become", uid=uid, gid=gid)


for module in (worker, beat):
    module.maybe_drop_privileges = become

# --- beat, events


def ran(self: Any) -> None:
    names = (
        "loglevel",
        "logfile",
        "pidfile",
        "schedule",
        "scheduler_cls",
        "max_interval",
        "remote_control",
        "hostname",
    )
    note("beat", **{name: getattr(self, name) for name in (*names, "quiet")})
    self.start_scheduler()


def service(app: Any = None, **told: Any) -> None:
    note("service", **told)
    sys.exit(0)


Beat.run = ran
Beat.Service = staticmethod(service)
if OURS:  # tried in test_bad_input
    checking: Any = import_module("celery.beat_check")
    checking.check = lambda *_: None
    Beat.check = lambda self: None
for name, function in (("snapshot", "evcam"), ("dumper", "evdump"), ("cursesmon", "evtop")):
    setattr(
        import_module(f"celery.events.{name}"),
        function,
        lambda *given, _name=function, **told: note(_name, given=given, **told),
    )

# --- asking, telling, sending


def broadcast(self: Any, command: str, **told: Any) -> Any:
    note("broadcast", command=command, **{name: told.get(name) for name in ("arguments", "destination", "timeout")})
    replies = [{"one@here": {"ok": "pong"}}]
    for each in replies:
        if told.get("callback"):
            told["callback"](each)
    return replies


class Result:
    """A result that is there."""

    backend = None
    traceback = "where it was raised"
    state = "SUCCESS"

    def __init__(self, task_id: str, told: str) -> None:
        note("result", id=task_id, by=told)

    def get(self, **_: Any) -> str:
        return "its value"


def send_task(self: Any, name: str, **told: Any) -> Any:
    note("send_task", name=name, **told)
    return types.SimpleNamespace(id="its-id")


Control.broadcast = broadcast
celery.Celery.send_task = send_task
celery.Celery.AsyncResult = lambda self, task_id, **_: Result(task_id, "app")
celery.Task.AsyncResult = lambda self, task_id, **_: Result(task_id, self.name)


def migrate_tasks(source: Any, destination: Any, callback: Any = None, app: Any = None, **told: Any) -> None:
    note("migrate", source=source.as_uri(), destination=destination.as_uri(), **told)


for module in (migrating, import_module("celery.contrib.migrate")):
    module.migrate_tasks = migrate_tasks

# --- the broker by hand

METHODS = {
    "exchange_declare": ("exchange", "type", "durable", "auto_delete", "arguments", "nowait", "passive"),
    "exchange_delete": ("exchange", "if_unused"),
    "queue_bind": ("queue", "exchange", "routing_key"),
    "queue_declare": ("queue", "passive", "durable", "exclusive", "auto_delete"),
    "queue_delete": ("queue", "if_unused", "if_empty"),
    "queue_purge": ("queue",),
    "basic_get": ("queue", "no_ack"),
    "basic_publish": ("message", "exchange", "routing_key", "mandatory", "immediate"),
    "basic_ack": ("delivery_tag",),
}
GIVEN = {"queue_declare": ("q", 3, 2), "queue_delete": 4, "queue_purge": 5, "basic_get": None}


def method(name: str) -> Any:
    def called(self: Any, *given: Any, **named: Any) -> Any:
        told = {**dict(zip(METHODS[name], given, strict=False)), **named}
        if name == "basic_publish":
            told["message"] = told["message"].get("body") if isinstance(told["message"], dict) else told["message"]
        note(name, **told)
        return GIVEN.get(name)

    return called


for name in METHODS:
    setattr(Channel, name, method(name))

virtual.base.Transport.establish_connection = lambda self: types.SimpleNamespace(client=None)  # no broker is asked
virtual.base.Transport.create_channel = lambda self, connection: Channel.__new__(Channel)
virtual.base.Transport.close_connection = lambda self, connection: None
virtual.base.Transport.verify_connection = lambda self, connection: True
Channel.prepare_message = lambda self, body, **_: {"body": body}
Channel.close = lambda self: None
Channel.__del__ = lambda self: None  # it has not been made in earnest
if OURS:
    purging._purge = lambda app, names, quiet: sum(method("queue_purge")(None, queue=name) for name in names)


# --- shells


def module_of(name: str, **what: Any) -> None:
    made = sys.modules[name] = types.ModuleType(name)
    made.__dict__.update(what)


def shell(kind: str) -> Any:
    def begun(*_: Any, **told: Any) -> None:
        names = told.get("local") or told.get("user_ns") or told.get("locals_") or (_[0] if _ else {})
        note("shell", kind=kind, add="add" in names, app=getattr(names.get("app"), "main", None))

    return begun


def patching(kind: str) -> Any:
    return lambda *_, **__: note("patched", by=kind)


module_of("IPython", start_ipython=shell("ipython"))
module_of("bpython", embed=shell("bpython"))
module_of("eventlet", monkey_patch=patching("eventlet"))
module_of("eventlet.debug", hub_blocking_detection=lambda *_: None)
module_of("gevent", monkey=types.SimpleNamespace(patch_all=patching("gevent")), version_info=(25, 1, 0, "final", 0))
module_of("gevent.monkey", patch_all=patching("gevent"))
module_of("gevent.signal", signal=lambda *_: None)
code.interact = shell("python")


# --- what the global options come to


@click.command("probe", context_settings={"allow_extra_args": True})
@click.pass_context
def probe(ctx: click.Context) -> None:
    """Shows the app."""
    app = ctx.obj.app
    note(
        "probe",
        main=app.main,
        broker=app.connection().as_uri(),
        backend=app.backend.as_uri(),
        loader=type(app.loader).__name__,
        queue=app.conf.task_default_queue,
        folder=Path.cwd().name if Path.cwd().name == "elsewhere" else "here",
        no_color=ctx.obj.no_color,
        quiet=ctx.obj.quiet,
        skip_checks=os.environ.get("CELERY_SKIP_CHECKS"),
    )


program.add_command(probe)


def run(question: dict[str, Any], place: str, number: int) -> dict[str, Any]:
    folder = Path(place, str(number))
    (folder / "elsewhere").mkdir(parents=True)
    for name, text in FOLDER.items():
        (folder / name).write_text(text)
    os.chdir(folder)
    os.environ.update(question["env"])
    sys.argv = ["celery", *question["words"]]
    out = sys.stdout = sys.stderr = io.StringIO()
    sys.stdin = io.StringIO("y\n")
    code = 0
    try:
        program(args=question["words"], prog_name="celery", auto_envvar_prefix="CELERY")
    except SystemExit as told:
        code = told.code if isinstance(told.code, int) else int(told.code is not None)
    files = {path.name: path.read_text() for path in folder.glob("*.orig")}
    changed = {
        name: (folder / name).read_text() for name, text in FOLDER.items() if (folder / name).read_text() != text
    }
    return {"code": code, "out": out.getvalue(), "calls": CALLS, "files": {**files, **changed}, "deep": DEEP}


def main() -> None:
    questions = json.load(sys.stdin)
    gc.disable()  # what it would touch, each child would have to copy
    gc.freeze()
    with tempfile.TemporaryDirectory() as place:
        for name, source in (
            ("proj", PROJ),
            ("other", OTHER),
            ("mysettings", SETTINGS),
            ("myloader", LOADER),
            ("more_tasks", MORE),
        ):
            Path(place, f"{name}.py").write_text(source)
        sys.path.insert(0, place)
        for number, question in enumerate(questions):
            pid = os.fork()
            if not pid:
                try:
                    answer = run(question, place, number)
                except BaseException as problem:
                    answer = {"code": None, "out": traceback.format_exc(), "problem": repr(problem)}
                Path(place, f"{number}.json").write_text(json.dumps(answer))
                os._exit(0)
            os.waitpid(pid, 0)
        read = [json.loads(Path(place, f"{n}.json").read_text()) for n in range(len(questions))]
    json.dump(read, sys.__stdout__)


main()

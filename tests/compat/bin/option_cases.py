"""For every command and option of tests/reference/cli.json a command line, and what is to be seen of it in celeriac.

What a line comes to is compared with stock Celery (`option_recorder.py`); `deep` is what the worker itself, beneath
Celery's names, is told; `reason` says why a line is not compared, and what is to be seen of it stands in `calls`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """An option's value (None: a flag), or for an argument the whole `line`; `base` is the line without it."""

    value: str | None = None
    base: str = ""
    line: str = ""
    deep: dict[str, Any] = {}  # noqa: RUF012 - a constant
    out: bool = False
    """Whether what is printed is compared as well."""
    reason: str = ""
    calls: str = ""
    against: str = ""
    """What it is compared with, if that is not the base."""


def flag(base: str = "", **told: Any) -> Case:
    return Case(None, base, **told)


def argument(line: str, base: str, **told: Any) -> Case:
    return Case(line=line, base=base, **told)


# Where the options of a command are tried.
BASES = {
    "": "-A proj probe",
    "beat": "-A proj beat",
    "call": "-A proj call x",
    "control": "-A proj control heartbeat",
    "events": "-A proj events -c celery.events.snapshot:Polaroid --detach",
    "inspect": "-A proj inspect ping",
    "migrate": "-A proj migrate redis://a redis://b",
    "purge": "-A proj purge",
    "result": "-A proj result x",
    "shell": "-A proj shell",
    "status": "-A proj status",
    "upgrade settings": "upgrade settings old.py",
    "worker": "-A proj worker",
}

# Commands without options of their own: a line, and what it is to print.
COMMANDS: dict[str, tuple[str, str]] = {
    "amqp": ("-A proj amqp --help", "queue.purge"),
    "amqp repl": ("-A proj amqp repl", "-> connected."),
    "graph": ("-A proj graph --help", "bootsteps"),
    "graph bootsteps": ("-A proj graph bootsteps", "digraph"),
    "graph workers": ("-A proj graph workers nodes:one,two threads:2", "digraph"),
    "list": ("-A proj list --help", "bindings"),
    "list bindings": ("-A proj list bindings --help", "bindings of queues"),  # what it lists: test_pairings
    "logtool": ("logtool --help", "incomplete"),
    "multi": ("multi names 3 --range-prefix=w", "w1@"),
    "report": ("-A proj report", "software ->"),
    "upgrade": ("upgrade --help", "settings"),
}

_DAEMON = "-A proj worker -D"
_BEAT = "-A proj beat --detach"
_CAMERA_STOPS = "celeriac looks for the camera before it goes into the background"
_NOT_PATCHED = "stock imports its pool, which patches only where a worker starts; celeriac patches at once"
_SHELLS = "stock opens another shell when one is left"
_COUNTS = "stock counts the nodes behind the JSON, which makes it none"
_LOGS = "stock reads the log of another version: it finds no task that was received in its own"

OPTIONS: dict[str, dict[str, Case]] = {
    "": {
        "app": argument("-A other probe", "-A proj probe"),
        "broker": Case("redis://elsewhere/3"),
        "result_backend": Case("redis://elsewhere/4"),
        "loader": Case("myloader.Mine", base="probe"),
        "config": Case("mysettings", base="probe"),
        "workdir": Case("elsewhere"),
        "no_color": flag(),
        "quiet": flag(),
        "version": flag(reason="it names celeriac beside the version of Celery", calls="5.7.0"),
        "skip_checks": flag(),
    },
    "amqp basic.ack": {"delivery_tag": argument("-A proj amqp basic.ack 7", "-A proj amqp basic.ack 8")},
    "amqp basic.get": {
        "queue": argument("-A proj amqp basic.get q", "-A proj amqp basic.get p"),
        "no_ack": argument("-A proj amqp basic.get q true", "-A proj amqp basic.get q"),
    },
    "amqp basic.publish": {
        "msg": argument("-A proj amqp basic.publish text e k", "-A proj amqp basic.publish other e k"),
        "exchange": argument("-A proj amqp basic.publish text e k", "-A proj amqp basic.publish text f k"),
        "routing_key": argument("-A proj amqp basic.publish text e k", "-A proj amqp basic.publish text e l"),
        "mandatory": argument("-A proj amqp basic.publish text e k yes", "-A proj amqp basic.publish text e k"),
        "immediate": argument("-A proj amqp basic.publish text e k no yes", "-A proj amqp basic.publish text e k no"),
    },
    "amqp exchange.declare": {
        "exchange": argument("-A proj amqp exchange.declare e topic", "-A proj amqp exchange.declare f topic"),
        "type": argument("-A proj amqp exchange.declare e topic", "-A proj amqp exchange.declare e fanout"),
        "passive": argument("-A proj amqp exchange.declare e topic yes", "-A proj amqp exchange.declare e topic"),
        "durable": argument("-A proj amqp exchange.declare e topic no yes", "-A proj amqp exchange.declare e topic no"),
        "auto_delete": argument(
            "-A proj amqp exchange.declare e topic no no yes", "-A proj amqp exchange.declare e topic no no"
        ),
    },
    "amqp exchange.delete": {
        "exchange": argument("-A proj amqp exchange.delete e no", "-A proj amqp exchange.delete f no"),
        "if_unused": argument("-A proj amqp exchange.delete e yes", "-A proj amqp exchange.delete e no"),
    },
    "amqp queue.bind": {
        "queue": argument("-A proj amqp queue.bind q e k", "-A proj amqp queue.bind p e k"),
        "exchange": argument("-A proj amqp queue.bind q e k", "-A proj amqp queue.bind q f k"),
        "routing_key": argument("-A proj amqp queue.bind q e k", "-A proj amqp queue.bind q e l"),
    },
    "amqp queue.declare": {
        "queue": argument("-A proj amqp queue.declare q", "-A proj amqp queue.declare p", out=True),
        "passive": argument("-A proj amqp queue.declare q yes", "-A proj amqp queue.declare q"),
        "durable": argument("-A proj amqp queue.declare q no yes", "-A proj amqp queue.declare q no"),
        "auto_delete": argument("-A proj amqp queue.declare q no no yes", "-A proj amqp queue.declare q no no"),
    },
    "amqp queue.delete": {
        "queue": argument("-A proj amqp queue.delete q", "-A proj amqp queue.delete p", out=True),
        "if_unused": argument("-A proj amqp queue.delete q yes", "-A proj amqp queue.delete q"),
        "if_empty": argument("-A proj amqp queue.delete q no yes", "-A proj amqp queue.delete q no"),
    },
    "amqp queue.purge": {"queue": argument("-A proj amqp queue.purge q", "-A proj amqp queue.purge p", out=True)},
    "beat": {
        "detach": flag(),
        "schedule": Case("times"),
        "scheduler": Case("proj:Own"),
        "max_interval": Case("7"),
        "remote_control": flag(),
        "hostname": Case("b@%h"),
        "loglevel": Case("debug"),
        "logfile": Case("beat.log", base=_BEAT),
        "pidfile": Case("beat.pid", base=_BEAT),
        "uid": Case("3", base=_BEAT),
        "gid": Case("4", base=_BEAT),
        "umask": Case("022", base=_BEAT),
        "executable": Case(
            "/bin/sh",
            reason="stock takes it and does nothing with it; celeriac says so",
            calls="hint: --executable has no effect",
        ),
    },
    "call": {
        "name": argument("-A proj call x", "-A proj call y"),
        "args": Case("[1,2]"),
        "kwargs": Case('{"x":1}'),
        "eta": Case("2030-01-31T08:00:00"),
        "countdown": Case("7"),
        "expires": Case("8.5"),
        "serializer": Case("pickle"),
        "queue": Case("q"),
        "exchange": Case("e"),
        "routing_key": Case("k"),
    },
    "control": {
        "command": argument("-A proj control heartbeat", "-A proj control enable_events"),
        "list": flag(reason="the lists are compared in test_pairings; the words are ours", calls="rate_limit"),
        "timeout": Case("7"),
        "destination": Case("a@h,b@h"),
        "json": flag(out=True),
    },
    "events": {
        "dump": flag("-A proj events"),
        "camera": Case("celery.events.snapshot:Polaroid", base="-A proj events"),
        "detach": flag("-A proj events -c celery.events.snapshot:Polaroid"),
        "frequency": Case("7"),
        "maxrate": Case("10/m"),
        "loglevel": Case("debug"),
        "logfile": Case("cam.log"),
        "pidfile": Case("cam.pid"),
        "uid": Case("3"),
        "gid": Case("4"),
        "umask": Case("022"),
        "executable": Case(
            "/bin/sh",
            reason="stock takes it and fails with a TypeError; celeriac says that it has no effect",
            calls="hint: --executable has no effect",
        ),
    },
    "inspect": {
        "command": argument("-A proj inspect ping", "-A proj inspect stats"),
        "list": flag(reason="the lists are compared in test_pairings; the words are ours", calls="active_queues"),
        "timeout": Case("7"),
        "destination": Case("a@h,b@h"),
        "json": flag(out=True),
    },
    **{
        f"logtool {name}": {
            "files": argument(f"logtool {name} log", f"logtool {name} other.log", reason=_LOGS, calls=told)
        }
        for name, told in (
            ("debug", "Connected"),
            ("errors", "raised: ValueError"),
            ("incomplete", "Did not complete: 0af5f3d2-1d9c-4d1a-ae36-000000000001"),
            ("stats", "Task total: 1\n"),
            ("traces", "ValueError: no"),
        )
    },
    "migrate": {
        "source": argument("-A proj migrate redis://a redis://b", "-A proj migrate redis://c redis://b"),
        "destination": argument("-A proj migrate redis://a redis://b", "-A proj migrate redis://a redis://c"),
        "limit": Case("7"),
        "timeout": Case("8"),
        "ack_messages": flag(),
        "tasks": Case("a,b"),
        "queues": Case("q,p:r"),
        "forever": flag(),
    },
    "purge": {
        "force": flag(out=True, reason="one space in the question is ours", calls="Purged 5 messages"),
        "queues": Case("a,b"),
        "exclude_queues": Case("a", base="-A proj purge -f -Q a,b"),
    },
    "result": {
        "task_id": argument("-A proj result x", "-A proj result y"),
        "task": Case("proj.add"),
        "traceback": flag(out=True),
    },
    "shell": {
        "ipython": flag(against="-A proj shell -B", reason=_SHELLS, calls="ipython"),
        "bpython": flag(reason=_SHELLS, calls="bpython"),
        "python": flag(reason=_SHELLS, calls="python"),
        "without_tasks": flag(),
        "eventlet": flag(reason=_NOT_PATCHED, calls="eventlet"),
        "gevent": flag(reason=_NOT_PATCHED, calls="gevent"),
    },
    "status": {
        "timeout": Case("7"),
        "destination": Case("a@h,b@h"),
        "json": flag(reason=_COUNTS, calls='{"one@here": {"ok": "pong"}}\n'),
    },
    "upgrade settings": {
        "filename": argument("upgrade settings old.py", "upgrade settings more.py", out=True),
        "django": flag(),
        "compat": flag(),
        "no_backup": flag(),
    },
    "worker": {
        "hostname": Case("w1@%h"),
        "detach": flag(),
        "statedb": Case("%n.state", deep={"state_db": "celery.state"}),
        "loglevel": Case("debug"),
        "optimization": Case("fair"),
        "prefetch_multiplier": Case("7", deep={"taking.prefetch": 7}),
        "disable_prefetch": flag(deep={"taking.only_what_runs": True}),
        "concurrency": Case("7", deep={"pool.concurrency": 7}),
        "pool": Case("threads", deep={"pool.kind": "threads"}),
        "task_events": flag(deep={"telling.events": True}),
        "time_limit": Case("7", deep={"pool.hard_limit": 7.0}),
        "soft_time_limit": Case("6", deep={"pool.soft_limit": 6.0}),
        "max_tasks_per_child": Case("9", deep={"pool.max_tasks": 9}),
        "pool_start_method": Case("spawn", deep={"pool.start_method": "spawn"}),
        "max_memory_per_child": Case("99999", deep={"pool.max_memory": 99999}),
        "purge": flag(),
        "queues": Case("a,b", deep={"queues": ["a", "b"]}),
        "exclude_queues": Case("a", base="-A proj worker -Q a,b", deep={"queues": ["b"]}),
        "include": Case("more_tasks", deep={"tasks": ["more_tasks.sub", "proj.add"]}),
        "without_gossip": flag(deep={"without": ["gossip"]}),
        "without_mingle": flag(deep={"without": ["mingle"]}),
        "without_heartbeat": flag(deep={"without": ["heartbeat"]}),
        "heartbeat_interval": Case("17", deep={"heart": 17}),
        "autoscale": Case("10,3", deep={"pool.autoscale": [10, 3]}),
        "beat": flag(deep={"beat": ["celerybeat-schedule", "celery.beat:PersistentScheduler"]}),
        "schedule_filename": Case(
            "times", base="-A proj worker -B", deep={"beat": ["times", "celery.beat:PersistentScheduler"]}
        ),
        "scheduler": Case(
            "celery.beat:Scheduler",
            base="-A proj worker -B",
            deep={"beat": ["celerybeat-schedule", "celery.beat:Scheduler"]},
        ),
        "logfile": Case("%n.log"),
        "pidfile": Case("%n.pid"),
        "uid": Case("3"),
        "gid": Case("4"),
        "umask": Case("022", base=_DAEMON),
        "executable": Case("/bin/sh", base=_DAEMON),
    },
}

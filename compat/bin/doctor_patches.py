"""Names of Celery's and kombu's in which other code stands: those that celeriac calls, and those that it does not.

Law: a name is told of when other code stands there than its own module has written, and is said to be called, or not
to be, where a test has seen it. What nobody has tried is said to be so.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

_PACKAGE = __name__.partition(".bin.")[0]
_ALL = ("*",)
_ANOTHER = "another value than kombu's"
_PLAIN = (type(None), bool, int, float, str, bytes)
_FAMILY = frozenset({"celeriac", "celery", "kombu", "amqp", "vine", "billiard"})
_STANDARD = str(Path(inspect.__file__).resolve().parent)

HEARD: Mapping[str, tuple[str, ...]] = {
    "celery.app.task:Task": ("apply_async", "delay", "__call__", "retry", "apply", "run", "on_retry", "on_failure"),
    "celery.app.base:Celery": ("send_task", "Task", "task", "finalize", "gen_task_name", "now"),
    "celery.app.trace": ("build_tracer",),
    "celery.backends.base:Backend": ("store_result", "mark_as_revoked", "get_task_meta"),
    "celery.beat:Scheduler": ("apply_entry", "apply_async"),
    "celery.canvas:Signature": ("apply_async",),
    "celery.result:AsyncResult": ("get",),
    "celery.utils.dispatch.signal:Signal": ("send",),
    "kombu.messaging:Producer": ("publish",),
}
"""Looked up late, and called where Celery calls them."""

_TASKS = "follow tasks by signals (task_prerun, task_postrun), by the hooks of a task's class, or around build_tracer"
_STORE = "give result_backend a class of your own, as module.path:Class; that one is called"
_CONNECTION = "say it in broker_transport_options: what connects to this broker is celeriac's own"
_RESULTS = "say it in result_backend_transport_options: what waits for results is celeriac's own"
_EVENTS = "hear events with app.events.Receiver; a worker's own are sent without it"
_WORKER = "use a boot step, a signal or a remote control command: celeriac's worker is another one inside"


@dataclass(frozen=True, slots=True)
class Unheard:
    """Names of one place that Celery calls and celeriac does not, and what to do instead."""

    names: tuple[str, ...]
    instead: str


UNHEARD: Mapping[str, Unheard] = {
    "celery.app.trace": Unheard(("trace_task", "trace_task_ret", "fast_trace_task"), _TASKS),
    "celery.app.base:Celery": Unheard(
        ("_acquire_connection", "_acquire_producer", "_connection", "connection_for_read", "connection_for_write",
         "connection_or_acquire", "producer_or_acquire"), _CONNECTION,
    ),
    "celery.app.amqp:AMQP": Unheard(("TaskConsumer",), _WORKER),
    "celery.backends.redis:RedisBackend": Unheard(
        ("_create_client", "_get_client", "_get_pool", "_params_from_url", "_set", "_unpack_chord_result",
         "apply_chord", "delete", "ensure", "forget", "get", "mget", "on_connection_error", "on_task_call", "set",
         "set_chord_size"),
        _STORE,
    ),
    "celery.backends.redis:ResultConsumer": Unheard(_ALL, _RESULTS),
    "celery.backends.asynchronous:BaseResultConsumer": Unheard(_ALL, _RESULTS),
    "celery.backends.asynchronous:Drainer": Unheard(_ALL, _RESULTS),
    "celery.backends.base:Backend": Unheard(
        ("decode", "decode_result", "mark_as_done", "mark_as_failure", "mark_as_retry", "process_cleanup"), _STORE,
    ),
    "celery.backends.base:BaseKeyValueStoreBackend": Unheard(
        ("_forget", "_get_task_meta_for", "_store_result", "get_key_for_group", "get_key_for_task", "get_many"), _STORE,
    ),
    "celery.canvas:Signature": Unheard(("freeze",), "use apply_async, of the signature or of the task"),
    "celery.concurrency.base:BasePool": Unheard(
        ("apply_async", "on_start", "register_with_event_loop"), "name a pool of your own with -P module.path:Class"
    ),
    "celery.events.dispatcher:EventDispatcher": Unheard(("_prepare_event", "_publish", "publish", "send"), _EVENTS),
    "celery.worker.components:Hub": Unheard(("create", "start", "terminate"), _WORKER),
    "celery.worker.consumer.consumer:Consumer": Unheard(
        ("apply_eta_task", "bucket_for_task", "connect", "connection_for_read", "connection_for_write",
         "create_task_handler", "ensure_connected", "loop_args", "on_unknown_task", "register_with_event_loop",
         "reset_rate_limits"), _WORKER,
    ),
    "celery.worker.loops": Unheard(("asynloop", "synloop"), _WORKER),
    "celery.worker.pidbox:Pidbox": Unheard(_ALL, _WORKER),
    "celery.worker.request:Request": Unheard(
        ("acknowledge", "on_accepted", "on_failure", "on_retry", "revoked", "send_event"),
        "give the task a class of requests of its own: Task.Request",
    ),
    "celery.worker.state": Unheard(("maybe_shutdown", "task_reserved"), _WORKER),
    "celery.worker.worker:WorkController": Unheard(("_process_task", "register_with_event_loop"), _WORKER),
}  # fmt: skip

OF_KOMBU = (
    "kombu.transport.redis", "kombu.transport.redis:Channel", "kombu.transport.redis:MultiChannelPoller",
    "kombu.transport.redis:QoS", "kombu.transport.redis:Transport", "kombu.transport.virtual.base:Channel",
    "kombu.transport.virtual.base:QoS", "kombu.transport.virtual.base:Transport", "kombu.transport.pyamqp:Channel",
    "kombu.transport.pyamqp:Connection", "kombu.transport.pyamqp:Transport", "kombu.messaging:Consumer",
    "kombu.connection:Connection", "kombu.pidbox:Mailbox", "kombu.pidbox:Node", "kombu.asynchronous.hub:Hub",
    "amqp.connection:Connection", "amqp.channel:Channel",
)  # fmt: skip
"""Celery's way to Redis and RabbitMQ. celeriac has its own, and takes kombu's to other brokers."""


_WATCHED_BY_AGENTS = "kombu.messaging:Consumer"
_SEEN = "a worker's messages do not pass it; its tasks are seen by signals, and around build_tracer"


@dataclass(frozen=True, slots=True)
class Patch:
    """`instead`: celeriac does not call it, and what to do. Empty: it does; None: nobody has tried."""

    name: str
    by: str
    instead: str | None = None
    is_watching: bool = False
    """Agents do it to watch, and see a worker's tasks another way as well."""


def patches(is_own_broker: bool) -> Iterator[Patch]:
    """`is_own_broker`: celeriac talks to the broker without kombu."""
    for place in sorted({*HEARD, *UNHEARD, *(OF_KOMBU if is_own_broker else ())}):
        heard, unheard = HEARD.get(place, ()), UNHEARD.get(place)
        for attribute, by in _replaced(place):
            if _named(attribute, heard):
                instead: str | None = ""
            elif unheard is not None and _named(attribute, unheard.names):
                instead = unheard.instead
            else:
                instead = _CONNECTION if place in OF_KOMBU else None
            watching = place == _WATCHED_BY_AGENTS
            instead = _SEEN if instead and watching else instead
            yield Patch(f"{place.replace(':', '.')}.{attribute}", by, instead, watching)


def _named(attribute: str, names: tuple[str, ...]) -> bool:
    return names == _ALL or attribute in names


def _replaced(place: str) -> Iterator[tuple[str, str]]:
    """Each attribute in which something of others stands, and where that is from."""
    module, _, cls = place.partition(":")
    loaded = _loaded(module)
    holder = getattr(loaded, cls, None) if loaded is not None and cls else loaded
    if loaded is None or holder is None:
        return
    written, home = _written(loaded, cls), _home(loaded)
    for attribute, value in sorted(vars(holder).items()):
        origin = written.get(attribute, _ADDED)
        if isinstance(origin, _Constant):
            by = _ANOTHER if type(value) in _PLAIN and value != origin.value else ""
        elif origin is _DEFINED or (cls and origin is _ADDED and not attribute.startswith("__")):
            by = _stranger(value, home)
        else:
            by = ""
        if by:
            yield attribute, by


def _loaded(module: str) -> Any:
    if module.startswith("celery."):
        return sys.modules.get(f"{_PACKAGE}.{module.removeprefix('celery.')}")
    return sys.modules.get(module)


def _home(module: Any) -> str:
    """The folder of the package that the module belongs to."""
    top = sys.modules.get(_PACKAGE if module.__name__.startswith(_PACKAGE) else module.__name__.partition(".")[0])
    return _folder(getattr(top, "__file__", None))


def _folder(file: str | None) -> str:
    return str(Path(file).resolve().parent) if file else ""


# --- what the source says

_DEFINED, _ADDED, _ASSIGNED = "defined", "added", "assigned"


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any


@functools.cache
def _tree(file: str) -> ast.Module:
    try:
        return ast.parse(Path(file).read_text("utf-8"))
    except (OSError, ValueError, SyntaxError):  # installed without its source: what can be seen is looked at
        return ast.Module([], [])


def _written(module: Any, cls: str) -> dict[str, Any]:
    """How the source binds each name there: by a definition, to a constant, or otherwise."""
    body: list[ast.stmt] = _tree(str(module.__file__)).body
    if cls:
        names = {cls, getattr(module, cls).__name__}
        body = [line for each in body if isinstance(each, ast.ClassDef) and each.name in names for line in each.body]
    found: dict[str, Any] = {}
    for line in body:
        if isinstance(line, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[line.name] = _DEFINED
        elif isinstance(line, (ast.Assign, ast.AnnAssign)):
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            plain = cls and isinstance(line.value, ast.Constant)
            how = _Constant(line.value.value) if plain else _ASSIGNED  # type: ignore[union-attr] # it is one
            found.update((target.id, how) for target in targets if isinstance(target, ast.Name))
    return found


# --- what stands there


def _stranger(value: Any, home: str) -> str:
    """Where the code that stands there is from, if it is not of this package; empty where that is not known."""
    code, wrapper = _code(value), getattr(value, "_self_wrapper", None)  # wrapt's: it passes for what it is around
    if wrapper is not None:
        code = _code(wrapper) or code
    if code is not None:
        return "" if _folder(code.co_filename).startswith(home) else str(code.co_filename)
    if not isinstance(value, type) or value.__module__.partition(".")[0] in {*_FAMILY, *sys.stdlib_module_names}:
        return ""
    file = getattr(sys.modules.get(value.__module__), "__file__", None)
    return str(file) if file and not _folder(file).startswith(home) else ""


def _code(value: Any) -> CodeType | None:
    """The code of a function; of one that the standard library has put around another, that one's."""
    for _ in range(8):
        code = getattr(value, "__code__", None)
        if isinstance(code, CodeType) and _folder(code.co_filename) != _STANDARD:
            return code
        inner = [getattr(value, name, None) for name in ("__wrapped__", "__func__", "fget", "func")]
        value = next((each for each in inner if each is not None), None)
    return None

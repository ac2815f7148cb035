"""Which app and which task are current: all that this process knows of its apps without being given one.

Law: nothing heavier than a thread-local is imported. A current task belongs to its thread, and to its coroutine.
"""

from __future__ import annotations

import os
import sys
import threading
from _weakrefset import WeakSet  # where `weakref` has it from, whose rest is 0.4 ms of CPU
from collections.abc import Callable

from ..protocol.hints import Any
from .local import Proxy
from .utils.threads import LocalStack

__all__ = (
    "connect_on_app_finalize",
    "current_app",
    "current_task",
    "get_current_app",
    "get_current_task",
    "get_current_worker_task",
    "set_default_app",
)

#: What is current where no app was made current.
default_app: Any = None

_apps: WeakSet[Any] = WeakSet()
# A dict, and no set: shared tasks are made in the order in which they were declared, in every process alike.
_on_app_finalizers: dict[Callable[[Any], Any], None] = {}
_task_join_will_block = False
# Environment variables that the command line has set, for children: what it was told is no surprise to anybody.
_told_on_command_line: dict[str, str] = {}


class _TLS(threading.local):
    current_app: Any = None


_tls = _TLS()
_task_stack: Any = LocalStack()
push_current_task = _task_stack.push
pop_current_task = _task_stack.pop


def connect_on_app_finalize(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have `callback(app)` called when any app is finalized."""
    _on_app_finalizers[callback] = None
    return callback


def _announce_app_finalized(app: Any) -> None:
    for callback in list(_on_app_finalizers):
        callback(app)


def _set_task_join_will_block(blocks: bool) -> None:
    global _task_join_will_block
    _task_join_will_block = blocks


def task_join_will_block() -> bool:
    return _task_join_will_block


def set_default_app(app: Any) -> None:
    global default_app
    default_app = app


def _get_current_app() -> Any:
    if default_app is None and _tls.current_app is None:
        from .app.base import Celery

        loader = os.environ.get("CELERY_LOADER") or "default"
        set_default_app(Celery("default", fixups=[], set_as_current=False, loader=loader))
    return _tls.current_app or default_app


def _set_current_app(app: Any) -> None:
    _tls.current_app = app


def _refuse_current_app() -> Any:
    raise RuntimeError("USES CURRENT APP")


def _tell_current_app() -> Any:
    import traceback

    print("-- USES CURRENT_APP", file=sys.stderr)  # noqa: T201  # for whoever set C_WARN_APP
    traceback.print_stack(file=sys.stderr)
    return _get_current_app()


get_current_app = _get_current_app
if os.environ.get("C_STRICT_APP"):
    get_current_app = _refuse_current_app
elif os.environ.get("C_WARN_APP"):
    get_current_app = _tell_current_app


def get_current_task() -> Any:
    """The task that is running here, called by a worker or by hand."""
    return _task_stack.top


def get_current_worker_task() -> Any:
    """The task that a worker runs here, whatever tasks it has called by hand since."""
    for task in reversed(_task_stack.stack):
        if not task.request.called_directly:
            return task
    return None


current_app: Any = Proxy(get_current_app)
current_task: Any = Proxy(get_current_task)


def _register_app(app: Any) -> None:
    _apps.add(app)


def _deregister_app(app: Any) -> None:
    _apps.discard(app)


def _get_active_apps() -> WeakSet[Any]:
    return _apps


def _app_or_default(app: Any = None) -> Any:
    return get_current_app() if app is None else app


def _app_or_default_trace(app: Any = None) -> Any:
    """For whoever hunts code that relies on the current app: says where it was asked for."""
    if app is not None:
        return app
    import traceback

    if _tls.current_app:
        print("-- RETURNING TO CURRENT APP --")  # noqa: T201  # for whoever set CELERY_TRACE_APP
        traceback.print_stack()
        return _tls.current_app
    import multiprocessing

    if multiprocessing.current_process().name == "MainProcess":
        raise Exception("DEFAULT APP")  # noqa: TRY002  # Celery's own class and text
    print("-- RETURNING TO DEFAULT APP --")  # noqa: T201  # for whoever set CELERY_TRACE_APP
    traceback.print_stack()
    return default_app


#: The app given, or the current one.
app_or_default: Callable[..., Any] = _app_or_default


def enable_trace() -> None:
    """Say where the current app is asked for."""
    global app_or_default
    app_or_default = _app_or_default_trace


def disable_trace() -> None:
    global app_or_default
    app_or_default = _app_or_default


if os.environ.get("CELERY_TRACE_APP"):
    enable_trace()

"""The prefork pool by Celery's name, and what is done in each of its processes before and after all tasks."""

from __future__ import annotations

import os
from multiprocessing.process import current_process
from typing import Any

from ..utils import log
from . import native

__all__ = ("TaskPool", "process_destructor", "process_initializer")


def process_initializer(app: Any, hostname: str | None, place: int = 0, *, method: str = "fork") -> None:
    """In a new child: its name in the logs, the app it serves, and the signal that connects what a fork has cut."""
    from .. import signals
    from .._state import _set_task_join_will_block, set_default_app
    from ..app.log import log_in_own_file

    _set_task_join_will_block(True)
    _call_it(place, method)
    log_in_own_file(app, hostname)
    app.loader.init_worker()
    if method == "spawn":
        for fixup in app._fixups:
            if hasattr(fixup, "on_spawned"):
                fixup.on_spawned()
    app.loader.init_worker_process()
    app.set_current()
    set_default_app(app)
    app.finalize()
    signals.worker_process_init.send(sender=hostname)


def process_destructor(pid: int, exitcode: int, hostname: str | None = None) -> None:
    """In a child that leaves."""
    from .. import signals

    signals.worker_process_shutdown.send(sender=hostname, pid=pid, exitcode=exitcode)


def destroy_this(hostname: str | None, exitcode: int) -> None:
    process_destructor(os.getpid(), exitcode, hostname)


def _call_it(place: int, method: str) -> None:
    """As billiard names its processes: log formats print it, and `%i` in file names is its index."""
    process: Any
    for process in (current_process(), log.current_process()):  # billiard's, where something has loaded it
        process.name = f"{method.capitalize()}PoolWorker-{place + 1}"
        process.index = place


class TaskPool(native.TaskPool):
    """`worker.pools`: prefork."""

    kind = "prefork"
    uses_semaphore = True

"""The eventlet pool by Celery's name."""

from __future__ import annotations

from . import native

__all__ = ("TaskPool",)


class TaskPool(native.TaskPool):
    """`worker.pools`: eventlet."""

    kind = "eventlet"
    signal_safe = False
    is_green = True
    task_join_will_block = False

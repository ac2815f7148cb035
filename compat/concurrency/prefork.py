"""The prefork pool by Celery's name."""

from __future__ import annotations

from . import native

__all__ = ("TaskPool",)


class TaskPool(native.TaskPool):
    """`worker.pools`: prefork."""

    kind = "prefork"
    uses_semaphore = True

"""The asyncio pool by Celery's name."""

from __future__ import annotations

from . import native

__all__ = ("TaskPool",)


class TaskPool(native.TaskPool):
    """`worker.pools`: asyncio."""

    kind = "asyncio"

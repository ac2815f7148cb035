"""The asyncio pool as packages reach it; Celery has none of its own."""

from __future__ import annotations

from . import native

__all__ = ("TaskPool",)


class TaskPool(native.TaskPool):
    """`worker.pools`: asyncio."""

    kind = "asyncio"

"""Pools by their names: what `worker_pool` and `-P` may say.

`CELERY_CUSTOM_WORKER_POOL` names a pool of somebody's own, which is then called `custom`.
"""

from __future__ import annotations

import os
from typing import Any

from ..utils.imports import symbol_by_name

__all__ = ("get_available_pool_names", "get_implementation")

ALIASES: dict[str, Any] = {
    "prefork": "celery.concurrency.prefork:TaskPool",
    "eventlet": "celery.concurrency.eventlet:TaskPool",
    "gevent": "celery.concurrency.gevent:TaskPool",
    "solo": "celery.concurrency.solo:TaskPool",
    "processes": "celery.concurrency.prefork:TaskPool",
    "threads": "celery.concurrency.thread:TaskPool",
    "asyncio": "celery.concurrency.aio:TaskPool",
    "custom": os.environ.get("CELERY_CUSTOM_WORKER_POOL"),
}


def get_implementation(cls: Any) -> Any:
    """The class of a pool: by its name, by its path, or itself."""
    return symbol_by_name(cls, ALIASES)


def get_available_pool_names() -> tuple[str, ...]:
    return tuple(ALIASES)

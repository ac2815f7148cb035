"""The solo pool by Celery's name. A pool of somebody's own that extends it runs what it is given here and now."""

from __future__ import annotations

import os
from typing import Any

from . import native
from .base import apply_target

__all__ = ("TaskPool",)


def process_initializer(hostname: str | None, _place: int) -> None:
    """There is one process; it hears what the children of a prefork pool hear."""
    from .. import signals

    signals.worker_process_init.send(sender=hostname)


class TaskPool(native.TaskPool):
    """`worker.pools`: solo."""

    kind = "solo"
    body_can_be_buffer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit = 1
        if type(self) is not TaskPool:
            from .. import signals

            signals.worker_process_init.send(sender=(self.options.get("initargs") or (None, None))[1])

    def on_start(self) -> None:
        if self.core is not None:
            super().on_start()

    def on_stop(self) -> None:
        if self.core is not None:
            super().on_stop()

    def on_terminate(self) -> None:
        if self.core is not None:
            super().on_terminate()

    def on_apply(self, *args: Any, **options: Any) -> Any:
        return apply_target(*args, **options) if self.core is None else super().on_apply(*args, **options)

    def _get_info(self) -> dict[str, Any]:
        info = super()._get_info()
        info.update(
            {
                "max-concurrency": 1,
                "processes": [os.getpid()],
                "max-tasks-per-child": None,
                "put-guarded-by-semaphore": True,
                "timeouts": (),
            }
        )
        return info

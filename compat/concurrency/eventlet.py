"""The eventlet pool by Celery's name."""

from __future__ import annotations

import logging

from .. import signals
from . import native

__all__ = ("TaskPool",)

log = logging.getLogger("celery.pool")


class TaskPool(native.TaskPool):
    """`worker.pools`: eventlet."""

    kind = "eventlet"
    signal_safe = False
    is_green = True
    task_join_will_block = False

    def begun(self) -> None:
        signals.eventlet_pool_started.send(sender=self)
        if signals.eventlet_pool_apply.receivers:
            log.warning("The signal eventlet_pool_apply is not sent: connect to task_prerun instead")

    def ending(self) -> None:
        signals.eventlet_pool_preshutdown.send(sender=self)

    def ended(self) -> None:
        signals.eventlet_pool_postshutdown.send(sender=self)

"""The bootstep `Heart`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .events import Events

__all__ = ("Heart",)


class Heart(bootsteps.StartStopStep):
    """worker-heartbeat events."""

    requires: Any = (Events,)

    def __init__(
        self, c: Any, without_heartbeat: bool = False, heartbeat_interval: float | None = None, **kwargs: Any
    ) -> None:
        self.enabled = not without_heartbeat
        self.heartbeat_interval = heartbeat_interval
        c.heart = None
        super().__init__(c, **kwargs)

    def start(self, c: Any) -> None:
        c.heart = c.controller.worker and c.controller.worker.heart

    def stop(self, c: Any) -> None:
        c.heart = None

    shutdown = stop

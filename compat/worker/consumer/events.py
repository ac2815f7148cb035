"""The bootstep `Events`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .connection import Connection

__all__ = ("Events",)


class Events(bootsteps.StartStopStep):
    """`consumer.event_dispatcher`: the worker's events."""

    requires: Any = (Connection,)

    def __init__(
        self,
        c: Any,
        task_events: Any = True,
        without_heartbeat: bool = False,
        without_gossip: bool = False,
        **kwargs: Any,
    ) -> None:
        self.groups = None if task_events else ["worker"]
        self.send_events = task_events or not without_gossip or not without_heartbeat
        self.enabled = self.send_events
        super().__init__(c, **kwargs)

    def start(self, c: Any) -> None:
        """The worker tells them on a connection of its own."""

    def stop(self, c: Any) -> None: ...

    def shutdown(self, c: Any) -> None: ...

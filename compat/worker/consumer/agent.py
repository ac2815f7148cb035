"""The bootstep `Agent`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .connection import Connection

__all__ = ("Agent",)


class Agent(bootsteps.StartStopStep):
    """`worker_agent`: a service of somebody's own."""

    conditional = True
    requires: Any = (Connection,)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        self.agent_cls = self.enabled = c.app.conf.worker_agent
        super().__init__(c, **kwargs)

    def create(self, c: Any) -> Any:
        agent = c.agent = self.instantiate(self.agent_cls, c.connection)
        return agent

"""The bootstep `Control`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .tasks import Tasks

__all__ = ("Control",)


class Control(bootsteps.StartStopStep):
    """Remote control."""

    requires: Any = (Tasks,)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)

    def include_if(self, c: Any) -> Any:
        return c.app.conf.worker_enable_remote_control

"""The bootstep `Tasks`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .mingle import Mingle

__all__ = ("Tasks",)


class Tasks(bootsteps.StartStopStep):
    """From here on messages are taken."""

    requires: Any = (Mingle,)

    def start(self, c: Any) -> None:
        c.update_strategies()

    def info(self, c: Any) -> dict[str, Any]:
        return {"prefetch_count": c.qos.value}

"""The bootstep `Tasks`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .mingle import Mingle

__all__ = ("Tasks",)


class Tasks(bootsteps.StartStopStep):
    """From here on messages are taken."""

    requires: Any = (Mingle,)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)

    def start(self, c: Any) -> None:
        c.update_strategies()

    def stop(self, c: Any) -> None:
        """The worker takes nothing more once it was told to stop."""

    def shutdown(self, c: Any) -> None: ...

    def qos_global(self, c: Any) -> bool:
        """Whether what is taken ahead is counted for all queues together."""
        return True

    def info(self, c: Any) -> dict[str, Any]:
        return {"prefetch_count": c.qos.value}

"""The bootstep `Mingle`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .events import Events

__all__ = ("Mingle",)


class Mingle(bootsteps.StartStopStep):
    """Revoked tasks and the clock, asked of the other workers at the start."""

    label = "Mingle"
    requires: Any = (Events,)
    compatible_transports = frozenset({"amqp", "redis", "gcpubsub"})

    def __init__(self, c: Any, without_mingle: bool = False, **kwargs: Any) -> None:
        self.enabled = not without_mingle
        super().__init__(c, without_mingle=without_mingle, **kwargs)

"""The worker's timer: kombu's schedule, called by the worker's own thread."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

from kombu.asynchronous.timer import Timer as Schedule

_NEVER = float("inf")


class Timer(Schedule):
    """`wake` has the worker look at it anew: entries may come from any thread."""

    def __init__(self, wake: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # kombu's
        self._wake = wake

    def _enter(self, eta: Any, priority: Any, entry: Any, push: Any = heappush) -> Any:
        entered = super()._enter(eta, priority, entry, push)  # type: ignore[no-untyped-call]  # kombu's
        self._wake()
        return entered

    def turn(self) -> float:
        """Call what is due. Seconds until the next is, or infinity."""
        for delay, entry in self:
            if entry is None:
                return delay if delay is not None else _NEVER
            self.apply_entry(entry)  # type: ignore[no-untyped-call]  # kombu's
        return _NEVER

    def start(self) -> None:
        """The worker turns it."""

    def ensure_started(self) -> None:
        """The worker turns it."""

"""The worker's timer: kombu's schedule, called by the worker's own thread.

Law: kombu (60 ms of CPU) is loaded when somebody enters something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappush
from typing import Any

_NEVER = float("inf")


class Timer:
    """What kombu's `Timer` has. `wake` has the worker look at it anew: entries may come from any thread."""

    def __init__(self, wake: Callable[[], None], **options: Any) -> None:
        self._wake = wake
        self._options = options
        self._schedule: Any = None

    def _made(self) -> Any:
        if self._schedule is None:
            self._schedule = _schedule(self._wake, self._options)
        return self._schedule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._made())

    def __len__(self) -> int:
        return 0 if self._schedule is None else len(self._schedule)

    def __bool__(self) -> bool:
        return True

    def stop(self) -> None:
        if self._schedule is not None:
            self._schedule.stop()

    def turn(self) -> float:
        """Call what is due. Seconds until the next is, or infinity."""
        if self._schedule is None:
            return _NEVER
        for delay, entry in self._schedule:
            if entry is None:
                return delay if delay is not None else _NEVER
            self._schedule.apply_entry(entry)
        return _NEVER

    def start(self) -> None:
        """The worker turns it."""

    def ensure_started(self) -> None:
        """The worker turns it."""


def _schedule(wake: Callable[[], None], options: dict[str, Any]) -> Any:
    from kombu.asynchronous.timer import Timer as Schedule

    class Waking(Schedule):
        def _enter(self, eta: Any, priority: Any, entry: Any, push: Any = heappush) -> Any:
            entered = super()._enter(eta, priority, entry, push)  # type: ignore[no-untyped-call]  # kombu's
            wake()
            return entered

    return Waking(**options)  # type: ignore[no-untyped-call]  # kombu's

"""Beat's service: ticks, and sleeps for as long as the tick says, until somebody stops it.

Law: the loop knows neither schedules nor brokers; time passes only in the `Clock` it is given. A stop during a tick
waits for the tick: what was decided is sent. A stop during a sleep ends the sleep.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Time as the loop sees it."""

    def steady(self) -> float:
        """Seconds that never jump."""

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        """For so long, or until `stop` is set."""


class RealClock:
    """The machine's."""

    def steady(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        stop.wait(seconds)


class Service:
    """`tick` answers how long to sleep; `slept` is called after each sleep, `close` at the end."""

    def __init__(
        self,
        tick: Callable[[], float],
        *,
        slept: Callable[[], object] = lambda: None,
        sleeps: Callable[[float], object] = lambda _seconds: None,
        clock: Clock | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._tick = tick
        self._slept = slept
        self._sleeps = sleeps
        self._clock = clock or RealClock()
        self.stopping = threading.Event() if stopping is None else stopping
        self.ticking = False
        self.ticked_at: float | None = None
        """When the last tick ended, by the clock's `steady`: beat that hangs is known by it."""

    def run(self) -> None:
        self.ticked_at = self._clock.steady()
        while not self.stopping.is_set():
            self.ticking = True
            try:
                seconds = self._tick()
            finally:
                self.ticking = False
            self.ticked_at = self._clock.steady()
            if seconds and seconds > 0:
                self._sleeps(seconds)
                self._clock.sleep(seconds, self.stopping)
                self._slept()

    def stop(self) -> None:
        self.stopping.set()

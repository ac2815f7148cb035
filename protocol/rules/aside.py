"""What waits in a worker's memory: for its time, and for its task's rate limit.

Law: `now` is given, in epoch seconds, and may jump. Who waits here holds no slot of the pool. Entries are numbers;
those that somebody has taken away meanwhile are passed over by their owner, which alone knows.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush

from ..values import dataclass, field
from .limits import TokenBucket


@dataclass(slots=True)
class Alarms:
    """Numbers by the time at which to look at them."""

    _heap: list[tuple[float, int]] = field(default_factory=list)

    def set(self, when: float, number: int) -> None:
        heappush(self._heap, (when, number))

    def due(self, now: float) -> list[int]:
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap)[1])
        return due

    def next(self) -> float:
        return self._heap[0][0] if self._heap else math.inf


@dataclass(slots=True)
class Line:
    """Those who wait for one task's rate. `booked`: until when its tokens are promised to parked messages."""

    bucket: TokenBucket
    waiting: deque[int] = field(default_factory=deque)
    booked: float = 0.0

    @classmethod
    def at(cls, rate: float, now: float) -> Line:
        return cls(TokenBucket(rate, now))

    def wait(self, now: float) -> float:
        """Seconds until one who comes now would be served."""
        self._follow(now)
        return (len(self.waiting) + 1 - min(1.0, self.bucket.capacity)) / self.bucket.rate + self.bucket.wait(now)

    def book(self, now: float, horizon: float) -> float:
        """A time beyond the horizon at which one more can be served, and that nobody else was promised."""
        self.booked = max(self.booked, now + horizon) + 1 / self.bucket.rate
        return self.booked

    def take(self, now: float) -> bool:
        self._follow(now)
        return self.bucket.take(now)

    def next(self, now: float) -> float:
        """When to serve the first of the line."""
        self._follow(now)
        return now + self.bucket.wait(now) if self.waiting else math.inf

    def _follow(self, now: float) -> None:
        """A clock that was set back must not stop the bucket for as long."""
        self.bucket.now = min(self.bucket.now, now)

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

_LONGEST = 600.0


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
        """A time beyond the horizon at which one more can be served, and that nobody else was promised.

        Not too far: what comes back too soon is parked again, and what is parked does not hear of a new rate.
        """
        self.booked = max(self.booked, now + horizon) + 1 / self.bucket.rate
        return min(self.booked, now + horizon + _LONGEST)

    def take(self, now: float) -> bool:
        self._follow(now)
        return self.bucket.take(now)

    def next(self, now: float) -> float:
        """When to serve the first of the line."""
        self._follow(now)
        return now + self.bucket.wait(now) if self.waiting else math.inf

    def rest(self) -> None:
        """Nobody waits."""

    def _follow(self, now: float) -> None:
        """A clock that was set back must not stop the bucket for as long."""
        self.bucket.now = min(self.bucket.now, now)


AHEAD = 0.25
"""Seconds: a common limit gives nothing out for later than that, so that a worker that leaves wastes little."""
_SOON = 0.02


class CommonLine(Line):
    """A line whose tokens many workers share: they are given out elsewhere, each for a time of its own.

    `grants` are the times of those that were given to us; `asked` and `ask_at` say when they were asked for, and when
    to ask again.
    """

    __slots__ = ("ask_at", "asked", "grants")

    def __init__(self, bucket: TokenBucket) -> None:
        super().__init__(bucket)
        self.grants: deque[float] = deque()
        self.asked = self.ask_at = 0.0

    def wants(self, now: float) -> int:
        """How many tokens to ask for now."""
        if not self.waiting or self.grants or self.asked <= now < self.ask_at:
            return 0
        return min(len(self.waiting), 1 + int(self.bucket.rate * AHEAD))

    def given(self, count: int, wait: float, now: float) -> None:
        """So many, the first of them `wait` seconds from now. None: then is when one could be had."""
        self.grants.extend(now + wait + number / self.bucket.rate for number in range(count))
        self.asked, self.ask_at = now, now if count else now + max(wait - AHEAD, _SOON)

    def later(self, seconds: float, now: float) -> None:
        """Nobody could be asked."""
        self.asked, self.ask_at = now, now + seconds

    def wait(self, now: float) -> float:
        return len(self.waiting) / self.bucket.rate + max(0.0, self.ask_at - max(now, self.asked))

    def take(self, now: float) -> bool:
        if self.grants and not now < self.grants[0] <= now + 2 * AHEAD:  # beyond: a clock was set back
            self.grants.popleft()
            return True
        return False

    def next(self, now: float) -> float:
        if not self.waiting:
            return math.inf
        return self.grants[0] if self.grants else self.ask_at if self.asked <= now else now

    def rest(self) -> None:
        """Tokens are not kept for those who may come."""
        self.grants.clear()

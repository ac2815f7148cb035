"""Rate limits: Celery's strings and numbers to tasks a second, and the bucket that spends them.

Law: `now` is a monotonic time in seconds, given by the caller.
"""

from __future__ import annotations

import math

from ..errors import BadCall, shown
from ..values import dataclass

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def read_rate(limit: object) -> float:
    """Tasks a second, 0 for no limit: `"10/s"`, `"100/m"`, `"1000/h"`, `"5"`, 5, 0.5, None, `""`.

    >>> read_rate("120/m")
    2.0
    """
    if limit is None or limit is False or limit == "":
        return 0.0
    amount, unit = limit, ""
    if isinstance(limit, str):
        amount, _, unit = limit.partition("/")
    try:
        rate = float(amount) / _SECONDS[unit]  # type: ignore[arg-type]  # what cannot be a number is refused below
    except (KeyError, ValueError, TypeError, OverflowError):
        rate = math.nan
    if isinstance(limit, bool) or not 0 <= rate < math.inf:
        raise BadCall(f'rate limit: expected a number or a text like "10/s", "100/m" or "1000/h", got {shown(limit)}')
    return rate


@dataclass(slots=True)
class TokenBucket:
    """Fills at `rate` tokens a second up to `capacity`; whoever runs a task takes one."""

    rate: float
    now: float
    capacity: float = 1.0
    _level: float = -1.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.capacity >= 1):
            raise BadCall(f"token bucket: expected a rate above 0 and room for 1, got {self.rate} and {self.capacity}")
        self._level = self.capacity

    def take(self, now: float, tokens: float = 1.0) -> bool:
        """Take tokens if there are enough; never a part of them."""
        self._fill(now)
        if tokens > self._level:
            return False
        self._level -= tokens
        return True

    def wait(self, now: float, tokens: float = 1.0) -> float:
        """Seconds until so many tokens are there, if nobody else takes any; infinite for more than ever fit."""
        self._fill(now)
        if tokens > self.capacity:
            return math.inf
        return max(0.0, tokens - self._level) / self.rate

    def _fill(self, now: float) -> None:
        # A bucket that stood full must not count that time as refill once it is drained: `now` moves always.
        if now > self.now:
            self._level = min(self.capacity, self._level + self.rate * (now - self.now))
            self.now = now

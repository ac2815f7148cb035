"""Rate limits that all workers of a Redis broker keep together: one token bucket for each task, by the server's clock.

Law: the one who asks is told a time in the future that nobody else was told, or when to ask again; nothing is given
out for later than `ahead` seconds. The place of the last token is kept, not of the next: a new rate counts at once.
Stock workers know nothing of the keys, and keep limits of their own.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import BadMessage, shown
from .redis import Layout
from .redis_scripts import Script
from .resp import Argument

# KEYS: the bucket. ARGV: seconds between two tokens, how many are wanted, how far ahead, seconds the key is kept.
# Answers how many tokens are given, and in how many seconds the first of them may be used, or could have been had.
GRANT = Script(
    "grant",
    """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local gap, wanted, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local first, last = now, tonumber(redis.call('GET', KEYS[1]))
if last then first = math.max(now, math.min(last, now + ahead) + gap) end
local count = math.min(wanted, math.floor((ahead - (first - now)) / gap) + 1)
if count <= 0 then return {0, string.format('%.6f', first - now)} end
redis.call('SET', KEYS[1], string.format('%.6f', first + (count - 1) * gap), 'EX', ARGV[4])
return {count, string.format('%.6f', first - now)}
""",
)


def key(layout: Layout, task: str) -> str:
    return layout.key(f"celeriac.limit.{task}")


def arguments(layout: Layout, task: str, rate: float, wanted: int, ahead: float) -> tuple[Argument, ...]:
    """What follows the script's name. The key is kept for as long as the last token counts."""
    return 1, key(layout, task), 1 / rate, wanted, ahead, math.ceil(1 / rate + ahead) + 60


def parse(reply: Any) -> tuple[int, float]:
    """How many were given, and how many seconds from now the first of them counts."""
    try:
        count, wait = reply
        found = int(count), float(wait)
    except (TypeError, ValueError, OverflowError):
        raise BadMessage("rate limit", f"expected a number and seconds, got {shown(reply)}") from None
    if found[0] < 0 or not 0 <= found[1] < math.inf:
        raise BadMessage("rate limit", f"expected a number and seconds, got {shown(reply)}")
    return found

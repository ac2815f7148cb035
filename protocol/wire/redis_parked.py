"""Messages whose ETA is far: parked in the broker instead of held, so that no visibility timeout reaches them.

Law: a parked message is in no list and in nobody's hands, and nothing but its time or an `unpark` brings it back.
Stock workers do not know these keys: a fleet that leaves celeriac unparks first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .redis import Layout
from .redis_held import Taken
from .redis_scripts import PARK, PUMP, UNPARK
from .resp import Argument, Command


def parked(layout: Layout) -> str:
    return layout.key("celeriac.parked")


def parked_index(layout: Layout) -> str:
    return layout.key("celeriac.parked_index")


def park(layout: Layout, held: Iterable[tuple[Taken, float]]) -> Command:
    """Held messages with their ETA in epoch seconds. Answers how many we still held; the others are not ours."""
    rows: list[Argument] = []
    for each, eta in held:
        key = each.list_key.encode()
        rows += (each.tag, eta, b"%d:%b%b" % (len(key), key, each.envelope))
    return PARK.call((layout.unacked, layout.unacked_index, parked(layout), parked_index(layout)), rows)


def pump(layout: Layout, now: float, limit: int = 1000) -> Command:
    """Delivers what is due, the earliest served next. Answers how many; `limit` of them: ask again."""
    return PUMP.call((parked(layout), parked_index(layout)), (now, limit))


def unpark(layout: Layout, tags: Sequence[str]) -> Command:
    """Delivers these before their time, the first served next."""
    return UNPARK.call((parked(layout), parked_index(layout)), tags)


def forget(layout: Layout, *tags: str) -> list[Command]:
    """Drops parked messages: revoked, or expired."""
    return [("MULTI",), ("ZREM", parked_index(layout), *tags), ("HDEL", parked(layout), *tags), ("EXEC",)]


def next_due(layout: Layout) -> Command:
    """The earliest tag and its ETA, to know when to pump again."""
    return ("ZRANGE", parked_index(layout), 0, 0, "WITHSCORES")


def tags(layout: Layout, first: int = 0, last: int = -1) -> Command:
    """Who is parked, by ETA."""
    return ("ZRANGE", parked_index(layout), first, last)

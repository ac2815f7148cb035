"""Who holds messages on a Redis broker and is alive: a roll of owners, each with a lease that runs out by itself.

Law: the roll may name the dead, it never lacks the living for longer than one renewal. Stock workers know nothing
of these keys and need not: what is held lies in `unacked` all the same. An owner is hexadecimal, so that it can
stand in a pattern.
"""

from __future__ import annotations

from typing import Any

from ..errors import BadMessage, shown
from .redis import Layout
from .redis_held import lease, release
from .resp import Command

_TO_THE_END = b"0"


def roll(layout: Layout) -> str:
    return layout.key("celeriac.owners")


def enroll(layout: Layout, owner: str, seconds: float, now: float) -> list[Command]:
    """To be repeated well within `seconds`. The second answer is 1 where the owner was not on the roll."""
    return [lease(layout, owner, seconds), ("ZADD", roll(layout), now, owner)]


def dismiss(layout: Layout, owner: str) -> list[Command]:
    """An owner that holds nothing any more."""
    return [release(layout, owner), ("ZREM", roll(layout), owner)]


def owners(layout: Layout) -> Command:
    return ("ZRANGE", roll(layout), 0, -1)


def count(layout: Layout) -> Command:
    return ("ZCARD", roll(layout))


def take_watch(layout: Layout, seconds: float) -> Command:
    """One peer at a time looks for the dead; None to all others."""
    return ("SET", layout.key("celeriac.watch"), "", "NX", "PX", int(seconds * 1000))


def held_by(layout: Layout, owner: str, cursor: bytes = _TO_THE_END) -> Command:
    """A part of the tags that an owner holds; `parse_held` reads it. Redis walks the index in small steps."""
    return ("ZSCAN", layout.unacked_index, cursor, "MATCH", f"{owner}:*", "COUNT", 1000)


def parse_held(reply: Any) -> tuple[list[str], bytes | None]:
    """Tags of one part, and the cursor of the next; None: that was the last."""
    match reply:
        case [bytes() as cursor, list() as rows] if all(isinstance(tag, bytes) for tag in rows[::2]):
            tags = [tag.decode(errors="replace") for tag in rows[::2]]
            return tags, None if cursor == _TO_THE_END else cursor
    raise BadMessage("held by an owner", f"expected a cursor and rows of tag and time, got {shown(reply)}")

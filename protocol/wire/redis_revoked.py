"""What was revoked, kept beside the queues of a Redis broker: for workers that start later, or were cut off.

Law: one sorted set holds all of it, by the time at which it was revoked, so that writing a thing twice changes
nothing. It is bounded, and what is too old goes with the next that is written; nobody writing, all of it expires.
Stock workers know nothing of the key and need not: they are told by remote control, as ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import BadMessage, shown
from .redis import Layout
from .resp import Command

LASTS = 7 * 86400
"""Seconds that a revoke is kept: a task for later may come that late."""
MOST = 50_000


def key(layout: Layout) -> str:
    return layout.key("celeriac.revoked")


def keep(layout: Layout, dumped: Mapping[str, Sequence[Sequence[Any]]], now: float) -> list[Command]:
    """To write what `Revokes.dump` gave; in one transaction."""
    entries = [*dumped.get("ids", ()), *dumped.get("stamps", ())]
    if not entries:
        return []
    named = key(layout)
    scored = [each for *thing, since in entries for each in (since, json.dumps(thing))]
    return [
        ("ZADD", named, *scored),
        ("ZREMRANGEBYSCORE", named, "-inf", now - LASTS),
        ("ZREMRANGEBYRANK", named, 0, -MOST - 1),
        ("EXPIRE", named, LASTS),
    ]


def kept(layout: Layout, now: float) -> Command:
    """To read all that is not too old; `parse` reads the answer."""
    return ("ZRANGEBYSCORE", key(layout), now - LASTS, "+inf", "WITHSCORES")


def parse(reply: Any) -> dict[str, list[Any]]:
    """As `Revokes.load` takes it. What somebody else has put there is passed over."""
    if not isinstance(reply, list) or len(reply) % 2:
        raise BadMessage("revoked tasks", f"expected things and times, got {shown(reply)}")
    found: dict[str, list[Any]] = {"ids": [], "stamps": []}
    for thing, since in _pairs(reply):
        try:
            parts = json.loads(thing)
            at = float(since)
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
            kind = {1: "ids", 2: "stamps"}.get(len(parts))
            if kind is not None:
                found[kind].append([*parts, at])
    return found


def _pairs(reply: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(reply[::2], reply[1::2], strict=True)

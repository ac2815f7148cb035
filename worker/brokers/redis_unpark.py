"""Gives everything that is parked in a Redis back to its queues, before its time: the way out of celeriac.

Law: needs no worker and disturbs none. A message says its ETA itself, so a stock worker that gets it holds it until
then; each is in its queue before it is gone from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...protocol.wire import redis_parked
from ...protocol.wire.redis import Layout
from ...protocol.wire.redis_scripts import UNPARK
from ..redis_link import connect
from ..redis_place import parse
from .embedded import reached

_AT_ONCE = 500


def unpark(url: str, options: Mapping[str, Any] | None = None, timeout: float = 4.0) -> int:
    """How many were given back. `options` are `broker_transport_options`: the prefix among them must be the fleet's."""
    given = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **(options or {})}
    url, membership = reached(url)
    place = parse(url, given)
    layout = Layout.from_options(given, place.db)
    link = connect(place)
    try:
        link.load(UNPARK)
        returned = 0
        while tags := link.call(*redis_parked.tags(layout, 0, _AT_ONCE - 1)):
            moved = link.call(*redis_parked.unpark(layout, [tag.decode() for tag in tags]))
            if not moved:  # what is left cannot be put into a list: another program's entries
                break
            returned += moved
        return returned
    finally:
        link.close()
        if membership is not None:
            membership.close()

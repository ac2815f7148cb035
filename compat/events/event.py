"""Events as values, and the exchange that they go to.

Law: an event is a dict whose keys stand in the order in which they were given, then `timestamp`, then `type`:
what Celery puts on the wire byte for byte.
"""

from __future__ import annotations

import time
from typing import Any

__all__ = ("Event", "event_exchange", "get_exchange", "group_from")

EVENT_EXCHANGE_NAME = "celeryev"

_AS_FANOUT = frozenset({"redis", "gcpubsub"})
"""Transports of kombu's on which a topic exchange is no way to everybody."""

event_exchange: Any  # made when somebody asks, see __getattr__


def __getattr__(name: str) -> Any:
    if name != "event_exchange":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kombu.entity import Exchange

    globals()[name] = exchange = Exchange(EVENT_EXCHANGE_NAME, type="topic")
    return exchange


def Event(type: str, _fields: Any = None, __dict__: Any = dict, __now__: Any = time.time, **fields: Any) -> Any:
    """An event: a dict that has a `type`, and a `timestamp`, which is now where none was given."""
    event = __dict__(_fields, **fields) if _fields else fields
    if "timestamp" not in event:
        event["timestamp"] = __now__()
    event["type"] = type
    return event


def group_from(type: str) -> str:
    """The group of an event type: of `task-sent` it is `task`."""
    return type.partition("-")[0]


def get_exchange(conn: Any, name: str = EVENT_EXCHANGE_NAME) -> Any:
    """The exchange for events on this kombu connection."""
    from kombu.entity import Exchange

    return Exchange(name, type=exchange_type(conn.transport.driver_type))


def exchange_type(driver_type: Any) -> str:
    """What kind of exchange events go to on this kind of transport."""
    return "fanout" if driver_type in _AS_FANOUT else "topic"

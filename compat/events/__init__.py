"""Sending, receiving and remembering events, under Celery's names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dispatcher import EventDispatcher
    from .event import Event, event_exchange, get_exchange, group_from
    from .receiver import EventReceiver

__all__ = ("Event", "EventDispatcher", "EventReceiver", "event_exchange", "get_exchange", "group_from")

_WHERE = {"EventDispatcher": "dispatcher", "EventReceiver": "receiver"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{_WHERE.get(name, 'event')}", __name__), name)
    globals()[name] = found
    return found

"""Celery's two loops by their names. There is one here, the worker's own: who calls these is served by it."""

from __future__ import annotations

from typing import Any

__all__ = ("asynloop", "synloop")


def asynloop(
    obj: Any,
    connection: Any,
    consumer: Any,
    blueprint: Any,
    hub: Any,
    qos: Any,
    heartbeat: Any,
    clock: Any,
    hbrate: float = 2.0,
) -> None:
    """Work until the worker is told to stop."""
    obj.controller.worker.serve()


def synloop(
    obj: Any,
    connection: Any,
    consumer: Any,
    blueprint: Any,
    hub: Any,
    qos: Any,
    heartbeat: Any,
    clock: Any,
    hbrate: float = 2.0,
    **kwargs: Any,
) -> None:
    """Work until the worker is told to stop."""
    obj.controller.worker.serve()

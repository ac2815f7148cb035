"""The bootstep `DelayedDelivery`: its place in the order. The worker declares what delays messages."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .tasks import Tasks

__all__ = ("DelayedDelivery",)


class DelayedDelivery(bootsteps.StartStopStep):
    """RabbitMQ's queues that hold messages for their time."""

    requires: Any = (Tasks,)

"""Where messages go that nobody can run: `<queue>.dead`, as they came, with the reason.

Law: the message is in the other queue before it leaves its own. Where the queue declares a dead-letter exchange, and
the broker knows what that is, the broker does it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol.values import replace
from ..protocol.wire.sealed import opened
from .brokers.base import Broker, Delivery, Parcel, Queue, Verdict

HEADER = "celeriac_dead"


def dead_queue_of(queue: str, told: str) -> str | None:
    """By the setting `worker_dead_queue`: a suffix that begins with a dot, or one queue for all."""
    if not told:
        return None
    return queue + told if told.startswith(".") else told


class DeadLetters:
    """`told` is the setting `worker_dead_queue`."""

    def __init__(self, told: str) -> None:
        self._told = told

    def bury(self, broker: Broker, queues: Sequence[Queue], delivery: Delivery, why: str, now: float) -> Verdict | None:
        """How to settle it then; None: it was not kept anywhere."""
        if "dead-letter" in broker.can and any("x-dead-letter-exchange" in queue.arguments for queue in queues):
            return Verdict.DROP
        name = dead_queue_of(delivery.queue, self._told)
        if name is None:
            return None
        said = {
            "reason": why,
            "queue": delivery.queue,
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "at": now,
        }
        message = delivery.message
        headers = dict(message.headers or {})
        properties = {"delivery_mode": 2, **(message.properties or {})}
        properties.pop("expiration", None)
        dead = replace(opened(message), headers={**headers, HEADER: said}, properties=properties)
        broker.declare([Queue(name)])
        broker.send([Parcel(dead, name)])
        return Verdict.ACK

"""Where messages go that nobody can run: `<queue>.dead`, as they came, with the reason.

Law: the message is in the other queue before it leaves its own. Where the queue declares a dead-letter exchange, and
the broker knows what that is, the broker does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..protocol.wire.sealed import opened
from .brokers.base import Broker, Delivery, Parcel, Queue, Verdict

HEADER = "celeriac_dead"


class DeadLetters:
    """`suffix` after a queue's name is its dead letters' queue; empty: there are none."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix

    def bury(self, broker: Broker, queues: Sequence[Queue], delivery: Delivery, why: str, now: float) -> Verdict | None:
        """How to settle it then; None: it was not kept anywhere."""
        if "dead-letter" in broker.can and any("x-dead-letter-exchange" in queue.arguments for queue in queues):
            return Verdict.DROP
        if not self._suffix:
            return None
        name = delivery.queue + self._suffix
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

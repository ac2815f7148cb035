"""What the other workers say of themselves: who is there, who has the lower clock, who wins an election."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from ..protocol.errors import BadMessage
from ..protocol.wire import event, json
from ..protocol.wire.event import Event
from .brokers.base import Delivery, Queue
from .events import Dispatcher
from .options import Telling
from .ports import Owner

log = logging.getLogger("celery.worker.consumer.gossip")

_LOST = 2.0  # heartbeats that may be missed
_UNSAID = 60.0


class Gossip:
    """The nodes that are alive, as far as this one has heard."""

    def __init__(self, hostname: str, owner: Owner, events: Dispatcher, telling: Telling) -> None:
        self._hostname = hostname
        self._owner = owner
        self._events = events
        self._telling = telling
        self._name = f"{telling.event_queue_prefix}.{uuid.uuid4()}"
        self.nodes: dict[str, float] = {}
        """Node -> until when it counts as alive."""
        self._elections: dict[str, list[Event]] = {}
        self._acks: dict[str, int] = {}

    def queues(self, topic: str) -> Sequence[Queue]:
        told = self._telling
        arguments = {} if told.event_queue_ttl is None else {"x-message-ttl": int(told.event_queue_ttl * 1000)}
        return [
            Queue(
                self._name,
                told.event_exchange,
                topic,
                "worker.*" if topic == "fanout" else "worker.#",
                durable=told.event_queue_durable,
                exclusive=told.event_queue_exclusive,
                auto_delete=not told.event_queue_durable,
                expires=told.event_queue_expires,
                arguments=arguments,
            )
        ]

    def is_for(self, delivery: Delivery) -> bool:
        return delivery.queue == self._name

    def heard(self, delivery: Delivery, now: float) -> None:
        try:
            events = event.read(json.loads(delivery.message.body, "event"))
        except BadMessage as bad:
            log.debug("An event that cannot be read: %s", bad)
            return
        for each in events:
            if each.hostname != self._hostname and each.clock is not None:
                self._owner.clock_adjust(each.clock)
            self._note(each, now)

    def _note(self, each: Event, now: float) -> None:
        name = each.hostname or ""
        if each.type == "worker-elect":
            self._stand(each)
        elif each.type == "worker-elect-ack":
            self._acknowledged(each)
        elif name == self._hostname or not each.type.startswith("worker-"):
            return
        elif each.type == "worker-offline":
            if self.nodes.pop(name, None) is not None:
                log.debug("%s left", name)
        else:
            if name not in self.nodes:
                log.debug("%s joined the party", name)
            frequency = each.fields.get("freq") or _UNSAID
            self.nodes[name] = now + max(float(frequency) * _LOST, 1.0)

    def tend(self, now: float) -> float:
        for name in [name for name, until in self.nodes.items() if until < now]:
            del self.nodes[name]
            log.info("missed heartbeat from %s", name)
        return min(self.nodes.values(), default=float("inf"))

    # --- elections

    def elect(self, ident: str, topic: str, action: Any) -> None:
        """This worker stands for it."""
        self._elections.setdefault(ident, [])
        self._events.worker("worker-elect", event.elect(ident, topic, action))

    def _stand(self, each: Event) -> None:
        ident = each.fields.get("id")
        if isinstance(ident, str):
            self._elections.setdefault(ident, []).append(each)
            self._acks.setdefault(ident, 0)
            self._events.worker("worker-elect-ack", {"id": ident})

    def _acknowledged(self, each: Event) -> None:
        ident = each.fields.get("id")
        if not isinstance(ident, str) or ident not in self._acks:
            return
        self._acks[ident] += 1
        if self._acks[ident] < len(self.nodes) + 1 or not self._elections.get(ident):
            return
        winner = event.leader(self._elections.pop(ident))
        del self._acks[ident]
        if winner.hostname != self._hostname:
            log.info("node %s elected for %r", winner.hostname, ident)
            return
        log.info("I won the election %r", ident)
        action = winner.fields.get("action")
        if winner.fields.get("topic") == "task" and isinstance(action, dict):
            self._owner.send_signature(action)
        else:
            log.error("Unknown topic %r of an election", winner.fields.get("topic"))

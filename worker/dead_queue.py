"""Dead letters by hand: look at them, have them run again, throw them away.

Law: what is looked at goes back as it lay. A message that is to run again is in its queue before it is gone from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..protocol.values import dataclass, replace
from ..protocol.wire.message import Message
from ..protocol.wire.sealed import opened
from .brokers.base import Broker, Delivery, Parcel, Queue, Verdict
from .dead_letters import HEADER, dead_queue_of

_AT_ONCE = 1000
_SENT_AT_ONCE = 100
"""So many may run twice, where we are killed when they are sent and not yet gone from here."""
_WAIT = 0.5
_PATIENCE = 10
"""So many times in a row a busy broker may give nothing of what it has."""


@dataclass(frozen=True, slots=True)
class Dead:
    """One dead letter: what it was to run, and what it died of."""

    id: str | None
    task: str | None
    reason: str | None
    at: float | None
    queue: str | None
    exchange: str
    routing_key: str | None
    message: Message


def read(message: Message) -> Dead:
    """Whatever it is: what cannot be told of it is None."""
    headers = message.headers
    said = headers.get(HEADER)
    said = said if isinstance(said, dict) else _of_rabbitmq(headers)
    at = said.get("at")
    return Dead(
        _text(headers.get("id") or message.properties.get("correlation_id")),
        _text(headers.get("task")),
        _text(said.get("reason")),
        float(at) if isinstance(at, (int, float)) else None,
        _text(said.get("queue")),
        _text(said.get("exchange")) or "",
        _text(said.get("routing_key")),
        message,
    )


def _of_rabbitmq(headers: dict[str, Any]) -> dict[str, Any]:
    """RabbitMQ's own note of what it has dead-lettered, newest first."""
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    keys = first.get("routing-keys")
    time: Any = first.get("time")
    return {
        "reason": first.get("reason"),
        "queue": first.get("queue"),
        "exchange": first.get("exchange"),
        "routing_key": keys[0] if isinstance(keys, list) and keys else None,
        "at": time.timestamp() if hasattr(time, "timestamp") else time,
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def parcel(dead: Dead, queue: str | None = None) -> Parcel | None:
    """The message as it was, to where it came from or to `queue`; None: nobody knows where that was."""
    home = queue or dead.queue
    if home is None:
        return None
    headers = {name: value for name, value in dead.message.headers.items() if name not in {HEADER, "x-death"}}
    return Parcel(replace(opened(dead.message), headers=headers), home)


def each(broker: Broker, queue: str, most: int | None = None) -> Iterator[Delivery]:
    """Everything that lies in the queue, or the first of it, once: taken, and in our hands until it is settled or the
    broker closed."""
    for taken in _taken(broker, queue, most):
        yield from taken


def _taken(broker: Broker, queue: str, most: int | None = None, at_once: int = _AT_ONCE) -> Iterator[list[Delivery]]:
    left, slow = broker.size(queue), 0
    if most is not None:
        left = min(left, most)
    if not left:
        return
    broker.listen([Queue(queue)], credit=max(left, 1))
    while left > 0:
        taken = broker.take(min(left, at_once), _WAIT)
        slow = 0 if taken else slow + 1
        if slow and (slow > _PATIENCE or not broker.size(queue)):
            return
        left -= len(taken)
        yield taken


def look(broker: Broker, queue: str, most: int) -> list[Dead]:
    """The oldest of them; all go back."""
    return [read(delivery.message) for delivery in each(broker, queue, most)]  # closing the broker puts them back


Chosen = Callable[[Dead], bool]


def settle(
    broker: Broker, sender: Broker, queue: str, chosen: Chosen, *, replay: bool, to: str | None = None
) -> Iterator[tuple[Dead, bool]]:
    """Those that are chosen run again, or are thrown away; yields each with whether it could be done.

    The others go back when the broker is closed, all at once: RabbitMQ takes minutes for many that come one by one.
    """
    for taken in _taken(broker, queue, at_once=_SENT_AT_ONCE):
        these = [(delivery, dead) for delivery in taken if chosen(dead := read(delivery.message))]
        parcels = [parcel(dead, to) if replay else None for _, dead in these]
        can = [not replay or sent is not None for sent in parcels]
        sender.send([sent for sent in parcels if sent is not None])
        broker.settle([(delivery, Verdict.ACK) for (delivery, _), done in zip(these, can, strict=True) if done])
        for (_, dead), done in zip(these, can, strict=True):
            yield dead, done


def dead_queues(queues: Sequence[str], told: str) -> dict[str, str]:
    """Queue -> where its dead letters go, by the setting `worker_dead_queue`."""
    places = {name: dead_queue_of(name, told) for name in queues}
    return {name: place for name, place in places.items() if place is not None}

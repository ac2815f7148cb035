"""Making queues, exchanges and bindings on RabbitMQ, looking at queues, and the queues in which messages wait.

Law: what exists stays as it is. A thing that was declared otherwise (406), or that we may not declare (403), is used as
it is found, and that is said once; the other declarations are made all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...protocol.errors import BadCall
from ...protocol.hints import Any
from ...protocol.wire.amqp import delayed, topology
from .. import late
from .amqp_channels import Call, ChannelClosed, Channels
from .base import Queue

logger = late.logger("celeriac.broker")

_CHANNEL = 3
_NOT_FOUND, _ACCESS_REFUSED, _PRECONDITION_FAILED = 404, 403, 406
_AGREE = " (to make them agree, delete it there, or say in the configuration what it is)"
_PARKED = ".celeriac-parked"  # ends a parked message's key: no queue of anybody else's is bound to it
_LONGEST_KEY = 255


class Declarer:
    """Questions about queues, on a channel that may break without harm."""

    def __init__(self, channels: Channels, queue_type: str | None) -> None:
        self._channels = channels
        self._queue_type = queue_type  # of the queues in which messages wait; None: there are none
        self._waiting_room = False
        self._parking: set[str] = set()
        self._said: set[str] = set()

    # -- declaring --

    def declare(self, queues: Sequence[Queue]) -> None:
        self._make([each for queue in queues for each in declarations(queue)])

    def _make(self, wanted: Sequence[topology.Declaration]) -> None:
        """One round trip for all, and one more for each that is refused."""
        left = list(wanted)
        while left:
            try:
                self._ask([each.call() for each in left])
            except ChannelClosed as refusal:  # noqa: PERF203 - one refusal does not end the rest
                self._use_as_found(left[refusal.at], refusal)
                left = left[refusal.at + 1 :]
            else:
                return

    def _use_as_found(self, thing: topology.Declaration, refusal: ChannelClosed) -> None:
        name, fields = thing.call()
        what = f"{name} {_named(thing)}"
        if refusal.closed.code not in {_ACCESS_REFUSED, _PRECONDITION_FAILED}:
            raise self._channels.refused(what, refusal.closed)
        if isinstance(thing, (topology.Exchange, topology.Queue)):
            try:
                self._ask([(name, {**fields, "passive": True})])
            except ChannelClosed:
                raise self._channels.refused(what, refusal.closed) from None
        self._say_once(
            f"{self._channels.link.address}: {what}: used as it is found there: {refusal.closed.text}{_AGREE}"
        )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)

    def _ask(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        self._channels.open(_CHANNEL, "declaring")
        return self._channels.ask(_CHANNEL, calls)

    # -- looking --

    def size(self, queue: str) -> int:
        return self._count(queue, "queue.declare", {"queue": queue, "passive": True})

    def purge(self, queue: str) -> int:
        return self._count(queue, "queue.purge", {"queue": queue})

    def _count(self, queue: str, name: str, fields: Mapping[str, Any]) -> int:
        try:
            (answer,) = self._ask([(name, dict(fields))])
        except ChannelClosed as refusal:
            if refusal.closed.code == _NOT_FOUND:
                return 0
            raise self._channels.refused(f"{name} {queue}", refusal.closed) from None
        count: int = answer["message_count"]
        return count

    # -- waiting until a time --

    def follow_stock(self, queues: Sequence[Queue]) -> None:
        """Bind what stock producers delay, where stock workers do: where any queue is a quorum queue."""
        bound = [each for queue in queues if queue.exchange for each in _stock_bindings(queue)]
        if self._queue_type is not None and bound and any(queue.quorum for queue in queues):
            self._open_waiting_room()
            self._make(bound)

    def parking(self, queue: str) -> str:
        """The routing key that brings a message back to this queue and no other. Makes what is missing for that."""
        key = f"{queue}{_PARKED}"
        if queue not in self._parking:
            if len(key.encode()) + 2 * delayed.LEVELS > _LONGEST_KEY or not {"*", "#"}.isdisjoint(queue.split(".")):
                raise BadCall(f"queue {queue}: a message cannot be parked for a queue of this name")
            self._open_waiting_room()
            self._make([topology.Binding(queue, delayed.delivery_exchange(), "*." * delayed.LEVELS + key)])
            self._parking.add(queue)
        return key

    def _open_waiting_room(self) -> None:
        """Once for a broker, by whoever comes first; its type is then what that one chose."""
        if self._waiting_room:
            return
        rooms = [topology.Exchange(delayed.entry_exchange(), "topic", passive=True).call()]
        rooms.append(topology.Exchange(delayed.delivery_exchange(), "topic", passive=True).call())
        try:
            self._ask(rooms)
        except ChannelClosed:
            self._make(delayed.delayed_topology(self._queue_type or "quorum"))
        self._waiting_room = True


def parked_in(exchange: str, routing_key: str) -> bool:
    """Whether a message that was delivered from there had been parked by us."""
    return exchange == delayed.delivery_exchange() and routing_key.endswith(_PARKED)


def declarations(queue: Queue) -> topology.Topology:
    if not queue.name:
        return (_exchange(queue),)
    made = topology.Queue(
        queue.name,
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        arguments=topology.queue_arguments(queue.arguments, expires=queue.expires),
    )
    return topology.task_queue(made, _exchange(queue), queue.routing_key)


def _exchange(queue: Queue) -> topology.Exchange:
    return topology.Exchange(
        queue.exchange, queue.exchange_type, durable=queue.exchange_durable, auto_delete=queue.exchange_auto_delete
    )


def _stock_bindings(queue: Queue) -> topology.Topology:
    return delayed.delayed_bindings(queue.name, _exchange(queue), queue.routing_key)


def _named(thing: topology.Declaration) -> str:
    match thing:
        case topology.Binding():
            return f"{thing.queue} to {thing.exchange}"
        case topology.ExchangeBinding():
            return f"{thing.destination} to {thing.source}"
        case _:
            return thing.name

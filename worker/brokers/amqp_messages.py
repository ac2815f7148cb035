"""A delivery as the contract shows it, and its properties when it is published once more.

Law: nothing that arrives raises here: what cannot be read is handed on as a bare body, with a word in the log. What
RabbitMQ adds to a message's headers on its ways is its own affair and not handed on.
"""

from __future__ import annotations

from ...protocol.errors import BadCall, BadMessage
from ...protocol.hints import TYPE_CHECKING, Any, cast
from ...protocol.wire.amqp import delayed
from ...protocol.wire.amqp.contents import read_message
from ...protocol.wire.amqp.properties import TableReader, read_properties, write_properties
from ...protocol.wire.message import LOSSES, Message, losses_in
from .. import late
from .amqp_declare import parked_in
from .amqp_ledger import Held
from .base import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...protocol.wire.sealed import Sealed

    Seal = Callable[[bytes, bytes], Sealed | None]

logger = late.logger("celeriac.broker")

_DELIVERY_EXCHANGE = delayed.delivery_exchange()
_REDELIVERED = "redelivered"  # a header, as kombu writes it on Redis: publishing anew loses the broker's own mark

# What RabbitMQ adds when a message has waited in a dead-letter queue. It drops a message that comes to such a queue
# again with them, taking it for a loop.
_TRACES = (
    "x-death",
    *(f"x-{time}-death-{what}" for time in ("first", "last") for what in ("exchange", "queue", "reason")),
)
_OWN_TO_A_DELIVERY = ("x-delivery-count", "CC", "BCC")  # the last two would send copies elsewhere once more


def read_delivery(queue: str, held: Held, table_reader: TableReader, seal: Seal) -> Delivery:
    """`seal` is `wire.amqp.sealing`'s, which who only sends need not load."""
    arrived = held.arrived
    body = arrived.body or b""
    tag = None if held.settled else held
    usual = seal(arrived.properties, body)
    if usual is not None:  # it has none of the headers that are looked for below
        exchange, routing_key = arrived.exchange, arrived.routing_key
        if exchange == _DELIVERY_EXCHANGE and parked_in(exchange, routing_key):
            exchange, routing_key = "", queue
        message = cast("Message", usual)
        return Delivery(tag, message, queue, exchange, routing_key, arrived.redelivered, usual.priority)
    try:
        message = read_message(arrived.properties, body, table_reader)
    except BadMessage as why:
        logger.warning("queue %s: a message's properties cannot be read, its body is handed on: %s", queue, why)
        message = Message(body)
    exchange, routing_key, redelivered, losses = arrived.exchange, arrived.routing_key, arrived.redelivered, 0
    headers = message.headers
    if exchange == _DELIVERY_EXCHANGE:
        if parked_in(exchange, routing_key):
            exchange, routing_key = "", queue
        _without(headers, _TRACES)
    if headers.get(_REDELIVERED) is True:
        redelivered = headers.pop(_REDELIVERED)
        losses = losses_in(headers)
    priority = message.properties.get("priority", 0)
    return Delivery(tag, message, queue, exchange, routing_key, redelivered, priority, losses)


def anew(raw: bytes, *, redelivered: bool, losses: int = 0) -> bytes:
    """The properties of a message that we publish once more: back to its queue, or to wait for its time."""
    try:
        properties = read_properties(raw)
        headers = properties.setdefault("application_headers", {})
        _without(headers, _TRACES)
        _without(headers, _OWN_TO_A_DELIVERY)
        properties.pop("user_id", None)  # the broker compares it with ours
        if redelivered:
            headers[_REDELIVERED] = True
            if losses:
                headers[LOSSES] = losses
        else:
            properties.pop("expiration", None)  # would end the wait; the task's own `expires` is what counts
        return write_properties(properties)
    except (BadMessage, BadCall):
        return raw


def _without(headers: dict[Any, Any], names: tuple[str, ...]) -> None:
    for name in names:
        headers.pop(name, None)

"""Messages from kombu's envelope, for who takes from Redis.

Law: whatever bytes somebody has put into a queue are delivered.
"""

from __future__ import annotations

from ...protocol.errors import BadMessage
from ...protocol.hints import cast
from ...protocol.wire.envelope import parse
from ...protocol.wire.message import Message, losses_in
from ...protocol.wire.sealed import seal
from .base import Delivery


def opened(tag: str | None, envelope: bytes, queue: str) -> Delivery:
    """What no client of ours can have written is delivered too, as a message of bytes alone: its taker judges it."""
    usual = seal(envelope)
    if usual is not None:
        message, exchange, key, priority = usual
        return Delivery(tag, cast("Message", message), queue, exchange, key, False, priority)
    try:
        found = parse(envelope)
    except BadMessage:
        return Delivery(tag, Message(envelope), queue, "", queue)
    routing_key = queue if found.routing_key is None else found.routing_key
    losses = losses_in(found.message.headers)
    return Delivery(tag, found.message, queue, found.exchange, routing_key, found.redelivered, found.priority, losses)

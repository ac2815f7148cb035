"""Messages to and from kombu's envelope, for the Redis broker: what stays the same from message to message is kept.

Law: the bytes are `protocol.wire.envelope`'s. A tag is random, also in a forked child.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from ...protocol.errors import BadMessage
from ...protocol.wire.envelope import Frame, parse
from ...protocol.wire.json import dumps
from ...protocol.wire.message import Message
from .base import Delivery, Parcel

_TAGS_AT_ONCE = 64


def _tags() -> Iterator[str]:
    """Random UUIDs (version 4); the kernel is asked for many at once."""
    while True:
        pool = os.urandom(16 * _TAGS_AT_ONCE).hex()
        for at in range(0, len(pool), 32):
            yield (
                f"{pool[at : at + 8]}-{pool[at + 8 : at + 12]}-4{pool[at + 13 : at + 16]}"
                f"-a{pool[at + 17 : at + 20]}-{pool[at + 20 : at + 32]}"
            )


class Envelopes:
    """Writes envelopes. One per connection, so its tags are never a parent process's."""

    def __init__(self, body_encoding: str | None = "base64") -> None:
        self._body_encoding = body_encoding
        self._tags = _tags()

    def seal(self, parcel: Parcel, priority: int) -> bytes:
        message = parcel.message
        frame = _frame(
            message.content_type,
            message.content_encoding,
            parcel.exchange,
            parcel.routing_key,
            priority,
            self._body_encoding,
        )
        if parcel.texts is not None:
            return frame.fill(message.body, *parcel.texts, next(self._tags))
        properties = message.properties
        if "priority" in properties:
            properties = {name: value for name, value in properties.items() if name != "priority"}
        return frame.fill(message.body, dumps(message.headers), dumps(properties), next(self._tags))


@lru_cache(maxsize=1024)
def _frame(
    content_type: str | None,
    content_encoding: str | None,
    exchange: str,
    routing_key: str,
    priority: int,
    body_encoding: str | None,
) -> Frame:
    return Frame.of(content_type, content_encoding, exchange, routing_key, priority, body_encoding)


def opened(tag: str | None, envelope: bytes, queue: str) -> Delivery:
    """What no client of ours can have written is delivered too, as a message of bytes alone: its taker judges it."""
    try:
        found = parse(envelope)
    except BadMessage:
        return Delivery(tag, Message(envelope), queue, "", queue)
    key = found.routing_key
    return Delivery(
        tag, found.message, queue, found.exchange, queue if key is None else key, found.redelivered, found.priority
    )

"""Messages to kombu's envelope, for the Redis broker: what stays the same from message to message is kept.

Law: the bytes are `protocol.wire.envelope`'s. A tag is random, also in a forked child.
"""

from __future__ import annotations

from functools import lru_cache

from ...protocol.wire.envelope import Frame
from ...protocol.wire.json import dumps
from ..ids import new_id
from .base import Parcel


class Envelopes:
    """Writes envelopes."""

    def __init__(self, body_encoding: str | None = "base64") -> None:
        self._body_encoding = body_encoding
        self.in_base64 = body_encoding is not None and body_encoding.lower() == "base64"

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
            return frame.fill(message.body, *parcel.texts, new_id())
        properties = message.properties
        if "priority" in properties:
            properties = {name: value for name, value in properties.items() if name != "priority"}
        return frame.fill(message.body, dumps(message.headers), dumps(properties), new_id())


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

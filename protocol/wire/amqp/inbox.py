"""What the broker says, put together: deliveries with their bodies, returned messages, confirms, and all other calls.

Law: what is wrong with one message stays with that message. Its properties are handed on as they came, for
`contents.read_message` to judge, and a body larger than `body_max` is swallowed: the delivery then has no body, and can
still be rejected. What is wrong with the stream (frames out of order, unknown methods) raises BadMessage.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error
from typing import Any, NamedTuple

from ...errors import BadMessage
from .frames import DEFAULT_FRAME_MAX, HEADER, HEARTBEAT, METHOD, Frame, FrameReader
from .methods import read_method, read_short_text
from .properties import read_content_header

DEFAULT_BODY_MAX = 1 << 29  # RabbitMQ accepts no larger message either


class Delivery(NamedTuple):
    """A message for one of our consumers."""

    channel: int
    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes | None  # None: larger than body_max
    body_size: int


class Got(NamedTuple):
    """A message that we asked for with `basic.get`; `message_count` more are waiting."""

    channel: int
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    message_count: int
    properties: bytes
    body: bytes | None
    body_size: int


class Returned(NamedTuple):
    """A mandatory message of ours that no queue wanted."""

    channel: int
    reply_code: int
    reply_text: str
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes | None
    body_size: int


class Confirmed(NamedTuple):
    """The broker has taken charge of our publish number `delivery_tag`, or refuses to (`accepted` is false)."""

    channel: int
    delivery_tag: int
    multiple: bool
    accepted: bool


class Called(NamedTuple):
    """Any other method."""

    channel: int
    name: str
    args: dict[str, Any]


class Heartbeat(NamedTuple):
    channel: int


Event = Delivery | Got | Returned | Confirmed | Called | Heartbeat

_DELIVER, _GET_OK, _RETURN = b"\x00\x3c\x00\x3c", b"\x00\x3c\x00\x47", b"\x00\x3c\x00\x32"
_ACK, _NACK = b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x78"
_CONTENT_CALLS = frozenset({_DELIVER, _GET_OK, _RETURN})
_CONFIRMS = {_ACK: (13, True), _NACK: (13, False)}

_TAG_AND_BITS = Struct(">QB")
_LONG = Struct(">I")
_SHORT = Struct(">H")
_read_tag_and_bits = _TAG_AND_BITS.unpack_from


class _Content:
    """A message of which more frames are to come."""

    __slots__ = ("call", "missing", "pieces", "properties", "size")

    def __init__(self, call: bytes) -> None:
        self.call = call
        self.properties: bytes | None = None  # None: the header frame is still to come
        self.size = 0
        self.missing = 0
        self.pieces: list[bytes] = []


class Inbox:
    """Bytes from the broker -> events, for all channels of one connection."""

    __slots__ = ("_contents", "_damage", "_frames", "body_max")

    def __init__(self, frame_max: int = DEFAULT_FRAME_MAX, body_max: int = DEFAULT_BODY_MAX) -> None:
        self.body_max = body_max
        self._frames = FrameReader(frame_max)
        self._contents: dict[int, _Content] = {}
        self._damage: BadMessage | None = None

    @property
    def frame_max(self) -> int:
        return self._frames.frame_max

    @frame_max.setter
    def frame_max(self, agreed: int) -> None:
        """What `connection.tune-ok` settled."""
        self._frames.frame_max = agreed

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now. What came before a damage is returned first, the next call raises it."""
        if self._damage is not None:
            raise self._damage
        events: list[Event] = []
        try:
            for frame in self._frames.feed(data):
                event = self._take(frame)
                if event is not None:
                    events.append(event)
        except BadMessage as damage:
            self._damage = damage
            if not events:
                raise
        return events

    def _take(self, frame: Frame) -> Event | None:
        kind, channel, payload = frame
        content = self._contents.get(channel)
        if kind == METHOD:
            if content is not None:
                raise BadMessage("AMQP stream", f"channel {channel}: a method while a content was to come")
            return self._take_call(channel, payload)
        if kind == HEARTBEAT:
            return Heartbeat(channel)
        if content is None:
            raise BadMessage("AMQP stream", f"channel {channel}: content of no message")
        if kind == HEADER:
            return self._take_header(channel, content, payload)
        return self._take_body(channel, content, payload)

    def _take_call(self, channel: int, payload: bytes) -> Event | None:
        signature = payload[:4]
        if signature in _CONTENT_CALLS:
            self._contents[channel] = _Content(payload)
            return None
        confirm = _CONFIRMS.get(signature)
        if confirm is not None and len(payload) == confirm[0]:
            tag, bits = _read_tag_and_bits(payload, 4)
            return Confirmed(channel, tag, bool(bits & 1), confirm[1])
        return Called(channel, *read_method(payload))

    def _take_header(self, channel: int, content: _Content, payload: bytes) -> Event | None:
        if content.properties is not None:
            raise BadMessage("AMQP stream", f"channel {channel}: a second header for one message")
        content.size, content.properties = read_content_header(payload)
        content.missing = content.size
        return None if content.missing else self._finish(channel, content)

    def _take_body(self, channel: int, content: _Content, payload: bytes) -> Event | None:
        if content.properties is None:
            raise BadMessage("AMQP stream", f"channel {channel}: a body before its header")
        content.missing -= len(payload)
        if content.missing < 0:
            raise BadMessage("AMQP stream", f"channel {channel}: a body longer than the {content.size} bytes it said")
        if content.size <= self.body_max and payload:
            content.pieces.append(payload)
        return None if content.missing else self._finish(channel, content)

    def _finish(self, channel: int, content: _Content) -> Event:
        del self._contents[channel]
        pieces = content.pieces
        body = None if content.size > self.body_max else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        call = content.call
        try:
            return _FINISH[call[:4]](channel, call, content.properties or b"", body, content.size)
        except (error, IndexError):
            raise BadMessage("AMQP stream", f"channel {channel}: a content's method ends inside a field") from None


def _delivery(channel: int, call: bytes, properties: bytes, body: bytes | None, size: int) -> Delivery:
    consumer_tag, at = read_short_text(call, 4)
    tag, bits = _read_tag_and_bits(call, at)
    exchange, at = read_short_text(call, at + 9)
    routing_key, at = read_short_text(call, at)
    _ends(call, at)
    return Delivery(channel, consumer_tag, tag, bool(bits & 1), exchange, routing_key, properties, body, size)


def _got(channel: int, call: bytes, properties: bytes, body: bytes | None, size: int) -> Got:
    tag, bits = _read_tag_and_bits(call, 4)
    exchange, at = read_short_text(call, 13)
    routing_key, at = read_short_text(call, at)
    (waiting,) = _LONG.unpack_from(call, at)
    _ends(call, at + 4)
    return Got(channel, tag, bool(bits & 1), exchange, routing_key, waiting, properties, body, size)


def _returned(channel: int, call: bytes, properties: bytes, body: bytes | None, size: int) -> Returned:
    (code,) = _SHORT.unpack_from(call, 4)
    text, at = read_short_text(call, 6)
    exchange, at = read_short_text(call, at)
    routing_key, at = read_short_text(call, at)
    _ends(call, at)
    return Returned(channel, code, text, exchange, routing_key, properties, body, size)


def _ends(call: bytes, at: int) -> None:
    if at != len(call):
        raise BadMessage("AMQP stream", f"a content's method has {len(call)} bytes, its fields take {at}")


_FINISH: dict[bytes, Callable[[int, bytes, bytes, bytes | None, int], Event]] = {
    _DELIVER: _delivery,
    _GET_OK: _got,
    _RETURN: _returned,
}

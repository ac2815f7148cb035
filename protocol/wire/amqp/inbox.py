"""What the broker says, put together: deliveries with their bodies, returned messages, confirms, and all other calls.

Law: what is wrong with one message stays with that message. Its properties are handed on as they came, for
`contents.read_message` to judge, and a body larger than `body_max` is swallowed: the delivery then has no body, and can
still be rejected. What is wrong with the stream (frames out of order, unknown methods) raises BadMessage.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error

from ...errors import BadMessage
from ...hints import Any, ClassVar, NamedTuple
from .frames import BODY, DEFAULT_FRAME_MAX, HEADER, HEARTBEAT, METHOD, FrameReader
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
_CONFIRMS = {_ACK: True, _NACK: False}
_PLACES = 256  # exchanges and routing keys an inbox remembers

_TAG_AND_BITS = Struct(">QB")
_LONG = Struct(">I")
_SHORT = Struct(">H")
_read_tag_and_bits = _TAG_AND_BITS.unpack_from


class _Content:
    """A message whose body is still to come, or the rest of it."""

    __slots__ = ("call", "missing", "pieces", "properties", "size")

    def __init__(self, call: bytes, properties: bytes, size: int) -> None:
        self.call = call
        self.properties = properties
        self.size = self.missing = size
        self.pieces: list[bytes] = []


class Inbox:
    """Bytes from the broker -> events, for all channels of one connection."""

    __slots__ = ("_calls", "_contents", "_damage", "_frames", "_places", "body_max")

    def __init__(self, frame_max: int = DEFAULT_FRAME_MAX, body_max: int = DEFAULT_BODY_MAX) -> None:
        self.body_max = body_max
        self._frames = FrameReader(frame_max)
        self._calls: dict[int, bytes] = {}  # by channel: a method whose content header is still to come
        self._contents: dict[int, _Content] = {}
        self._places: dict[bytes, tuple[str, str]] = {}
        self._damage: BadMessage | None = None

    @property
    def frame_max(self) -> int:
        return self._frames.frame_max

    @frame_max.setter
    def frame_max(self, agreed: int) -> None:
        """What `connection.tune-ok` settled."""
        self._frames.frame_max = agreed

    @property
    def between_frames(self) -> bool:
        """Whether what comes next begins with a whole frame."""
        return self._frames.between

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now. What came before a damage is returned first, the next call raises it."""
        if self._damage is not None:
            raise self._damage
        events: list[Event] = []
        try:
            for kind, channel, payload in self._frames.feed(data):
                event = self._STEPS[kind](self, channel, payload)
                if event is not None:
                    events.append(event)
            if self._frames.damage is not None and not events:
                raise self._frames.damage
        except BadMessage as damage:
            self._damage = damage
            if not events:
                raise
        return events

    def _take_call(self, channel: int, payload: bytes) -> Event | None:
        if channel in self._contents or channel in self._calls:
            raise _out_of_order(channel, "a method while a content was to come")
        signature = payload[:4]
        if signature in _CONTENT_CALLS:
            self._calls[channel] = payload
            return None
        accepted = _CONFIRMS.get(signature)
        if accepted is not None and len(payload) == 13:  # noqa: PLR2004 - signature, delivery tag, bits
            tag, bits = _read_tag_and_bits(payload, 4)
            return Confirmed(channel, tag, bool(bits & 1), accepted)
        return Called(channel, *read_method(payload))

    def _take_header(self, channel: int, payload: bytes) -> Event | None:
        call = self._calls.pop(channel, None)
        if call is None:
            raise _out_of_order(channel, "a content header without its method")
        size, properties = read_content_header(payload)
        if not size:
            return self._finish(channel, call, properties, b"", 0)
        self._contents[channel] = _Content(call, properties, size)
        return None

    def _take_body(self, channel: int, payload: bytes) -> Event | None:
        content = self._contents.get(channel)
        if content is None:
            raise _out_of_order(channel, "a body without its header")
        content.missing -= len(payload)
        if content.missing:
            if content.missing < 0:
                raise _out_of_order(channel, f"a body longer than the {content.size} bytes it said")
            if payload and content.size <= self.body_max:
                content.pieces.append(payload)
            return None
        del self._contents[channel]
        body: bytes | None = payload
        if content.size > self.body_max:
            body = None
        elif content.pieces:
            content.pieces.append(payload)
            body = b"".join(content.pieces)
        return self._finish(channel, content.call, content.properties, body, content.size)

    def _take_heartbeat(self, channel: int, _payload: bytes) -> Event:
        return Heartbeat(channel)

    _STEPS: ClassVar[dict[int, Callable[[Inbox, int, bytes], Event | None]]] = {
        METHOD: _take_call,
        HEADER: _take_header,
        BODY: _take_body,
        HEARTBEAT: _take_heartbeat,
    }

    def _finish(self, channel: int, call: bytes, properties: bytes, body: bytes | None, size: int) -> Event:
        try:
            if call.startswith(_DELIVER):
                tag_at = 5 + call[4]
                tag, bits = _read_tag_and_bits(call, tag_at)
                where = call[tag_at + 9 :]
                exchange, routing_key = self._places.get(where) or self._place(where)
                consumer_tag = call[5:tag_at].decode("utf-8", "backslashreplace")
                return Delivery(
                    channel, consumer_tag, tag, bool(bits & 1), exchange, routing_key, properties, body, size
                )
            if call.startswith(_GET_OK):
                return _got(channel, call, properties, body, size)
            return _returned(channel, call, properties, body, size)
        except (error, IndexError):
            raise _out_of_order(channel, "a content's method ends inside a field") from None

    def _place(self, where: bytes) -> tuple[str, str]:
        """Exchange and routing key: nearly always the same few."""
        exchange, at = read_short_text(where, 0)
        routing_key, at = read_short_text(where, at)
        _ends(where, at)
        if len(self._places) >= _PLACES:
            self._places.clear()
        place = self._places[where] = (exchange, routing_key)
        return place


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


def _out_of_order(channel: int, why: str) -> BadMessage:
    return BadMessage("AMQP stream", why, field=f"channel {channel}")

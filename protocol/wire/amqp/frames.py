"""The byte stream cut into frames, and the frames that a client sends most.

Law: no frame is larger than what was negotiated, and a stream that broke the rules once is not read any further.
What came whole before the damage is given first; the damage is raised by the next call.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct, error

from ...errors import BadCall, BadMessage, shown
from ...hints import Any
from .methods import write_method, write_short_text
from .properties import write_content_header

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
OVERHEAD = 8  # type, channel and size in front, the end mark behind
DEFAULT_FRAME_MAX = 131072

_WHAT = "AMQP stream"
_END = 0xCE
_END_MARK = b"\xce"
_PREFIX = Struct(">BHI")
_KINDS = frozenset({METHOD, HEADER, BODY, HEARTBEAT})
_pack_prefix = _PREFIX.pack
_read_prefix = _PREFIX.unpack_from


Frame = tuple[int, int, bytes]  # kind, channel, payload


class FrameReader:
    """Bytes as they come from the socket, in pieces of any size -> whole frames."""

    __slots__ = ("_kept", "_needed", "damage", "frame_max")

    def __init__(self, frame_max: int = DEFAULT_FRAME_MAX) -> None:
        self.frame_max = frame_max
        self._kept = bytearray()
        self._needed = 0
        self.damage: BadMessage | None = None

    @property
    def between(self) -> bool:
        """Whether the next byte begins a frame."""
        return not self._kept and self.damage is None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises BadMessage when the stream is not AMQP, now and ever after."""
        if self.damage is not None:
            raise self.damage
        if self._kept:
            self._kept += data
            if len(self._kept) < self._needed:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        frames: list[Frame] = []
        at = self._cut(data, frames)
        if isinstance(at, BadMessage):
            self.damage = at
            if not frames:
                raise at
        elif at < len(data):
            self._kept += memoryview(data)[at:]
        return frames

    def _cut(self, data: bytes, frames: list[Frame]) -> int | BadMessage:
        """Where the first incomplete frame begins, or what is wrong there."""
        at, size, payload_max = 0, len(data), self.frame_max - OVERHEAD
        while at + 7 <= size:
            kind, channel, length = _read_prefix(data, at)
            if kind not in _KINDS or length > payload_max:
                return self._complaint(data[at : at + 8], kind, length)
            end = at + 7 + length
            if end >= size:
                self._needed = end + 1 - at
                return at
            if data[end] != _END:
                return BadMessage(_WHAT, f"a frame ends with {data[end]:#04x}, expected 0xce")
            frames.append((kind, channel, data[at + 7 : end]))
            at = end + 1
        self._needed = 7
        return at

    def _complaint(self, start: bytes, kind: int, length: int) -> BadMessage:
        if start.startswith(PROTOCOL_HEADER[:4]):
            return BadMessage(_WHAT, f"the server speaks another version of AMQP: {start[4:].hex('.')}")
        if kind not in _KINDS:
            return BadMessage(_WHAT, f"unknown frame type {kind}")
        return BadMessage(_WHAT, f"a frame of {length + OVERHEAD} bytes, {self.frame_max} were agreed on")


# -- writing --


def write_frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (_pack_prefix(kind, channel, len(payload)), payload)


def write_call(channel: int, name: str, args: Mapping[str, Any]) -> bytes:
    """The frame of any method without content, by its name."""
    return write_frame(METHOD, channel, write_method(name, args))


def prefix_of(kind: int, channel: int) -> bytes:
    """How such a frame begins; its size is next."""
    return _pack_prefix(kind, channel, 0)[:3]


HEARTBEAT_FRAME = write_frame(HEARTBEAT, 0, b"")


def publish_call(channel: int, exchange: str, routing_key: str, *, mandatory: bool = False) -> bytes:
    """The method frame of a publish. It is the same for every message to one place: worth keeping."""
    where = write_short_text(exchange) + write_short_text(routing_key)
    return write_frame(METHOD, channel, b"\x00\x3c\x00\x28\x00\x00%b%c" % (where, int(mandatory)))


def write_publish(
    call: bytes,
    channel: int,
    properties: bytes,
    body: bytes,
    frame_max: int = DEFAULT_FRAME_MAX,
) -> bytes:
    """One message in one piece: the publish (`publish_call`), the content header and the body in its frames."""
    header = write_content_header(properties, len(body))
    room = frame_max - OVERHEAD
    if len(header) > room:
        raise BadCall(f"the properties take {len(header)} bytes, a frame holds {room}: the headers are too large")
    parts = [call, _pack_prefix(HEADER, channel, len(header)), header]
    if len(body) <= room:
        if body:
            parts += (_END_MARK, _pack_prefix(BODY, channel, len(body)), body)
    else:
        for at in range(0, len(body), room):
            piece = body[at : at + room]
            parts += (_END_MARK, _pack_prefix(BODY, channel, len(piece)), piece)
    parts.append(_END_MARK)
    return b"".join(parts)


_SETTLE = Struct(">BHIHHQBB")


def _write_settle(channel: int, method_id: int, delivery_tag: int, bits: int) -> bytes:
    try:
        return _SETTLE.pack(METHOD, channel, 13, 60, method_id, delivery_tag, bits, _END)
    except error:
        raise BadCall(f"channel {shown(channel)}, delivery tag {shown(delivery_tag)}: not what AMQP has") from None


def write_ack(channel: int, delivery_tag: int, *, multiple: bool = False) -> bytes:
    return _write_settle(channel, 80, delivery_tag, multiple)


def write_reject(channel: int, delivery_tag: int, *, requeue: bool) -> bytes:
    return _write_settle(channel, 90, delivery_tag, requeue)


def write_nack(channel: int, delivery_tag: int, *, multiple: bool = False, requeue: bool = True) -> bytes:
    return _write_settle(channel, 120, delivery_tag, multiple | requeue << 1)


def write_get(channel: int, queue: str, *, no_ack: bool = False) -> bytes:
    return write_frame(METHOD, channel, b"\x00\x3c\x00\x46\x00\x00%b%c" % (write_short_text(queue), int(no_ack)))

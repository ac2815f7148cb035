"""The content header of a message: its size, its properties, and its headers as one of them.

Law: the properties carry py-amqp's names, `application_headers` among them. A property that AMQP does not know is not
sent, as with py-amqp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct, error

from ...errors import BadCall, BadMessage, shown
from ...hints import Any
from .table import read_table, write_table

_WHAT = "AMQP properties"
BASIC = 60

_FLAGS = Struct(">H")
pack_flags = _FLAGS.pack
_TIMESTAMP = Struct(">Q")
_HEADER = Struct(">HHQ")

TableReader = Callable[[bytes, int], "tuple[dict[Any, Any], int]"]

_SHORT, _TABLE, _OCTET, _LONG = range(4)

# In the order of their flags, from the highest bit down.
_FIELDS = (
    ("content_type", _SHORT),
    ("content_encoding", _SHORT),
    ("application_headers", _TABLE),
    ("delivery_mode", _OCTET),
    ("priority", _OCTET),
    ("correlation_id", _SHORT),
    ("reply_to", _SHORT),
    ("expiration", _SHORT),
    ("message_id", _SHORT),
    ("timestamp", _LONG),
    ("type", _SHORT),
    ("user_id", _SHORT),
    ("app_id", _SHORT),
    ("cluster_id", _SHORT),
)
_KNOWN = sum(0x8000 >> place for place in range(len(_FIELDS)))


def read_properties(data: bytes, table_reader: TableReader = read_table) -> dict[str, Any]:
    """The properties that follow the body size in a header frame."""
    try:
        (flags,) = _FLAGS.unpack_from(data)
        at = 2
        if flags & ~_KNOWN:
            at = _more_flags(data, flags)
        properties: dict[str, Any] = {}
        for name, kind in _present(flags & _KNOWN):
            if kind == _SHORT:
                end = at + 1 + data[at]
                properties[name] = data[at + 1 : end].decode("utf-8", "surrogatepass")
                at = end
            elif kind == _TABLE:
                properties[name], at = table_reader(data, at)
            elif kind == _OCTET:
                properties[name] = data[at]
                at += 1
            else:
                (properties[name],) = _TIMESTAMP.unpack_from(data, at)
                at += 8
    except (error, IndexError):
        raise BadMessage(_WHAT, "end inside a value") from None
    except UnicodeDecodeError as why:
        raise BadMessage(_WHAT, f"a short text is not UTF-8: {shown(why.object)}") from None
    if at != len(data):
        raise BadMessage(_WHAT, f"the values take {at} bytes, {len(data)} are there")
    return properties


def _more_flags(data: bytes, flags: int) -> int:
    """Where the values begin when the first word of flags announces another (lowest bit)."""
    if flags & 2:
        raise BadMessage(_WHAT, f"unknown flag in {flags:#06x}")
    at = 2
    more = flags & 1
    while more:
        (word,) = _FLAGS.unpack_from(data, at)
        if word & ~1:
            raise BadMessage(_WHAT, f"unknown flag in word {at // 2}: {word:#06x}")
        more, at = word & 1, at + 2
    return at


@lru_cache(maxsize=256)
def _present(flags: int) -> tuple[tuple[str, int], ...]:
    return tuple(field for place, field in enumerate(_FIELDS) if flags & 0x8000 >> place)


def write_properties(properties: Mapping[str, Any]) -> bytes:
    """Flags and values of what is known and not None."""
    flags = 0
    parts = [b""]
    name = ""
    try:
        for flag, name, write in WRITERS:
            value = properties.get(name)
            if value is not None:
                flags |= flag
                parts.append(write(value))
    except BadCall as why:
        raise BadCall(f"property {name}: {why}") from None
    parts[0] = pack_flags(flags)
    return b"".join(parts)


def _write_short(value: object) -> bytes:
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if not isinstance(raw, bytes):
        raise BadCall(f"expected text, got {shown(value)}")
    size = len(raw)
    if size > 255:  # noqa: PLR2004 - the length is one byte
        raise BadCall(f"{shown(value)} takes {size} bytes, 255 are possible")
    return b"%c%b" % (size, raw)


def _write_headers(value: object) -> bytes:
    if not isinstance(value, Mapping):
        raise BadCall(f"expected a mapping, got {shown(value)}")
    return write_table(value)


def _write_octet(value: object) -> bytes:
    if not isinstance(value, int) or not 0 <= value <= 255:  # noqa: PLR2004 - one byte
        raise BadCall(f"expected an integer from 0 to 255, got {shown(value)}")
    return bytes((value,))


def _write_timestamp(value: object) -> bytes:
    if not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise BadCall(f"expected seconds since 1970 as an integer, got {shown(value)}")
    return _TIMESTAMP.pack(value)


WRITERS = tuple(
    (0x8000 >> place, name, (_write_short, _write_headers, _write_octet, _write_timestamp)[kind])
    for place, (name, kind) in enumerate(_FIELDS)
)


# -- the header frame's payload --


def read_content_header(payload: bytes) -> tuple[int, bytes]:
    """A header frame's payload: the size of the body, and the properties as they came."""
    if len(payload) < 14:  # noqa: PLR2004 - class, weight, body size, flags
        raise BadMessage("AMQP content header", f"14 bytes at least, {len(payload)} are there")
    kind, _weight, size = _HEADER.unpack_from(payload)
    if kind != BASIC:
        raise BadMessage("AMQP content header", f"of class {kind}, only basic ({BASIC}) has contents")
    return size, payload[12:]


def write_content_header(properties: bytes, body_size: int) -> bytes:
    return _HEADER.pack(BASIC, 0, body_size) + properties

"""Field tables: the maps of named, typed values in AMQP headers and arguments.

Law: a value is read by its letter, whoever wrote it, and written with the letter that py-amqp gives it.
Long strings and keys are text when they are UTF-8 (lone surrogates pass, as with py-amqp) and bytes when not.
Timestamps are naive datetimes in UTC, as py-amqp gives them to applications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from struct import Struct, error

from ...errors import BadCall, BadMessage, shown
from ...hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

DEEPEST = 64

_WHAT = "field table"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC is what py-amqp hands out
LENGTH = Struct(">I")
read_length = LENGTH.unpack_from

Reader = Callable[[bytes, int, int], "tuple[Any, int]"]  # data, where, depth -> value, where it ends


# -- reading --


def read_table(data: bytes, at: int = 0) -> tuple[dict[Any, Any], int]:
    """The table that starts at `at` with its length, and where it ends."""
    try:
        return _read_table(data, at, 0)
    except (error, IndexError):
        raise BadMessage(_WHAT, "ends inside a value") from None


def _read_table(data: bytes, at: int, depth: int) -> tuple[dict[Any, Any], int]:
    at, end = _container(data, at, depth)
    table: dict[Any, Any] = {}
    while at < end:
        stop = at + 1 + data[at]
        key = text(data[at + 1 : stop])
        table[key], at = _reader(data[stop], key)(data, stop + 1, depth + 1)
    if at != end:
        raise BadMessage(_WHAT, "a value ends beyond the table's own length")
    return table, end


def _read_array(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    at, end = _container(data, at, depth)
    items: list[Any] = []
    while at < end:
        value, at = _reader(data[at], "")(data, at + 1, depth + 1)
        items.append(value)
    if at != end:
        raise BadMessage(_WHAT, "a value ends beyond the array's own length")
    return items, end


def _container(data: bytes, at: int, depth: int) -> tuple[int, int]:
    if depth > DEEPEST:
        raise BadMessage(_WHAT, f"nested deeper than {DEEPEST}")
    (size,) = read_length(data, at)
    end = at + 4 + size
    if end > len(data):
        raise BadMessage(_WHAT, f"says {size} bytes, {len(data) - at - 4} are there")
    return at + 4, end


def _reader(letter: int, key: str | bytes) -> Reader:
    reader = READERS.get(letter)
    if reader is None:
        raise BadMessage(_WHAT, f"unknown type {bytes((letter,))!r}", field=shown(key) if key else "")
    return reader


def text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw


def _read_long_string(data: bytes, at: int, _depth: int) -> tuple[str | bytes, int]:
    end = at + 4 + read_length(data, at)[0]
    return text(data[at + 4 : end]), end  # a length beyond the table is found where the table ends


def _read_byte_array(data: bytes, at: int, _depth: int) -> tuple[bytes, int]:
    end = at + 4 + read_length(data, at)[0]
    return data[at + 4 : end], end


def _read_bool(data: bytes, at: int, _depth: int) -> tuple[bool, int]:
    return data[at] != 0, at + 1


def _read_void(_data: bytes, at: int, _depth: int) -> tuple[None, int]:
    return None, at


def _read_decimal(data: bytes, at: int, _depth: int) -> tuple[Decimal, int]:
    from decimal import Decimal  # 1 ms of CPU, for what hardly anybody sends

    scale, number = _DECIMAL.unpack_from(data, at)
    digits = tuple(map(int, str(abs(number))))
    return Decimal((int(number < 0), digits, -scale)), at + 5


def _read_timestamp(data: bytes, at: int, _depth: int) -> tuple[datetime, int]:
    (seconds,) = _TIMESTAMP.unpack_from(data, at)
    try:
        return _EPOCH + timedelta(seconds=seconds), at + 8
    except OverflowError:
        raise BadMessage(_WHAT, f"timestamp {seconds} is beyond the year 9999") from None


def _number(layout: str) -> Reader:
    unpack, size = Struct(layout).unpack_from, Struct(layout).size

    def read(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
        return unpack(data, at)[0], at + size

    return read


_DECIMAL = Struct(">Bi")
_TIMESTAMP = Struct(">Q")

READERS: dict[int, Reader] = {
    ord("t"): _read_bool,
    ord("b"): _number(">b"),
    ord("B"): _number(">B"),
    ord("s"): _number(">h"),  # RabbitMQ's meaning; the short string of the specification is sent by nobody
    ord("U"): _number(">h"),
    ord("u"): _number(">H"),
    ord("I"): _number(">i"),
    ord("i"): _number(">I"),
    ord("L"): _number(">q"),
    ord("l"): _number(">q"),
    ord("f"): _number(">f"),
    ord("d"): _number(">d"),
    ord("D"): _read_decimal,
    ord("S"): _read_long_string,
    ord("x"): _read_byte_array,
    ord("A"): _read_array,
    ord("F"): _read_table,
    ord("T"): _read_timestamp,
    ord("V"): _read_void,
}


# -- writing --


def write_table(table: Mapping[Any, Any]) -> bytes:
    """The table with its length in front."""
    return _write_table(table, 0)


def _write_table(table: Mapping[Any, Any], depth: int) -> bytes:
    body = b"".join(entries(table.items(), depth))
    return LENGTH.pack(len(body)) + body


def entries(items: Iterable[tuple[Any, Any]], depth: int) -> list[bytes]:
    if depth > DEEPEST:
        raise BadCall(f"field table: nested deeper than {DEEPEST}")
    parts: list[bytes] = []
    for key, value in items:
        parts.append(write_key(key))
        try:
            parts.append((_WRITERS.get(type(value)) or _writer_for(value))(value, depth))
        except BadCall as why:
            raise BadCall(f"{shown(key)}: {why}") from None
    return parts


@lru_cache(maxsize=1024)
def write_key(key: str | bytes) -> bytes:
    raw = _raw(key)
    if len(raw) > 255:  # noqa: PLR2004 - the length is one byte
        raise BadCall(f"field table: the key {shown(key)} takes {len(raw)} bytes, 255 are possible")
    return bytes((len(raw),)) + raw


def _raw(text: object) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    if isinstance(text, bytes):
        return text
    raise BadCall(f"field table: expected text as a key, got {shown(text)}")


def _write_string(value: str, _depth: int) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return _STRING.pack(b"S", len(raw)) + raw


def _write_bytes(value: bytes, _depth: int) -> bytes:
    return _STRING.pack(b"S", len(value)) + value


def _write_bool(value: bool, _depth: int) -> bytes:
    return b"t\x01" if value else b"t\x00"


def _write_int(value: int, _depth: int) -> bytes:
    if -0x7FFFFFFF <= value <= 0x7FFFFFFF:  # noqa: PLR2004 - -2**31 itself goes out as L: py-amqp's choice
        return _INT.pack(b"I", value)
    if -(1 << 63) <= value < 1 << 63:
        return _LONG.pack(b"L", value)
    raise BadCall(f"{shown(value)} does not fit into 64 bits")


def _write_float(value: float, _depth: int) -> bytes:
    return _DOUBLE.pack(b"d", value)


def _write_decimal(value: Decimal, _depth: int) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or not -255 <= exponent <= 0 or len(digits) > 10:  # noqa: PLR2004 - a byte, and 32 bits
        raise BadCall(f"the decimal {value} does not fit: at most 255 places, no exponent, 32 bits of digits")
    number = int("".join(map(str, digits))) * (-1 if sign else 1)
    if not -(1 << 31) <= number < 1 << 31:
        raise BadCall(f"the decimal {value} does not fit: its digits take more than 32 bits")
    return b"D" + _DECIMAL.pack(-exponent, number)


def _write_timestamp(value: datetime, _depth: int) -> bytes:
    offset = value.utcoffset()
    try:
        moment = value.replace(tzinfo=None) - (offset or timedelta())
    except OverflowError:
        raise BadCall(f"{value} cannot be expressed in UTC") from None
    if moment < _EPOCH:
        raise BadCall(f"{value} is before 1970: AMQP cannot carry it")
    return b"T" + _TIMESTAMP.pack((moment - _EPOCH) // timedelta(seconds=1))


def _write_array(value: Iterable[Any], depth: int) -> bytes:
    if depth >= DEEPEST:
        raise BadCall(f"field table: nested deeper than {DEEPEST}")
    body = b"".join([(_WRITERS.get(type(item)) or _writer_for(item))(item, depth + 1) for item in value])
    return _STRING.pack(b"A", len(body)) + body


def _write_inner_table(value: Mapping[Any, Any], depth: int) -> bytes:
    return b"F" + _write_table(value, depth + 1)


def _write_void(_value: None, _depth: int) -> bytes:
    return b"V"


def write_value(value: Any, depth: int = 0) -> bytes:
    """The type letter and the value."""
    return (_WRITERS.get(type(value)) or _writer_for(value))(value, depth)


def _writer_for(value: object) -> Callable[[Any, int], bytes]:
    for kind, writer in _WRITERS.items():
        if isinstance(value, kind):
            return writer
    from decimal import Decimal  # imported already, if this is one

    if isinstance(value, Decimal):
        return _write_decimal
    raise BadCall(f"AMQP cannot carry a value of type {type(value).__name__}")


_STRING = Struct(">cI")
_INT = Struct(">ci")
_LONG = Struct(">cq")
_DOUBLE = Struct(">cd")

# In this order for subclasses: bool is an int too.
_WRITERS: dict[type, Callable[[Any, int], bytes]] = {
    str: _write_string,
    bytes: _write_bytes,
    bool: _write_bool,
    float: _write_float,
    int: _write_int,
    datetime: _write_timestamp,
    dict: _write_inner_table,
    list: _write_array,
    tuple: _write_array,
    type(None): _write_void,
}

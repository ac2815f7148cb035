"""Field tables: round trips, py-amqp's bytes, and every way in which a table can be broken."""

from __future__ import annotations

import enum
import struct
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from amqp.serialization import dumps, loads
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.amqp.table import DEEPEST, read_table, write_table, write_value
from tests.protocol.wire.amqp.strategies import damaged, tables


def table_of(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def entry(letter: str, raw: bytes, key: bytes = b"k") -> bytes:
    return table_of(bytes((len(key),)) + key + letter.encode() + raw)


@given(tables)
def test_what_is_written_is_read(table: dict[str, Any]) -> None:
    written = write_table(table)
    assert read_table(written) == (table, len(written))
    assert read_table(b"before" + written + b"after", 6) == (table, 6 + len(written))


@given(tables)
def test_py_amqp_writes_the_same_bytes_and_reads_the_same_values(table: dict[str, Any]) -> None:
    written = write_table(table)
    assert dumps("F", [table]) == written
    assert loads("F", written, 0) == ([table], len(written))


@given(
    st.recursive(st.sampled_from("tbBsUuIiLlfdDSxTV"), lambda inner: st.lists(inner, max_size=3), max_leaves=8),
    st.data(),
)
def test_every_letter_is_read_as_py_amqp_reads_it(letters: Any, data: st.DataObject) -> None:
    sizes = {
        "t": 1,
        "b": 1,
        "B": 1,
        "s": 2,
        "U": 2,
        "u": 2,
        "I": 4,
        "i": 4,
        "L": 8,
        "l": 8,
        "d": 8,
        "D": 5,
        "f": 4,
        "V": 0,
    }

    def item(letter: Any) -> bytes:
        if isinstance(letter, list):
            return b"A" + table_of(b"".join(map(item, letter)))
        if letter == "T":
            raw = struct.pack(">Q", data.draw(st.integers(0, 253402300799)))
        elif letter in "Sx":
            raw = table_of(data.draw(st.binary(max_size=9)))
        else:
            raw = data.draw(st.binary(min_size=sizes[letter], max_size=sizes[letter]))
        return letter.encode() + raw

    written = table_of(b"\x01k" + item(letters))
    (expected,), end = loads("F", written, 0)
    table, ours = read_table(written)
    assert ours == end
    assert repr(normal(table)) == repr(normal(expected))  # repr: NaN is not equal to itself


def normal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value.normalize()
    if isinstance(value, list):
        return [normal(item) for item in value]
    return {key: normal(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("letter", "raw", "value"),
    [
        ("t", b"\x02", True),
        ("t", b"\x00", False),
        ("b", b"\xff", -1),
        ("B", b"\xff", 255),
        ("s", b"\xff\xfe", -2),
        ("U", b"\xff\xfe", -2),
        ("u", b"\xff\xfe", 65534),
        ("I", b"\xff\xff\xff\xff", -1),
        ("i", b"\xff\xff\xff\xff", 4294967295),
        ("L", b"\xff" * 8, -1),
        ("l", b"\xff" * 8, -1),
        ("f", b"\x3f\x80\x00\x00", 1.0),
        ("d", b"\x3f\xf0" + bytes(6), 1.0),
        ("D", b"\x02\x00\x00\x00\x96", Decimal("1.50")),
        ("D", b"\x01\xff\xff\xff\xf6", Decimal("-1.0")),
        ("S", b"\x00\x00\x00\x02hi", "hi"),
        ("S", b"\x00\x00\x00\x01\xff", b"\xff"),
        ("S", b"\x00\x00\x00\x03\xed\xa0\x80", "\ud800"),
        ("x", b"\x00\x00\x00\x02hi", b"hi"),
        ("A", table_of(b"Vt\x01"), [None, True]),
        ("F", table_of(b"\x01aV"), {"a": None}),
        ("T", struct.pack(">Q", 1), datetime(1970, 1, 1, 0, 0, 1)),
        ("V", b"", None),
    ],
)
def test_letters(letter: str, raw: bytes, value: object) -> None:
    table, _ = read_table(entry(letter, raw))
    assert table == {"k": value}
    assert type(table["k"]) is type(value)
    assert repr(table["k"]) == repr(value)


def test_a_key_that_is_not_utf8_stays_bytes_both_ways() -> None:
    written = entry("V", b"", key=b"\xff")
    assert read_table(written)[0] == {b"\xff": None}
    assert write_table({b"\xff": None}) == written


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("é", b"S\x00\x00\x00\x02\xc3\xa9"),
        (b"\xff", b"S\x00\x00\x00\x01\xff"),
        (True, b"t\x01"),
        (0x7FFFFFFF, b"I\x7f\xff\xff\xff"),
        (0x80000000, b"L\x00\x00\x00\x00\x80\x00\x00\x00"),
        (-0x7FFFFFFF, b"I\x80\x00\x00\x01"),
        (-0x80000000, b"L\xff\xff\xff\xff\x80\x00\x00\x00"),
        (1.0, b"d\x3f\xf0" + bytes(6)),
        (Decimal("1.50"), b"D\x02\x00\x00\x00\x96"),
        (Decimal(-2147483648), b"D\x00\x80\x00\x00\x00"),
        (datetime(1970, 1, 1, 0, 0, 1, 999999), b"T" + struct.pack(">Q", 1)),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=1))), b"T" + struct.pack(">Q", 3600)),
        ((1,), b"A\x00\x00\x00\x05I\x00\x00\x00\x01"),
        ([], b"A\x00\x00\x00\x00"),
        ({}, b"F\x00\x00\x00\x00"),
        (None, b"V"),
        (Colour.RED, b"S\x00\x00\x00\x03red"),
        (Level.HIGH, b"I\x00\x00\x00\x03"),
    ],
)
def test_the_letters_we_write(value: object, written: bytes) -> None:
    assert write_value(value) == written


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (1 << 63, "64 bits"),
        (-(1 << 63) - 1, "64 bits"),
        pytest.param(1 << 16000, "64 bits", id="huge"),
        (Decimal("NaN"), "does not fit"),
        (Decimal("1e1"), "does not fit"),
        (Decimal("1e-256"), "does not fit"),
        (Decimal(12345678901), "does not fit"),
        (Decimal(2147483648), "32 bits"),
        (datetime(1969, 12, 31), "before 1970"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "in UTC"),
        ({1, 2}, "of type set"),
        (object(), "of type object"),
        ([object()], "of type object"),
        ({"deep": {1: 2}}, "expected text as a key"),
        ({"x" * 256: 1}, "256 bytes"),
    ],
)
def test_what_amqp_cannot_carry_is_the_callers_mistake(value: object, why: str) -> None:
    with pytest.raises(BadCall, match=why) as raised:
        write_table({"name": value})
    assert str(raised.value).startswith("'name': ")


def nested(kind: type, depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_is_bounded(kind: type) -> None:
    written = write_table({"k": nested(kind, DEEPEST)})
    assert read_table(written)[0] == {"k": nested(kind, DEEPEST)}
    with pytest.raises(BadCall, match="nested deeper"):
        write_table({"k": nested(kind, DEEPEST + 1)})
    letter = b"A" if kind is list else b"\x01kF"
    body = b""
    for _ in range(5000):
        body = letter + table_of(body)
    with pytest.raises(BadMessage, match="nested deeper"):
        read_table(entry("A" if kind is list else "F", table_of(body)))


def test_a_cycle_is_the_callers_mistake() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(BadCall, match="nested deeper"):
        write_table({"k": loop})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends inside a value"),
        (b"\x00\x00\x00", "ends inside a value"),
        (b"\x00\x00\x00\x05\x01kV", "says 5 bytes, 3 are there"),
        (table_of(b"\x01k"), "ends inside a value"),
        (table_of(b"\x01kI\x00\x00"), "ends inside a value"),
        (table_of(b"\x01kI\x00\x00") + b"more", "beyond the table's own length"),
        (table_of(b"\x01kS\x00\x00\x00\x09hi"), "beyond the table's own length"),
        (table_of(b"\x01kx\x00\x00\x00\x09hi"), "beyond the table's own length"),
        (table_of(b"\x01kA" + table_of(b"S\x00\x00\x00\x04hi")) + b"more", "beyond the array's own length"),
        (table_of(b"\x01kA\x00\x00\x00\x09V"), "says 9 bytes, 1 are there"),
        (entry("?", b""), r"'k': unknown type b'\?'"),
        (entry("A", table_of(b"?")), r"field table: unknown type b'\?'"),
        (entry("T", b"\xff" * 8), "beyond the year 9999"),
        (entry("T", struct.pack(">Q", 253402300800)), "beyond the year 9999"),
    ],
)
def test_what_is_broken_is_the_senders_mistake(data: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_table(data)


@given(damaged(tables.map(write_table)) | st.binary(max_size=60))
def test_any_bytes_give_a_table_or_bad_message(data: bytes) -> None:
    try:
        table, end = read_table(data)
    except BadMessage:
        return
    assert isinstance(table, dict)
    assert end <= len(data)

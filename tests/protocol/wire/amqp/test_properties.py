"""The content header: round trips, py-amqp's bytes, and what is broken."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from amqp.basic_message import Message as AmqpMessage
from hypothesis import given, settings

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.amqp.headers import HeaderReader
from celeriac.protocol.wire.amqp.properties import (
    read_content_header,
    read_properties,
    write_content_header,
    write_properties,
)
from tests.protocol.wire.amqp.strategies import damaged, properties


@given(properties)
def test_what_is_written_is_read(given_: dict[str, Any]) -> None:
    written = write_properties(given_)
    assert read_properties(written) == given_
    assert list(read_properties(written)) == [name for name, _ in AmqpMessage.PROPERTIES if name in given_]


@given(properties)
def test_py_amqp_writes_the_same_bytes_and_reads_the_same_values(given_: dict[str, Any]) -> None:
    theirs = AmqpMessage("", **given_)
    written = write_properties(given_)
    assert theirs._serialize_properties() == written
    theirs._load_properties(60, written, 0)
    assert theirs.properties == given_


def test_none_and_unknown_properties_are_not_sent() -> None:
    assert write_properties({"priority": None, "correlationId": "x", "origin": "gen1@h"}) == b"\x00\x00"


def test_empty_is_present() -> None:
    assert write_properties({"reply_to": "", "application_headers": {}}) == b"\x22\x00\x00\x00\x00\x00\x00"
    assert read_properties(b"\x22\x00\x00\x00\x00\x00\x00") == {"application_headers": {}, "reply_to": ""}


def test_text_may_be_given_as_bytes() -> None:
    assert read_properties(write_properties({"reply_to": b"here"})) == {"reply_to": "here"}


def test_a_table_reader_can_be_given() -> None:
    reader = HeaderReader()
    written = write_properties({"application_headers": {"a": "b"}, "priority": 3})
    for _ in range(2):
        assert read_properties(written, reader.read) == {"application_headers": {"a": "b"}, "priority": 3}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("reply_to", 5, "expected text, got 5"),
        ("reply_to", "x" * 256, "256 bytes, 255 are possible"),
        ("reply_to", "é" * 128, "256 bytes"),
        ("application_headers", [], "expected a mapping, got list of 0"),
        ("application_headers", {"a": object()}, "'a': AMQP cannot carry"),
        ("priority", 256, "from 0 to 255, got 256"),
        ("priority", -1, "from 0 to 255"),
        ("priority", 1.0, "from 0 to 255"),
        ("delivery_mode", "2", "from 0 to 255"),
        ("timestamp", "now", "seconds since 1970"),
        ("timestamp", -1, "seconds since 1970"),
        ("timestamp", 1 << 64, "seconds since 1970"),
    ],
)
def test_what_amqp_cannot_carry_is_the_callers_mistake(name: str, value: object, why: str) -> None:
    with pytest.raises(BadCall, match=why) as raised:
        write_properties({name: value})
    assert str(raised.value).startswith(f"property {name}: ")


def test_further_words_of_flags_are_read_when_they_say_nothing() -> None:
    assert read_properties(b"\x08\x01\x00\x01\x00\x00\x07") == {"priority": 7}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "end inside a value"),
        (b"\x80", "end inside a value"),
        (b"\x80\x00", "end inside a value"),
        (b"\x80\x00\x05ab", "the values take 8 bytes, 5 are there"),
        (b"\x00\x00left", "the values take 2 bytes, 6 are there"),
        (b"\x20\x00\x00\x00\x00\x09", "says 9 bytes, 0 are there"),
        (b"\x10\x00", "end inside a value"),
        (b"\x00\x40\x00", "end inside a value"),
        (b"\x80\x00\x01\xff", "not UTF-8"),
        (b"\x00\x02", "unknown flag in 0x0002"),
        (b"\x00\x01", "end inside a value"),
        (b"\x00\x01\x80\x00", "unknown flag in word 1: 0x8000"),
        (b"\x00\x01\x00\x01\x00\x02", "unknown flag in word 2"),
        (b"\x00\x01" * 500, "end inside a value"),
    ],
)
def test_what_is_broken_is_the_senders_mistake(data: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_properties(data)


@settings(max_examples=200)
@given(damaged(properties.map(write_properties)))
def test_any_bytes_give_properties_or_bad_message(data: bytes) -> None:
    try:
        found = read_properties(data)
    except BadMessage:
        return
    assert read_properties(write_properties(found)).keys() == found.keys()


def test_content_header() -> None:
    payload = write_content_header(b"\x08\x00\x07", 81)
    assert payload == struct.pack(">HHQ", 60, 0, 81) + b"\x08\x00\x07"
    assert read_content_header(payload) == (81, b"\x08\x00\x07")


@pytest.mark.parametrize(
    ("payload", "why"), [(b"\x00\x3c" + bytes(11), "13 are there"), (b"\x00\x0a" + bytes(12), "of class 10")]
)
def test_broken_content_header(payload: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_content_header(payload)

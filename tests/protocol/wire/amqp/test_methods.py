"""The table of methods: complete, and what it writes is what py-amqp writes."""

from __future__ import annotations

from typing import Any

import pytest
from amqp import spec
from amqp.serialization import dumps
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.amqp.methods import BY_NAME, METHODS, RESERVED, Method, name_of, read_method, write_method
from tests.protocol.wire.amqp.strategies import damaged, names, tables

FIELDS = {
    "bit": st.booleans(),
    "octet": st.integers(0, 255),
    "short": st.integers(0, 0xFFFF),
    "long": st.integers(0, 0xFFFFFFFF),
    "longlong": st.integers(0, (1 << 64) - 1),
    "shortstr": names,
    "longstr": names,
    "table": tables,
}
PY_AMQP = {
    "bit": "b",
    "octet": "o",
    "short": "B",
    "long": "l",
    "longlong": "L",
    "shortstr": "s",
    "longstr": "S",
    "table": "F",
}


def filled(method: Method) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({field: FIELDS[kind] for kind, field in method.fields if field != RESERVED})


calls = st.sampled_from(METHODS).flatmap(lambda method: st.tuples(st.just(method), filled(method)))


@settings(max_examples=120)
@given(calls)
def test_what_is_written_is_read(call: tuple[Method, dict[str, Any]]) -> None:
    method, args = call
    assert read_method(write_method(method.name, args)) == (method.name, args)


@settings(max_examples=120)
@given(calls)
def test_py_amqp_writes_the_same_bytes(call: tuple[Method, dict[str, Any]]) -> None:
    method, args = call
    layout = "".join(PY_AMQP[kind] for kind, _ in method.fields)
    theirs = dumps(layout, [args.get(field, 0) for _, field in method.fields])
    assert write_method(method.name, args) == method.signature + theirs


def test_the_table_holds_all_that_py_amqp_knows() -> None:
    known = {
        getattr(group, name)
        for group in (spec.Connection, spec.Channel, spec.Exchange, spec.Queue, spec.Basic, spec.Confirm, spec.Tx)
        for name in vars(group)
        if name[0] != "_" and isinstance(getattr(group, name), tuple)
    }
    assert known <= {(method.class_id, method.method_id) for method in METHODS}
    assert len(BY_NAME) == len(METHODS) == len({method.signature for method in METHODS})


@pytest.mark.parametrize(("kind", "size"), [("short", 2), ("long", 4), ("longlong", 8)])
def test_numbers_have_their_sizes(kind: str, size: int) -> None:
    found = [(m, f) for m in METHODS for k, f in m.fields if k == kind and f != RESERVED]
    assert found
    for method, field in found:
        with pytest.raises(BadCall, match=f"{method.name}: {field}: expected an integer of {size} bytes"):
            write_method(method.name, {field: 1 << 8 * size})


def test_what_is_left_out_is_empty() -> None:
    name, args = read_method(write_method("queue.declare", {"queue": "q", "durable": True}))
    assert (name, args) == (
        "queue.declare",
        {"queue": "q", "passive": False, "durable": True, "exclusive": False, "auto_delete": False,
         "no_wait": False, "arguments": {}},
    )  # fmt: skip
    assert read_method(write_method("basic.ack", {})) == ("basic.ack", {"delivery_tag": 0, "multiple": False})


def test_texts_may_be_bytes() -> None:
    args = {"client_properties": {}, "mechanism": b"PLAIN", "response": b"\0\xff", "locale": None}
    assert read_method(write_method("connection.start-ok", args))[1] == {
        "client_properties": {}, "mechanism": "PLAIN", "response": b"\0\xff", "locale": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "args", "why"),
    [
        ("basic.pubish", {}, "no method 'basic.pubish'"),
        ("basic.ack", {"tag": 1}, "basic.ack has no field tag"),
        ("queue.declare", {RESERVED: 1}, "has no field -"),
        ("basic.ack", {"delivery_tag": "1"}, "delivery_tag: expected an integer of 8 bytes, got '1'"),
        ("basic.ack", {"delivery_tag": -1}, "expected an integer"),
        ("basic.cancel", {"consumer_tag": 5}, "expected text, got 5"),
        ("basic.cancel", {"consumer_tag": "x" * 256}, "256 bytes, 255 are possible"),
        ("connection.secure", {"challenge": 5}, "expected text, got 5"),
        ("queue.declare", {"arguments": [1]}, "arguments: expected a mapping, got list of 1"),
        ("queue.declare", {"arguments": {"x": object()}}, "arguments: 'x': AMQP cannot carry"),
    ],
)
def test_what_amqp_cannot_carry_is_the_callers_mistake(name: str, args: dict[str, Any], why: str) -> None:
    with pytest.raises(BadCall, match=why):
        write_method(name, args)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "AMQP method: unknown"),
        (b"\x00\x3c\x00\x99", "unknown: 00 3c 00 99"),
        (b"\x00\x3c\x00\x50\x00", "basic.ack: ends inside a field"),
        (b"\x00\x3c\x00\x50" + bytes(8), "basic.ack: ends inside a field"),
        (b"\x00\x3c\x00\x50" + bytes(10), "basic.ack: its fields take 13 bytes, 14 are there"),
        (b"\x00\x3c\x00\x1f\x09tag", "basic.cancel-ok: its fields take 14 bytes, 8 are there"),
        (b"\x00\x14\x00\x0b\x00\x00\x00\x09", "channel.open-ok: its fields take 17 bytes, 8 are there"),
        (b"\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x02\x01k", "ends inside a value"),
    ],
)
def test_what_is_broken_is_the_servers_mistake(payload: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_method(payload)


def test_a_name_that_is_not_utf8_shows_its_bytes() -> None:
    payload = b"\x00\x3c\x00\x1f\x03a\xffb"
    assert read_method(payload) == ("basic.cancel-ok", {"consumer_tag": "a\\xffb"})


@settings(max_examples=120)
@given(damaged(calls.map(lambda call: write_method(call[0].name, call[1]))))
def test_any_bytes_give_a_method_or_bad_message(payload: bytes) -> None:
    try:
        name, args = read_method(payload)
    except BadMessage:
        return
    assert name in BY_NAME
    assert isinstance(args, dict)


def test_names_by_number() -> None:
    assert name_of(50, 10) == "queue.declare"
    assert name_of(0, 0) == name_of(1, 2) == name_of(70000, 1) == ""

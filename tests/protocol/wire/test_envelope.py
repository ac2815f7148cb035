"""kombu's envelope: built byte for byte, read in every shape that clients write, refused with the field named."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire import envelope
from celeriac.protocol.wire.message import Message, losses_in

PLAIN: dict[str, Any] = {
    "body": base64.b64encode(b"[]").decode(),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"task": "t", "id": "1"},
    "properties": {
        "correlation_id": "1",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "tag",
    },
}


def changed(**properties: Any) -> bytes:
    return written({**PLAIN, "properties": {**PLAIN["properties"], **properties}})


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


def built(message: Message, **options: Any) -> bytes:
    return envelope.build(message, **{"exchange": "", "routing_key": "celery", "delivery_tag": "tag", **options})


def test_it_reads_and_builds_what_kombu_writes() -> None:
    read = envelope.parse(written(PLAIN))
    assert read == envelope.Envelope(
        Message(
            b"[]",
            "application/json",
            "utf-8",
            {"task": "t", "id": "1"},
            {"correlation_id": "1", "delivery_mode": 2, "priority": 0},
        ),
        delivery_tag="tag",
        exchange="",
        routing_key="celery",
        redelivered=False,
        priority=0,
    )
    assert built(read.message) == written(PLAIN)


def test_priority_is_always_written() -> None:
    properties = json.loads(built(Message(b"")))["properties"]
    assert list(properties) == ["delivery_info", "priority", "body_encoding", "delivery_tag"]
    assert properties["priority"] == 0
    assert json.loads(built(Message(b"", properties={"priority": None})))["properties"]["priority"] == 0
    nine = json.loads(built(Message(b"", properties={"priority": 9, "x": 1})))["properties"]
    assert list(nine)[:3] == ["x", "delivery_info", "priority"]
    assert nine["priority"] == 9


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(max_size=8).filter(
    lambda name: name not in {"body_encoding", "delivery_tag", "delivery_info", "priority", "__type__"}
)


@given(
    body=st.binary(max_size=60),
    headers=st.dictionaries(names, json_values, max_size=4),
    properties=st.dictionaries(names, json_values, max_size=4),
    tag=st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])),
    exchange=st.text(max_size=5),
    key=st.text(max_size=5),
    kind=st.none() | st.text(max_size=5),
)
def test_round_trip(
    body: bytes,
    headers: dict[str, Any],
    properties: dict[str, Any],
    tag: str,
    exchange: str,
    key: str,
    kind: str | None,
) -> None:
    message = Message(body, kind, "binary", headers, properties)
    data = envelope.build(message, exchange=exchange, routing_key=key, delivery_tag=tag)
    read = envelope.parse(data)
    assert read.message == Message(body, kind, "binary", headers, {**properties, "priority": 0})
    assert (read.delivery_tag, read.exchange, read.routing_key) == (tag, exchange, key)
    assert envelope.build(read.message, exchange=exchange, routing_key=key, delivery_tag=tag) == data
    assert data == json.dumps(json.loads(data)).encode()
    again = envelope.parse(envelope.redelivered(data))
    assert again.redelivered
    assert again.message.headers == {**headers, "redelivered": True}
    assert again.message.properties == read.message.properties


@pytest.mark.parametrize("encoding", [None, "utf-8", "UTF-8"])
def test_a_text_body(encoding: str | None) -> None:
    data = built(Message('["ü"]'.encode()), body_encoding=encoding)
    assert json.loads(data)["body"] == '["ü"]'
    assert json.loads(data)["properties"]["body_encoding"] == encoding
    assert envelope.parse(data).message.body == '["ü"]'.encode()


def test_a_body_encoding_must_fit() -> None:
    with pytest.raises(BadCall, match="base64"):
        built(Message(b"\xff"), body_encoding=None)
    with pytest.raises(BadCall, match="body_encoding"):
        built(Message(b""), body_encoding="hex")


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (changed(body_encoding="base64"), b"[]"),
        (changed(body_encoding="Base64"), b"[]"),
        (changed(body_encoding=None), b"W10="),
        (changed(body_encoding=""), b"W10="),
        (changed(body_encoding="Utf-8"), b"W10="),
        (written({**PLAIN, "body": None}), b""),
        (written({**PLAIN, "body": ""}), b""),
        (written({}), b""),
        (written({**PLAIN, "body": "W1 0=\n"}), b"[]"),
    ],
)
def test_bodies_as_other_clients_write_them(data: bytes, body: bytes) -> None:
    assert envelope.parse(data).message.body == body


@pytest.mark.parametrize(
    ("tag", "read"),
    [
        ("x", "x"),
        (5, "5"),
        (2.5, "2.5"),
        (None, None),
        (True, None),
        ("", None),
        ([1], None),
        ({}, None),
        ("\ud800", None),
    ],
)
def test_delivery_tags_of_every_kind(tag: Any, read: str | None) -> None:
    assert envelope.parse(changed(delivery_tag=tag)).delivery_tag == read


def test_what_stock_loses_is_read() -> None:
    bare = envelope.parse(written({"body": "x", "headers": {"task": "t"}}))
    assert (bare.delivery_tag, bare.exchange, bare.routing_key, bare.priority) == (None, "", None, 0)
    assert bare.message.content_type is None
    assert envelope.parse(written({**PLAIN, "headers": None})).message.headers == {}
    assert envelope.parse(written({**PLAIN, "properties": None})).message.properties == {}
    assert envelope.parse(changed(delivery_info=None)).routing_key is None
    assert envelope.parse(changed(delivery_info={"exchange": None})).exchange == ""


@pytest.mark.parametrize(
    ("priority", "read"),
    [(0, 0), (5, 5), (-1, 0), (99, 9), ("7", 7), (2.9, 2), ("high", 0), (None, 0), ([1], 0), (1e999, 0), (True, 1)],
)
def test_priorities_are_clamped_as_kombu_clamps_them(priority: Any, read: int) -> None:
    assert envelope.parse(changed(priority=priority)).priority == read


@pytest.mark.parametrize("digits", ["5", "1E+999999999", "NaN"])
def test_a_decimal_is_no_priority(digits: str) -> None:
    """Typed values reach properties too, and the integer of this one would have a billion digits."""
    assert envelope.parse(changed(priority={"__type__": "decimal", "__value__": digits})).priority == 0


def test_priority_of_celery_3_1_stands_in_delivery_info() -> None:
    raw = json.loads(changed(delivery_info={"exchange": "celery", "routing_key": "celery", "priority": 6}))
    del raw["properties"]["priority"]
    read = envelope.parse(written(raw))
    assert read.priority == 6
    assert read.exchange == "celery"
    assert envelope.priority_of({"delivery_info": 5}) == 0


def test_an_envelope_that_somebody_else_decoded_reads_the_same() -> None:
    data = envelope.build(Message(b"x", "t", "e", {"a": 1}, {"b": 2}), exchange="", routing_key="q", delivery_tag="1")
    assert envelope.read(json.loads(data)) == envelope.parse(data)
    with pytest.raises(BadMessage, match="expected an object"):
        envelope.read(None)


def test_camel_case_properties_are_left_to_the_message() -> None:
    assert envelope.parse(changed(correlationId="2", replyTo="r")).message.properties["correlationId"] == "2"


def test_celery_ts_calls_a_compressed_body_base64() -> None:
    assert envelope.parse(written({**PLAIN, "content-encoding": "base64"})).message.content_encoding == "utf-8"


def test_typed_values_in_headers_are_what_they_stand_for() -> None:
    from datetime import date

    message = Message(b"", headers={"stamp": date(2030, 1, 2)})
    data = built(message)
    assert json.loads(data)["headers"]["stamp"] == {"__type__": "date", "__value__": "2030-01-02"}
    assert envelope.parse(data).message.headers == message.headers
    assert json.loads(envelope.redelivered(data))["headers"]["stamp"] == json.loads(data)["headers"]["stamp"]
    unknown = {"__type__": "nobody's", "__value__": 1}
    assert envelope.parse(written({**PLAIN, "headers": {"x": unknown}})).message.headers == {"x": unknown}


@pytest.mark.parametrize(("header", "losses"), [(3, 3), (True, 0), (-1, 0), (1 << 31, 0), ("3", 0), (None, 0)])
def test_losses_are_read_and_are_no_part_of_a_task(header: Any, losses: int) -> None:
    headers = {"id": "x", "celeriac_losses": header}
    assert losses_in(headers) == losses
    assert headers == {"id": "x"}
    assert losses_in(headers) == 0


def test_redelivered_tells_of_losses() -> None:
    data = written({"body": "", "headers": {"id": "x"}, "properties": {}})
    assert json.loads(envelope.redelivered(data, 3))["headers"] == {
        "id": "x",
        "redelivered": True,
        "celeriac_losses": 3,
    }


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        (PLAIN, (True, True)),
        ({**PLAIN, "headers": None}, (None, True)),
        ({**PLAIN, "properties": None}, (True, None)),
        ({**PLAIN, "properties": {}}, (True, None)),
        ({}, (None, None)),
    ],
)
def test_redelivered_sets_the_flags_that_have_a_place(raw: dict[str, Any], flags: tuple[Any, Any]) -> None:
    value = json.loads(envelope.redelivered(written(raw)))
    headers = value.get("headers") or {}
    info = (value.get("properties") or {}).get("delivery_info") or {}
    assert (headers.get("redelivered"), info.get("redelivered")) == flags
    assert envelope.redelivered(written(value)) == written(value)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", ""),
        (b"this is not json", ""),
        (b"[]", ""),
        (b"5", ""),
        (b"\xff{}", ""),
        (b'{"a": ' * 100_000, ""),
        (b'{"priority": ' + b"9" * 10_000 + b"}", ""),
        (written({**PLAIN, "headers": [1]}), "headers"),
        (written({**PLAIN, "properties": "x"}), "properties"),
        (changed(delivery_info=[1]), "delivery_info"),
        (changed(delivery_info={"exchange": 5}), "exchange"),
        (changed(delivery_info={"routing_key": {}}), "routing_key"),
        (changed(body_encoding="rot13"), "body_encoding"),
        (changed(body_encoding=5), "body_encoding"),
        (written({**PLAIN, "body": [1]}), "body"),
        (written({**PLAIN, "body": "a"}), "body"),
        (written({**PLAIN, "body": "\ud800"}), "body"),
        (written({**PLAIN, "content-type": 5}), "content-type"),
        (written({**PLAIN, "content-encoding": []}), "content-encoding"),
    ],
)
def test_what_is_no_envelope_says_where(data: bytes, field: str) -> None:
    with pytest.raises(BadMessage) as caught:
        envelope.parse(data)
    assert caught.value.field == field


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_give_an_envelope_or_bad_message(data: bytes) -> None:
    for read in (envelope.parse, envelope.redelivered):
        with contextlib.suppress(BadMessage):
            read(data)


@given(json_values, st.sampled_from(["body", "headers", "properties", "content-type", "content-encoding"]))
def test_any_value_in_any_field(value: Any, name: str) -> None:
    data = written({**PLAIN, name: value})
    with contextlib.suppress(BadMessage):
        envelope.parse(data)
    envelope.redelivered(data)


@given(json_values, st.sampled_from(["body_encoding", "delivery_tag", "delivery_info", "priority"]))
def test_any_value_in_any_property(value: Any, name: str) -> None:
    with contextlib.suppress(BadMessage):
        envelope.parse(changed(**{name: value}))


@given(st.data())
def test_mutations_of_an_envelope(data: st.DataObject) -> None:
    raw = bytearray(written(PLAIN))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadMessage):
        envelope.parse(bytes(raw))

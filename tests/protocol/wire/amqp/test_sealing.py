"""A message of RabbitMQ's that is sealed says what the readers would say of it, or is not sealed."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire.amqp.contents import read_message, write_message
from celeriac.protocol.wire.amqp.sealing import seal
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.message_reading import read_head
from celeriac.protocol.wire.sealed import Sealed, opened
from tests.protocol.vectors import index, vector
from tests.protocol.wire.test_sealed import BODY, HEADERS, PROPERTIES


def built(headers: Any = None, properties: Any = None) -> bytes:
    own = {**PROPERTIES, **(properties or {})}
    return write_message(Message(BODY, "application/json", "utf-8", {**HEADERS, **(headers or {})}, own))


def same(data: bytes, body: bytes = BODY) -> Sealed:
    sealed = seal(data, body)
    assert sealed is not None
    message = read_message(data, body)
    assert opened(sealed) == message
    assert [*opened(sealed).headers.items()] == [*message.headers.items()]
    head = read_head(message)
    assert (sealed.task, sealed.id, sealed.retries) == (head.name, head.id, head.retries)
    assert sealed.priority == message.properties["priority"]
    assert (head.eta, head.expires, head.shadow, head.stamps, head.timelimit) == (None, None, None, {}, (None, None))
    return sealed


def test_it_stands_for_the_message() -> None:
    sealed = same(built())
    assert (sealed.body, sealed.content_type, sealed.content_encoding) == (BODY, "application/json", "utf-8")
    same(built({"group": "g", "group_index": 0, "retries": 2**31 - 1, "ignore_result": True}))
    same(built({"argsrepr": "('a\"b',)", "parent_id": "p" * 255, "ignore_result": None, "root_id": ""}))
    same(built(properties={"correlation_id": "", "reply_to": "", "delivery_mode": 1, "priority": 0}))


texts = st.none() | st.text(max_size=8) | st.text("aA0 $(\"'", max_size=40)
numbers = st.none() | st.integers(0, 2**33)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("lang", "group", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin"), texts),
            **dict.fromkeys(("task", "id"), st.text(min_size=1, max_size=8)),
            **dict.fromkeys(("group_index", "replaced_task_nesting"), numbers),
            "retries": st.integers(0, 2**33),
            "ignore_result": st.none() | st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("correlation_id", "reply_to"), texts),
            "delivery_mode": st.sampled_from([1, 2]),
            "priority": st.none() | st.integers(0, 255),
        },
    ),
)
def test_whatever_is_usual_reads_the_same(headers: Any, properties: Any) -> None:
    data = built(headers, properties)
    if seal(data, BODY) is not None:
        same(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        built()[:-1],
        built() + b"x",
        built({"eta": "2030-01-01T00:00:00"}),
        built({"expires": "2030-01-01T00:00:00"}),
        built({"shadow": "name"}),
        built({"timelimit": [1, None]}),
        built({"stamps": {"a": 1}, "stamped_headers": ["a"]}),
        built({"retries": -1}),
        built({"retries": 2**31}),
        built({"task": ""}),
        built({"task": "\u00e4"}),
        built({"argsrepr": "\\"}),
        built({"argsrepr": "x" * 256}),
        built({"own": 1}),
        built({"redelivered": True}),
        built(properties={"expiration": "5"}),
        built(properties={"priority": None}),
        built(properties={"priority": 10}),
        built(properties={"reply_to": "\u00e4"}),
        built().replace(b"S\0\0\0\x03add", b"S\0\0\0\x02add"),
        built()[:28] + b"\xff" + built()[29:],  # the length of the table
    ],
)
def test_whatever_else_is_read(data: bytes) -> None:
    assert seal(data, BODY) is None


@pytest.mark.parametrize("body", [b"", b"{}", b'"x"'])
def test_a_body_of_another_protocol_is_read(body: bytes) -> None:
    assert seal(built(), body) is None


def test_what_stock_celery_sends_is_sealed() -> None:
    usual = 0
    for case in index():
        if not case.startswith("amqp/"):
            continue
        for _, frame in vector(case).frames():
            content = frame.get("content") or {}
            properties = base64.b64decode(content.get("header_frame_b64", ""))[12:]
            body = base64.b64decode(content.get("body_b64", ""))
            if seal(properties, body) is not None:
                usual += 1
                same(properties, body)
    assert usual > 50


@given(st.data())
def test_no_damage_makes_another_message(data: st.DataObject) -> None:
    whole = bytearray(built({"argsrepr": "(1, 2)", "group": "g"}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole)
    if seal(damaged, BODY) is not None:
        same(damaged)
    else:
        with suppress(BadMessage):
            read_message(damaged, BODY)

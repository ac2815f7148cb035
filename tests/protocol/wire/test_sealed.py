"""A sealed message says what the readers would say of its envelope, or is not sealed."""

from __future__ import annotations

import json
import pickle
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import envelope
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.message_reading import read_head
from celeriac.protocol.wire.sealed import Sealed, opened, seal

BODY = b'[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
HEADERS: dict[str, Any] = {
    "lang": "py",
    "task": "add",
    "id": "an-id",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "root_id": "an-id",
    "parent_id": None,
    "argsrepr": "(1, 2)",
    "kwargsrepr": "{}",
    "origin": "gen1@here",
    "ignore_result": False,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
PROPERTIES: dict[str, Any] = {"correlation_id": "an-id", "reply_to": "me", "delivery_mode": 2, "priority": 3}


def built(headers: Any = None, properties: Any = None, body: bytes = BODY, exchange: str = "", key: str = "q") -> bytes:
    message = Message(
        body, "application/json", "utf-8", {**HEADERS, **(headers or {})}, {**PROPERTIES, **(properties or {})}
    )
    return envelope.build(message, exchange=exchange, routing_key=key, delivery_tag="tag")


def same(data: bytes) -> Sealed:
    found = seal(data)
    assert found is not None
    sealed, exchange, key, priority = found
    parsed = envelope.parse(data)
    assert opened(sealed) == parsed.message
    assert [*opened(sealed).headers] == [*parsed.message.headers]
    assert (exchange, key, priority, False) == (
        parsed.exchange, parsed.routing_key, parsed.priority, parsed.redelivered,
    )  # fmt: skip
    head = read_head(parsed.message)
    assert (sealed.task, sealed.id, sealed.retries) == (head.name, head.id, head.retries)
    assert (head.eta, head.expires, head.shadow, head.stamps, head.timelimit) == (None, None, None, {}, (None, None))
    return sealed


def test_it_stands_for_the_message() -> None:
    sealed = same(built())
    message = envelope.parse(built()).message
    assert sealed == message
    assert message == sealed
    assert sealed == same(built())
    assert sealed != same(built({"id": "another"}))
    assert (sealed.body, sealed.content_type, sealed.content_encoding) == (BODY, "application/json", "utf-8")
    assert (sealed.headers, sealed.properties) == (message.headers, message.properties)
    assert repr(sealed) == repr(message)
    assert pickle.loads(pickle.dumps(sealed)) == message
    assert opened(message) is message
    with pytest.raises(TypeError):
        hash(sealed)


texts = st.none() | st.text(max_size=8)
numbers = st.none() | st.integers(0, 10**9)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("lang", "group", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin"), texts),
            **dict.fromkeys(("task", "id"), st.text(min_size=1, max_size=8)),
            **dict.fromkeys(("group_index", "replaced_task_nesting"), numbers),
            "retries": st.integers(0, 10**9),
            "ignore_result": st.none() | st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {},
        optional={"correlation_id": texts, "reply_to": texts, "delivery_mode": st.sampled_from([1, 2]), "priority": st.integers(0, 9)},
    ),
    st.binary(max_size=8).map(lambda more: b"[" + more),
    st.text(max_size=5),
)  # fmt: skip
def test_whatever_is_usual_reads_the_same(headers: Any, properties: Any, body: bytes, key: str) -> None:
    data = built(headers, properties, body, key, key)
    if seal(data) is not None:
        same(data)


@pytest.mark.parametrize("shown", ["(1,)", "('a\"b',)", "\\\n\t\u20ac", "", None])
def test_what_is_shown_may_be_anything(shown: str | None) -> None:
    sealed = same(built({"argsrepr": shown, "kwargsrepr": shown}))
    assert sealed.headers["argsrepr"] == sealed.headers["kwargsrepr"] == shown


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        "\u20ac".encode(),
        built({"eta": "2030-01-01T00:00:00"}),
        built({"expires": "2030-01-01T00:00:00"}),
        built({"shadow": "name"}),
        built({"timelimit": [1, None]}),
        built({"stamps": {"a": 1}, "stamped_headers": ["a"]}),
        built({"retries": -1}),
        built({"retries": True}),
        built({"task": ""}),
        built({"task": "\u00e4"}),
        built({"own": 1}),
        built({"compression": "gzip"}),
        built(properties={"expiration": "5"}),
        built(body=b'{"task": "add"}'),
        built() + b" ",
        built().replace(b'"W1sx', b'"=W1sx'),
        built().replace(b64encode(BODY), b64encode(BODY)[:-1]),
    ],
)
def test_whatever_else_is_read(data: bytes) -> None:
    assert seal(data) is None


@given(st.data())
def test_no_damage_makes_another_message(data: st.DataObject) -> None:
    whole = bytearray(built({"argsrepr": 'a"\\'}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    if seal(bytes(whole)) is not None:
        json.loads(bytes(whole))
        same(bytes(whole))
    else:
        with suppress(BadMessage):
            envelope.parse(bytes(whole))

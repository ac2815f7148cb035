"""Requests, replies and mingle: their form, their checks, and who is meant."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import control
from celeriac.protocol.wire.control import Hello, Reply, ReplyTo, Request
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.message_reading import Reader
from celeriac.protocol.wire.serializers import accepted

HOME = ReplyTo("reply.celery.pidbox", "oid")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
texts = st.none() | st.text()


def test_request_on_the_wire():
    message = control.build_request(Request("ping", ticket="t", reply_to=HOME, clock=1, expires=2.5))
    assert message == Message(
        b'{"method": "ping", "arguments": {}, "destination": null, "pattern": null, "matcher": null, "ticket": "t",'
        b' "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "oid"}}',
        "application/json",
        "utf-8",
        {"clock": 1, "expires": 2.5},
        {"delivery_mode": 2, "priority": 0},
    )
    quiet = control.build_request(Request("shutdown", destination=("w1@h",)))
    assert quiet.body.endswith(b'"destination": ["w1@h"], "pattern": null, "matcher": null}')


@given(
    st.builds(
        Request,
        st.text(min_size=1),
        st.dictionaries(st.text(max_size=4).filter(lambda key: "__" not in key), json_values),
        st.none() | st.lists(st.text()).map(tuple),
        texts,
        texts,
        clock=st.integers(0, 2**62),
        expires=st.floats(0, 2e9),
    ),
    st.booleans(),
)
def test_request_round_trip(request, wants_reply):
    if wants_reply:
        request = replace(request, ticket="t", reply_to=HOME)
    assert control.parse_request(control.build_request(request)) == request


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_who_writes_otherwise_is_read_by_who_accepts_it(serializer):
    accept = accepted([serializer])
    speech = control.Speech(Reader(accept), serializer)
    request, reply = Request("ping", {"a": [1, "é"]}, ticket="t", reply_to=HOME), Reply("w@h", {"ok": "pong"}, "t")
    asked, told = control.build_request(request, speech), control.build_reply(reply, speech)
    assert {asked.content_type, told.content_type} == accept
    assert control.parse_request(asked, speech) == request
    assert control.parse_reply(told, speech) == reply
    if serializer != "json":
        for message, parse in ((asked, control.parse_request), (told, control.parse_reply)):
            with pytest.raises(BadMessage, match=f"untrusted content of type {serializer}"):
                parse(message)
        with pytest.raises(BadMessage, match="untrusted content of type json"):
            control.parse_request(control.build_request(request), speech)
        with pytest.raises(BadMessage, match="untrusted content of type json"):
            control.parse_request(Message(b'{"method": "stats"}'), speech)


def test_celery_31_names_no_pattern():
    message = Message(b'{"method": "stats", "arguments": {}, "destination": null}', headers={"clock": None})
    assert control.parse_request(message) == Request("stats")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (5, ""),
        ({}, "method"),
        ({"method": ""}, "method"),
        ({"method": "m", "arguments": [1]}, "arguments"),
        ({"method": "m", "arguments": {1: 2}}, "arguments"),
        ({"method": "m", "destination": 5}, "destination"),
        ({"method": "m", "destination": [5]}, "destination"),
        ({"method": "m", "pattern": 5}, "pattern"),
        ({"method": "m", "matcher": []}, "matcher"),
        ({"method": "m", "ticket": 5}, "ticket"),
        ({"method": "m", "reply_to": "q"}, "reply_to"),
        ({"method": "m", "reply_to": {"exchange": "e"}}, "reply_to"),
    ],
)
def test_bad_requests(body, field):
    with pytest.raises(BadMessage) as caught:
        control.read_request(body, {})
    assert caught.value.field == field


@pytest.mark.parametrize("clock", ["5", 2**70, [1]])
def test_bad_clock(clock):
    with pytest.raises(BadMessage) as caught:
        control.read_request({"method": "m"}, {"clock": clock})
    assert caught.value.field == "clock"


def test_expires_is_not_looked_at():
    assert control.read_request({"method": "m"}, {"expires": "soon"}).expires == 0
    assert control.read_request({"method": "m"}, {"expires": True}).expires == 0


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request("m"), True),
        (Request("m", destination=("w1@h", "w2@h")), True),
        (Request("m", destination=("w2@h",)), False),
        (Request("m", destination=()), True),
        (Request("m", destination=("w2@h",), pattern="*", matcher="glob"), False),
        (Request("m", pattern="w1*", matcher="glob"), True),
        (Request("m", pattern="w2*", matcher="glob"), False),
        (Request("m", pattern="w[12]@", matcher="pcre"), True),
        (Request("m", pattern="w2*"), True),
        (Request("m", matcher="glob"), True),
    ],
)
def test_addressed_to(request_, expected):
    assert request_.addressed_to("w1@h") is expected


def test_one_destination_as_a_text():
    assert control.read_request({"method": "m", "destination": "w1@h"}, {}).destination == ("w1@h",)


def test_hostile_pattern_is_bad():
    with pytest.raises(BadMessage):
        Request("m", pattern="(a+)+$", matcher="pcre").addressed_to("w1@h")


def test_reply_on_the_wire():
    message = control.build_reply(Reply("w1@h", {"ok": "pong"}, "t", 10))
    assert message == Message(
        b'{"w1@h": {"ok": "pong"}}',
        "application/json",
        "utf-8",
        {"ticket": "t", "clock": 10},
        {"delivery_mode": 1, "priority": 0},
    )


@given(st.text(max_size=5), json_values, texts, st.integers(0, 2**60))
def test_reply_round_trip(node, value, ticket, clock):
    reply = Reply(node, value, ticket, clock)
    assert control.parse_reply(control.build_reply(reply)) == reply


@pytest.mark.parametrize(
    ("body", "headers", "field"),
    [
        ([], {}, ""),
        ({}, {}, ""),
        ({"a": 1, "b": 2}, {}, ""),
        ({5: 1}, {}, "node"),
        ({"a": 1}, {"ticket": 5}, "ticket"),
        ({"a": 1}, {"clock": "x"}, "clock"),
    ],
)
def test_bad_replies(body, headers, field):
    with pytest.raises(BadMessage) as caught:
        control.read_reply(body, headers)
    assert caught.value.field == field


@given(st.binary(max_size=50))
def test_any_bytes_are_a_message_or_bad(data):
    for parse in (control.parse_request, control.parse_reply):
        with suppress(BadMessage):
            parse(Message(data))


@given(json_values, st.dictionaries(st.sampled_from(["clock", "ticket", "expires"]), json_values))
def test_any_value_is_a_message_or_bad(value, headers):
    for read in (control.read_request, control.read_reply):
        for body in (value, {"method": "m", "arguments": value, "destination": value, "reply_to": value}):
            with suppress(BadMessage):
                read(body, headers)
    with suppress(BadMessage):
        control.read_hello(value)


def test_merge():
    assert control.merge([Reply("a", 1), Reply("b", 2), Reply("a", 3)]) == {"a": 3, "b": 2}


def test_names():
    assert control.request_queue("w1@h") == "w1@h.celery.pidbox"
    assert control.reply_queue("oid") == "oid.reply.celery.pidbox"
    assert control.oid(1, 2, 3, 255) == "0802e8c2-092f-30d3-8c2b-196895cb719f"


def test_mingle():
    assert control.hello("w1", ["a"]) == {"from_node": "w1", "revoked": ["a"]}
    assert control.read_hello(control.hello_reply(Hello(("a", "b"), 4))) == Hello(("a", "b"), 4)
    assert control.read_hello({"revoked": {"a": 1.0, "b": 2.0}, "clock": None}) == Hello(("a", "b"))
    assert control.read_hello({"revoked": ["a", 5]}) == Hello(("a",))
    assert control.read_hello({}) == Hello()
    assert control.read_hello(None) is None
    for bad in (5, {"revoked": "abc"}, {"clock": "x"}):
        with pytest.raises(BadMessage, match=r"hello|clock"):
            control.read_hello(bad)

"""The inbox: what a broker says, however the stream is split, and whatever is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire.amqp import frames
from celeriac.protocol.wire.amqp.frames import BODY, HEADER, HEARTBEAT_FRAME, METHOD, write_call, write_frame
from celeriac.protocol.wire.amqp.inbox import (
    _PLACES,
    Called,
    Confirmed,
    Delivery,
    Event,
    Got,
    Heartbeat,
    Inbox,
    Returned,
)
from celeriac.protocol.wire.amqp.methods import METHODS
from celeriac.protocol.wire.amqp.properties import write_content_header, write_properties
from tests.protocol.wire.amqp.strategies import damaged, names

channels = st.integers(1, 3)
tags = st.integers(0, (1 << 64) - 1)
FRAME_MAX = 80

WITH_CONTENT = {
    Delivery: ("basic.deliver", ("consumer_tag", "delivery_tag", "redelivered", "exchange", "routing_key")),
    Got: ("basic.get-ok", ("delivery_tag", "redelivered", "exchange", "routing_key", "message_count")),
    Returned: ("basic.return", ("reply_code", "reply_text", "exchange", "routing_key")),
}
contents = {
    "properties": st.fixed_dictionaries(
        {},
        optional={
            "content_type": st.just("text/plain"),
            "priority": st.integers(0, 9),
            "reply_to": st.uuids().map(str),
        },
    ).map(write_properties),
    "body": st.binary(max_size=150),
    "body_size": st.just(0),
}
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Delivery, channels, names, tags, st.booleans(), names, names, **contents),
    st.builds(Got, channels, tags, st.booleans(), names, names, st.integers(0, 0xFFFFFFFF), **contents),
    st.builds(Returned, channels, st.integers(0, 0xFFFF), names, names, names, **contents),
    st.builds(Confirmed, channels, tags, st.booleans(), st.booleans()),
    st.builds(Heartbeat, st.just(0)),
    st.builds(
        Called,
        channels,
        st.just("queue.declare-ok"),
        st.fixed_dictionaries({"queue": names, "message_count": st.just(3), "consumer_count": st.just(0)}),
    ),
).map(lambda event: event._replace(body_size=len(event.body)) if hasattr(event, "body") else event)


def wire(event: Any) -> list[bytes]:
    """The frames in which a broker says it."""
    if isinstance(event, Heartbeat):
        return [HEARTBEAT_FRAME]
    if isinstance(event, Confirmed):
        name = "basic.ack" if event.accepted else "basic.nack"
        return [write_call(event.channel, name, {"delivery_tag": event.delivery_tag, "multiple": event.multiple})]
    if isinstance(event, Called):
        return [write_call(event.channel, event.name, event.args)]
    name, fields = WITH_CONTENT[type(event)]
    call = write_call(event.channel, name, {field: getattr(event, field) for field in fields})
    whole = frames.write_publish(call, event.channel, event.properties, event.body, FRAME_MAX)
    return [write_frame(*frame) for frame in frames.FrameReader(1 << 16).feed(whole)]


@settings(max_examples=40)
@given(st.lists(events, max_size=4))
def test_a_stream_split_at_every_byte_gives_the_same_events(said: list[Event]) -> None:
    stream = b"".join(frame for event in said for frame in wire(event))
    assert Inbox().feed(stream) == said
    for at in range(0, len(stream) + 1, 1 + len(stream) // 100):
        inbox = Inbox()
        assert inbox.feed(stream[:at]) + inbox.feed(stream[at:]) == said
    inbox = Inbox()
    assert [event for byte in stream for event in inbox.feed(bytes((byte,)))] == said


@settings(max_examples=100)
@given(
    damaged(
        st.lists(events, min_size=1, max_size=3).map(
            lambda said: b"".join(frame for event in said for frame in wire(event))
        )
    )
)
def test_a_damaged_stream_gives_events_or_bad_message(stream: bytes) -> None:
    def run(pieces: list[bytes]) -> tuple[list[Event], str]:
        inbox, found = Inbox(1 << 16), []
        try:
            for piece in [*pieces, b"", b""]:
                found += inbox.feed(piece)
        except BadMessage as why:
            with pytest.raises(BadMessage):
                inbox.feed(HEARTBEAT_FRAME)
            return found, why.what
        return found, ""

    assert repr(run([stream])) == repr(run([bytes((byte,)) for byte in stream]))  # repr: NaN


class Conversation(RuleBasedStateMachine):
    """Channels interleave frame by frame, as a broker may send them; each event comes with its last frame."""

    @initialize()
    def start(self) -> None:
        self.inbox = Inbox()
        self.sending: dict[int, tuple[Event, list[bytes]]] = {}

    @rule(event=events)
    def begin(self, event: Event) -> None:
        if event.channel not in self.sending:
            self.sending[event.channel] = (event, wire(event))

    @precondition(lambda self: self.sending)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        channel = data.draw(st.sampled_from(sorted(self.sending)))
        event, left = self.sending[channel]
        got = self.inbox.feed(left.pop(0))
        if left:
            assert got == []
        else:
            assert got == [event]
            del self.sending[channel]


Conversation.TestCase.settings = settings(max_examples=30, stateful_step_count=20)
TestConversation = Conversation.TestCase


def delivery(body: bytes, packed: bytes = b"\x00\x00", frame_max: int = 4096) -> bytes:
    call = write_call(1, "basic.deliver", {"consumer_tag": "c", "delivery_tag": 1, "routing_key": "q"})
    return frames.write_publish(call, 1, packed, body, frame_max)


def test_a_body_beyond_the_limit_is_swallowed_and_can_be_rejected() -> None:
    inbox = Inbox(4096, body_max=10000)
    (fits,) = inbox.feed(delivery(bytes(10000)))
    assert isinstance(fits, Delivery)
    assert (fits.body, fits.body_size) == (bytes(10000), 10000)
    stream = delivery(bytes(10001))
    for at in range(0, len(stream) - 1000, 1000):
        assert inbox.feed(stream[at : at + 1000]) == []
    assert all(content.pieces == [] for content in inbox._contents.values())
    (large,) = inbox.feed(stream[len(stream) // 1000 * 1000 :])
    assert isinstance(large, Delivery)
    assert (large.body, large.body_size, large.delivery_tag) == (None, 10001, 1)


def test_a_size_that_is_only_said_takes_no_memory() -> None:
    inbox = Inbox(4096)
    call = write_call(1, "basic.deliver", {"consumer_tag": "c"})
    header = write_frame(HEADER, 1, write_content_header(b"\x00\x00", (1 << 64) - 1))
    assert inbox.feed(call + header + write_frame(BODY, 1, b"x") + write_frame(BODY, 1, b"") * 1000) == []
    assert inbox._contents[1].pieces == []


def test_empty_frames_of_a_body_are_nothing() -> None:
    call = write_call(1, "basic.deliver", {"consumer_tag": "c"})
    header = write_frame(HEADER, 1, write_content_header(b"\x00\x00", 2))
    pieces = [write_frame(BODY, 1, piece) for piece in (b"", b"a", b"", b"b")]
    (event,) = Inbox().feed(b"".join([call, header, *pieces]))
    assert isinstance(event, Delivery)
    assert event.body == b"ab"


def test_bad_properties_stay_with_their_message() -> None:
    first, second = Inbox().feed(delivery(b"x", b"\xff\xff\xff") + delivery(b"y"))
    assert isinstance(first, Delivery)
    assert isinstance(second, Delivery)
    assert (first.properties, first.body, second.body) == (b"\xff\xff\xff", b"x", b"y")


def test_a_routing_key_that_is_not_utf8_costs_nothing() -> None:
    stream = delivery(b"x").replace(b"\x01q", b"\x01\xff").replace(b"\x01c", b"\x01\xfe")
    (event,) = Inbox().feed(stream)
    assert isinstance(event, Delivery)
    assert (event.consumer_tag, event.routing_key) == ("\\xfe", "\\xff")


CALL = write_call(1, "basic.deliver", {"consumer_tag": "c"})
EMPTY_HEADER = write_frame(HEADER, 1, write_content_header(b"\x00\x00", 0))
HEADER_OF_TWO = write_frame(HEADER, 1, write_content_header(b"\x00\x00", 2))


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (HEADER_OF_TWO, "channel 1: a content header without its method"),
        (CALL + HEADER_OF_TWO + HEADER_OF_TWO, "a content header without its method"),
        (write_frame(BODY, 1, b"x"), "channel 1: a body without its header"),
        (CALL + write_frame(BODY, 1, b"x"), "a body without its header"),
        (CALL + CALL, "a method while a content was to come"),
        (CALL + HEADER_OF_TWO + CALL, "a method while a content was to come"),
        (CALL + HEADER_OF_TWO + write_frame(BODY, 1, b"xyz"), "a body longer than the 2 bytes it said"),
        (CALL + write_frame(HEADER, 1, b"\x00\x3c"), "content header: 14 bytes at least"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x63"), "AMQP method: unknown"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x50\x00"), "basic.ack: ends inside"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x3c") + EMPTY_HEADER, "ends inside a field"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x3c\x05c") + EMPTY_HEADER, "ends inside a field"),
        (CALL.replace(b"\x00\x00\xce", b"\x00\x01\xce") + EMPTY_HEADER, "has 2 bytes, its fields take 3"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x47" + bytes(9)) + EMPTY_HEADER, "ends inside a field"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x47" + bytes(16)) + EMPTY_HEADER, "has 20 bytes, its fields take 19"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x32\x00") + EMPTY_HEADER, "ends inside a field"),
        (write_frame(METHOD, 1, b"\x00\x3c\x00\x32" + bytes(6)) + EMPTY_HEADER, "has 10 bytes, its fields take 9"),
    ],
)
def test_what_is_wrong_with_the_stream_ends_it(stream: bytes, why: str) -> None:
    inbox = Inbox()
    for data in (stream, HEARTBEAT_FRAME, b""):
        with pytest.raises(BadMessage, match=why):
            inbox.feed(data)


def test_what_came_before_the_damage_is_given_first() -> None:
    inbox = Inbox()
    stream = HEARTBEAT_FRAME + HEADER_OF_TWO + HEARTBEAT_FRAME
    assert inbox.feed(stream) == [Heartbeat(0)]
    with pytest.raises(BadMessage, match="without its method"):
        inbox.feed(b"")


def test_the_agreed_frame_size_holds() -> None:
    inbox = Inbox(4096)
    assert inbox.frame_max == 4096
    inbox.frame_max = 8192
    assert len(inbox.feed(delivery(bytes(8000), frame_max=8192))) == 1
    with pytest.raises(BadMessage, match="8192 were agreed on"):
        inbox.feed(delivery(bytes(9000), frame_max=10000))


def test_places_are_remembered_and_few() -> None:
    inbox = Inbox()
    for number in range(_PLACES + 5):
        call = write_call(1, "basic.deliver", {"exchange": "e", "routing_key": f"k{number}"})
        (event,) = inbox.feed(call + EMPTY_HEADER)
        assert isinstance(event, Delivery)
        assert (event.exchange, event.routing_key) == ("e", f"k{number}")
    assert len(inbox._places) == 5


def test_every_method_without_content_is_called() -> None:
    plain = [method.name for method in METHODS if method.name not in {"basic.deliver", "basic.get-ok", "basic.return"}]
    inbox = Inbox()
    for name in plain:
        (event,) = inbox.feed(write_call(7, name, {}))
        if name in {"basic.ack", "basic.nack"}:
            assert event == Confirmed(7, 0, multiple=False, accepted=name == "basic.ack")
        else:
            assert isinstance(event, Called)
            assert (event.channel, event.name) == (7, name)


def test_it_is_known_whether_the_next_byte_begins_a_frame() -> None:
    inbox = Inbox()
    assert inbox.between_frames
    inbox.feed(HEARTBEAT_FRAME[:3])
    assert not inbox.between_frames
    inbox.feed(HEARTBEAT_FRAME[3:])
    assert inbox.between_frames
    with pytest.raises(BadMessage):
        inbox.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert not inbox.between_frames

"""Frames: cut out of a stream split anywhere, bounded, and written as py-amqp writes them."""

from __future__ import annotations

import struct
from typing import Any
from unittest.mock import Mock

import pytest
from amqp import spec
from amqp.basic_message import Message as AmqpMessage
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.amqp import frames
from celeriac.protocol.wire.amqp.frames import BODY, HEADER, HEARTBEAT, METHOD, FrameReader
from celeriac.protocol.wire.amqp.properties import write_properties
from tests.protocol.wire.amqp.strategies import damaged, names, properties

frame_lists = st.lists(
    st.tuples(st.sampled_from([METHOD, HEADER, BODY, HEARTBEAT]), st.integers(0, 0xFFFF), st.binary(max_size=30)),
    max_size=6,
)


@settings(max_examples=40)
@given(frame_lists)
def test_a_stream_split_at_every_byte_gives_the_same_frames(sent: list[tuple[int, int, bytes]]) -> None:
    stream = b"".join(frames.write_frame(*frame) for frame in sent)
    assert FrameReader().feed(stream) == sent
    for at in range(len(stream) + 1):
        reader = FrameReader()
        assert reader.feed(stream[:at]) + reader.feed(stream[at:]) == sent
    reader = FrameReader()
    assert [frame for byte in stream for frame in reader.feed(bytes((byte,)))] == sent
    assert reader.feed(b"") == []


@settings(max_examples=60)
@given(
    damaged(frame_lists.map(lambda sent: b"".join(frames.write_frame(*frame) for frame in sent))), st.integers(0, 200)
)
def test_a_damaged_stream_gives_the_same_however_it_is_split(stream: bytes, at: int) -> None:
    def run(pieces: list[bytes]) -> tuple[list[Any], str]:
        reader, found = FrameReader(4096), []
        try:
            for piece in [*pieces, b"", b""]:
                found += reader.feed(piece)
        except BadMessage:
            return found, str(reader.damage)[:26]
        return found, ""

    assert run([stream]) == run([stream[:at], stream[at:]]) == run([bytes((byte,)) for byte in stream])


def test_what_came_before_the_damage_is_given_first() -> None:
    reader = FrameReader()
    assert reader.feed(frames.HEARTBEAT_FRAME + b"\x09" * 8) == [(HEARTBEAT, 0, b"")]
    for data in (b"", frames.HEARTBEAT_FRAME):
        with pytest.raises(BadMessage, match="unknown frame type 9"):
            reader.feed(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x04" + bytes(6), "unknown frame type 4"),
        (b"\x01\x00\x00\x00\x00\x00\x01VX", "ends with 0x58, expected 0xce"),
        (b"\x01\x00\x00\x00\x00\x0f\xf9", "a frame of 4097 bytes, 4096 were agreed on"),
        (b"\x01\x00\x00\xff\xff\xff\xff", "a frame of 4294967303 bytes"),
        (b"AMQP\x00\x00\x08\x00", "another version of AMQP: 00.00.08.00"),
    ],
)
def test_what_is_not_amqp(data: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        FrameReader(4096).feed(data)


def test_the_largest_frame_is_read_and_the_limit_can_be_changed() -> None:
    reader = FrameReader(4096)
    largest = frames.write_frame(BODY, 1, bytes(4096 - frames.OVERHEAD))
    assert len(largest) == 4096
    assert reader.feed(largest) == [(BODY, 1, bytes(4088))]
    reader.frame_max = 4095
    with pytest.raises(BadMessage, match="4096 bytes, 4095 were agreed"):
        reader.feed(largest)


# -- writing --


def py_amqp(frame_max: int, method: tuple[int, int], args: bytes, message: AmqpMessage | None) -> bytes:
    written: list[bytes] = []
    transport = Mock()
    transport.write = lambda data: written.append(bytes(data))
    frame_writer(Mock(frame_max=frame_max, bytes_sent=0), transport)(1, 1, method, args, message)
    return b"".join(written)


@settings(max_examples=60)
@given(names, names, st.booleans(), properties, st.binary(max_size=200), st.integers(0, 12000))
def test_a_publish_is_py_amqps_publish(
    exchange: str, routing_key: str, mandatory: bool, given_: dict[str, Any], body: bytes, zeros: int
) -> None:
    body += bytes(zeros)
    call = frames.publish_call(1, exchange, routing_key, mandatory=mandatory)
    args = {"exchange": exchange, "routing_key": routing_key, "mandatory": mandatory}
    assert call == frames.write_call(1, "basic.publish", args)
    theirs = py_amqp(
        4096,
        spec.Basic.Publish,
        dumps("Bssbb", (0, exchange, routing_key, mandatory, False)),
        AmqpMessage(body, **given_),
    )
    assert frames.write_publish(call, 1, write_properties(given_), body, 4096) == theirs


@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 8176, 8177])
def test_a_body_is_cut_to_the_agreed_size(size: int) -> None:
    body = bytes(range(256)) * 40
    written = frames.write_publish(frames.publish_call(1, "", "q"), 1, b"\x00\x00", body[:size], 4096)
    sent = FrameReader(4096).feed(written)
    assert [kind for kind, _, _ in sent] == [METHOD, HEADER] + [BODY] * -(-size // 4088)
    assert b"".join(payload for _, _, payload in sent[2:]) == body[:size]


def test_headers_larger_than_a_frame_are_the_callers_mistake() -> None:
    packed = write_properties({"application_headers": {"big": "x" * 4096}})
    with pytest.raises(BadCall, match="a frame holds 4088"):
        frames.write_publish(frames.publish_call(1, "", "q"), 1, packed, b"", 4096)


@given(st.integers(0, 0xFFFF), st.integers(0, (1 << 64) - 1), st.booleans(), st.booleans(), names)
def test_the_fast_paths_are_the_table(channel: int, tag: int, one: bool, two: bool, queue: str) -> None:
    for fast, name, args in (
        (frames.write_ack(channel, tag, multiple=one), "basic.ack", {"multiple": one}),
        (frames.write_reject(channel, tag, requeue=one), "basic.reject", {"requeue": one}),
        (frames.write_nack(channel, tag, multiple=one, requeue=two), "basic.nack", {"multiple": one, "requeue": two}),
    ):
        assert fast == frames.write_call(channel, name, {"delivery_tag": tag, **args})
    fetch = frames.write_get(channel, queue, no_ack=one)
    assert fetch == frames.write_call(channel, "basic.get", {"queue": queue, "no_ack": one})


@pytest.mark.parametrize("tag", [-1, 1 << 64, "1", None])
def test_a_delivery_tag_that_is_none_is_the_callers_mistake(tag: Any) -> None:
    with pytest.raises(BadCall, match="delivery tag"):
        frames.write_ack(1, tag)


def test_heartbeat() -> None:
    assert frames.write_frame(HEARTBEAT, 0, b"") == frames.HEARTBEAT_FRAME == struct.pack(">BHI", 8, 0, 0) + b"\xce"

"""Captured contents with bytes changed: a value or BadMessage, nothing else, and both readers say the same."""

from __future__ import annotations

import base64
import random

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire.amqp import frames
from celeriac.protocol.wire.amqp.contents import read_message
from celeriac.protocol.wire.amqp.headers import HeaderReader
from celeriac.protocol.wire.amqp.inbox import Delivery, Inbox
from celeriac.protocol.wire.amqp.properties import read_content_header
from tests.protocol.vectors import index, vector

CALL = frames.write_call(1, "basic.deliver", {"consumer_tag": "None1", "routing_key": "celery", "delivery_tag": 1})


def captured() -> list[bytes]:
    """Deliveries with the contents that were seen on the wire."""
    found = []
    for case in index():
        if case.startswith("amqp/"):
            for _, frame in vector(case).frames():
                raw = base64.b64decode((frame.get("content") or {}).get("header_frame_b64", ""))
                if raw:
                    _, packed = read_content_header(raw)
                    found.append(frames.write_publish(CALL, 1, packed, b"[[], {}, {}]"))
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(changed))
        match chance.randrange(4):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                del changed[at : at + chance.randint(1, 9)]
            case 3:
                changed[at:at] = chance.randbytes(chance.randint(1, 9))
    return bytes(changed)


def outcome(packed: bytes, reader: HeaderReader | None) -> str:
    try:
        message = read_message(packed, b"", reader.read) if reader else read_message(packed, b"")
    except BadMessage as why:
        return str(why)
    return repr(message)


@pytest.mark.fuzz
def test_mutations_of_captured_deliveries(mutations: int) -> None:
    chance = random.Random(mutations)
    deliveries = captured()
    assert len(deliveries) > 100
    learned = HeaderReader()
    alive = damaged = 0
    for _ in range(mutations):
        try:
            events = Inbox().feed(mutated(chance.choice(deliveries), chance) + frames.HEARTBEAT_FRAME)
        except BadMessage:
            damaged += 1
            continue
        for event in events:
            if isinstance(event, Delivery):
                alive += 1
                assert outcome(event.properties, learned) == outcome(event.properties, None)
    assert alive
    assert damaged

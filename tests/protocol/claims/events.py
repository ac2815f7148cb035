"""Events in the captures, whichever way they travelled: in envelopes of Redis and in AMQP frames."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from celeriac.protocol.wire import event
from celeriac.protocol.wire.event import Event
from celeriac.protocol.wire.message import Message
from tests.protocol.vectors import Tally, Vector, claim


def messages(vector: Vector, mark: bytes) -> Iterator[tuple[Message, str, str]]:
    """Messages whose exchange begins with the mark, with exchange and routing key."""
    for data in _envelopes(vector):
        if mark not in data:
            continue
        envelope = json.loads(data)
        properties = dict(envelope.get("properties", {}))
        info = properties.pop("delivery_info", {})
        properties.pop("delivery_tag", None)
        body = envelope["body"].encode()
        if properties.pop("body_encoding", None) == "base64":
            body = base64.b64decode(body)
        if str(info.get("exchange")).encode().startswith(mark):
            kinds = envelope.get("content-type"), envelope.get("content-encoding")
            yield Message(body, *kinds, envelope["headers"], properties), info["exchange"], info["routing_key"]
    for _, frame in vector.frames():
        content, args = frame.get("content"), frame["args"]
        if content and str(args.get("exchange")).encode().startswith(mark):
            properties = dict(content["properties"])
            kinds = properties.pop("content_type", None), properties.pop("content_encoding", None)
            headers = properties.pop("headers", {})
            body = base64.b64decode(content["body_b64"])
            yield Message(body, *kinds, headers, properties), args["exchange"], args["routing_key"]


def _envelopes(vector: Vector) -> Iterator[bytes]:
    for blob in vector.blobs():
        if blob.data.startswith(b'{"body"'):
            yield blob.data
    for command in vector.commands():
        yield from (arg for arg in command.args[1:] if arg.startswith(b'{"body"'))


def _fields(one: Event) -> dict[str, Any]:
    return {
        "hostname": one.hostname,
        "utcoffset": one.utcoffset,
        "pid": one.pid,
        "clock": one.clock,
        "timestamp": one.timestamp,
    }


def _shuffled(one: Event) -> dict[str, Any]:
    """The fields out of order, where the order is known: building must restore it."""
    names = sorted(one.fields) if one.type in event.FIELDS else one.fields
    return {name: one.fields[name] for name in names}


@claim("*")
def events(vector: Vector, tally: Tally) -> None:
    for message, _, key in messages(vector, b"celeryev"):
        found = event.parse(message.body)
        assert message.headers["hostname"] == found[0].hostname
        documents = [event.document(one.type, _shuffled(one), **_fields(one)) for one in found]
        if message.body.startswith(b"["):
            body = event.build_batch(documents)
            assert key == event.batch_key(found[0].group)
            assert len(found) <= event.BATCH
        else:
            (one,) = found
            if "priority" not in message.properties:  # Celery 3.1 has an order of its own
                tally.saw("event of Celery 3.1")
                continue
            body = event.build(one.type, _shuffled(one), **_fields(one))
            assert key == event.routing_key(one.type)
        assert event.message(body, found[0].hostname) == _in_order(message)
        for one in found:
            assert set(one.fields) <= set(event.FIELDS.get(one.type, one.fields))
            tally.saw(f"event {one.type}" if one.type in event.FIELDS else "event of the user", rebuilt=True)


def _in_order(message: Message) -> Message:
    assert list(message.properties) == ["delivery_mode", "priority"]
    return message

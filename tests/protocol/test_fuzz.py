"""Whatever bytes arrive, a parser gives a value or `BadMessage` with a reason; and it is done in a moment.

Every parser of the wire stands in `PARSERS`, and gets every mutated message, of whatever kind it once was: a sender
does not keep to the queue that its message was meant for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import (
    children,
    chord_keys,
    compression,
    control,
    envelope,
    event,
    failure,
    json,
    message_reading,
    redis_bindings,
    resp,
    result,
    rows,
    rpc,
    serializers,
)
from celeriac.protocol.wire.amqp import contents, delayed, frames, inbox, methods, properties, table
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.stored import Codec
from tests.protocol.mutation import corpus, mutate

SAFE = serializers.accepted(["json", "msgpack", "yaml"])
READER = message_reading.Reader(accept=SAFE)
SLOW = 10.0
"""Seconds for one message in one parser on a busy machine; what is linear needs a hundredth of it."""


def message_of(data: bytes) -> Message:
    """What Redis brings, or the bytes as the body of a message that AMQP brings."""
    try:
        return envelope.parse(data).message
    except BadMessage:
        return Message(data, "application/json", "utf-8", {"task": "t", "id": "i"}, {})


def decode_as(content_type: str) -> Callable[[bytes], Any]:
    return lambda data: serializers.decode(data, content_type, "utf-8", SAFE)


def on_json(read: Callable[[Any], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(json.loads(data))


PARSERS: dict[str, Callable[[bytes], Any]] = {
    "envelope": envelope.parse,
    "envelope, put back": envelope.redelivered,
    "task": lambda data: message_reading.read_task(message_of(data), READER),
    "task, protocol 1": lambda data: message_reading.read_task(Message(data, "application/json", "utf-8"), READER),
    "json": json.loads,
    "msgpack": decode_as("application/x-msgpack"),
    "yaml": decode_as("application/x-yaml"),
    "text": decode_as("application/data"),
    **{f"compression {name}": (lambda data, mime=mime: compression.decompress(data, mime, 2**24)) for name, mime in (
        ("zlib", "application/x-gzip"), ("bz2", "application/x-bz2"), ("lzma", "application/x-lzma"))},
    "result": result.parse,
    "result in msgpack": lambda data: result.parse(data, Codec("msgpack", SAFE)),
    "group result": result.parse_group,
    "result row": lambda data: rows.parse({"task_id": "i", "status": "SUCCESS", "result": data, "children": data}),
    "rpc result": lambda data: rpc.parse(message_of(data)),
    "children": on_json(children.parse),
    "failure": on_json(failure.parse),
    "chord member": chord_keys.parse_member,
    "event": event.parse,
    "control request": lambda data: control.parse_request(message_of(data)),
    "control reply": lambda data: control.parse_reply(message_of(data)),
    "hello": on_json(control.read_hello),
    "binding": lambda data: redis_bindings.parse_member(data, "\x06\x16"),
    "resp": lambda data: resp.Parser().feed(data),
    "amqp frames": lambda data: frames.FrameReader().feed(data),
    "amqp inbox": lambda data: inbox.Inbox().feed(data),
    "amqp method": methods.read_method,
    "amqp table": table.read_table,
    "amqp properties": properties.read_properties,
    "amqp content header": properties.read_content_header,
    "amqp message": lambda data: contents.read_message(data, data),
    "delayed routing key": lambda data: delayed.parse_delayed_routing_key(data.decode("latin-1")),
}  # fmt: skip


def feed(name: str, data: bytes) -> bool:
    """True when the parser made a value of it. Fails on any error but BadMessage, and on one without a reason."""
    started = time.perf_counter()
    try:
        PARSERS[name](data)
    except BadMessage as bad:
        if not 0 < len(bad.why) < 2000:
            pytest.fail(f"{name}: a reason of {len(bad.why)} characters for {data[:200]!r}")
        return False
    except BaseException as problem:
        pytest.fail(f"{name}: {type(problem).__name__}: {problem} from {data[:2000]!r}")
    finally:
        taken = time.perf_counter() - started
        assert taken < SLOW, f"{name}: {taken:.1f} s for {len(data)} bytes: {data[:200]!r}"
    return True


@pytest.mark.fuzz
def test_mutated_messages_give_a_value_or_a_reason(mutations: int) -> None:
    maker = Random(20261121)
    values = dict.fromkeys(PARSERS, 0)
    for _ in range(mutations):
        data = mutate(maker)
        for name in PARSERS:
            values[name] += feed(name, data)
    assert values["envelope"] > mutations // 50, "the mutations no longer resemble messages"
    assert values["task"] > mutations // 100, "the mutations no longer resemble tasks"


@pytest.mark.parametrize("name", PARSERS)
def test_every_captured_piece_in_every_parser(name: str) -> None:
    for data in corpus():
        feed(name, data)


HOSTILE = {
    "deep lists": b"[" * 100_000,
    "deep lists, closed": b"[" * 10_000 + b"]" * 10_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep in an envelope": b'{"headers":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "a huge integer": b"9" * 1_000_000,
    "a huge integer inside": b'{"status": "SUCCESS", "result": ' + b"9" * 100_000 + b', "task_id": "i"}',
    "nan": b'{"clock": NaN, "timestamp": Infinity, "type": "task-sent", "hostname": "h"}',
    "not utf-8": b"\xff\xfe\xfa",
    "lone surrogates": b'{"headers": {"task": "\\ud800", "id": "\\udfff"}, "body": "\\ud800", "properties": {}}',
    "yaml bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n".encode() for i in range(20)),
    "msgpack lengths": b"\xdd\xff\xff\xff\xff" * 10,
    "resp lengths": b"*999999999\r\n" * 100 + b"$99999999999\r\n",
    "resp depth": b"*1\r\n" * 100_000,
    "amqp table length": b"\xff\xff\xff\xff" + b"\x01aF" * 1000,
    "deep amqp tables": b"".join(b"\x00\x00\xff\xff\x01aF" for _ in range(9000)),
    "nothing": b"",
    "zeros": b"\x00" * 1000,
}  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_made_to_hurt(name: str, kind: str) -> None:
    feed(name, HOSTILE[kind])


BIG = 50 * 1024 * 1024


@pytest.mark.parametrize(
    "name", ["envelope", "task, protocol 1", "json", "result", "event", "resp", "amqp frames", "amqp table"]
)
@pytest.mark.parametrize("filler", [b"a", b"[", b'"', b"\x00", b"9"])
def test_fifty_megabytes_of_one_byte(name: str, filler: bytes) -> None:
    feed(name, filler * BIG)


def test_a_real_message_of_fifty_megabytes_is_read() -> None:
    body = b'[["' + b"x" * BIG + b'"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    carried = Message(body, "application/json", "utf-8", {"task": "t", "id": "i"}, {})
    data = envelope.build(carried, exchange="", routing_key="celery", delivery_tag="d")
    task = message_reading.read_task(envelope.parse(data).message)
    assert task.args is not None
    assert len(task.args[0]) == BIG

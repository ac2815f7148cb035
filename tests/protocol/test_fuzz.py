"""Whatever bytes arrive, a parser gives a value or `BadMessage` with a reason; and it is done in a moment.

Every parser of the wire stands in `PARSERS`, and gets every mutated message, of whatever kind it once was: a sender
does not keep to the queue that its message was meant for.
"""

from __future__ import annotations

import time
import zlib
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from random import Random
from typing import Any

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.rules import continuing
from celeriac.protocol.rules.calling import Parent
from celeriac.protocol.rules.canvas import group
from celeriac.protocol.rules.publishing import Facts, publish
from celeriac.protocol.rules.revokes import Revokes
from celeriac.protocol.rules.signature import GROUP, checked
from celeriac.protocol.wire import (
    children,
    chord_counter,
    chord_keys,
    commands,
    compression,
    control,
    dates,
    envelope,
    event,
    failure,
    json,
    message_reading,
    message_v1,
    redis,
    redis_bindings,
    redis_held,
    redis_owners,
    resp,
    result,
    rows,
    rpc,
    serializers,
    signing,
    stores,
)
from celeriac.protocol.wire.amqp import contents, delayed, frames, handshake, headers, inbox, methods, properties, table
from celeriac.protocol.wire.message import Message, Task
from celeriac.protocol.wire.stored import MAGIC, Codec
from tests.protocol.mutation import corpus, mutate, parts

SAFE = serializers.accepted(["json", "msgpack", "yaml"])
READER = message_reading.Reader(accept=SAFE)
SLOW = 10.0
"""Seconds for one message in one parser on a busy machine; what is linear needs a hundredth of it."""


def message_of(data: bytes) -> Message:
    """What Redis brings, or the bytes as the body of a message that AMQP brings."""
    found = Message(b"")
    with suppress(BadMessage):
        found = envelope.parse(data).message
    return found if found.body else Message(data, "application/json", "utf-8", {"task": "t", "id": "i"}, {})


def decode_as(content_type: str) -> Callable[[bytes], Any]:
    return lambda data: serializers.decode(data, content_type, "utf-8", SAFE)


def on_json(read: Callable[[Any], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(json.loads(data))


def task_of(data: bytes) -> Task:
    return message_reading.read_task(message_of(data), READER)


def there_and_back(data: bytes) -> Any:
    older, _lost = message_v1.to_v1(task_of(data))
    return message_v1.to_v2(older)


FACTS = Facts("reply", parent=Parent("p", "r"))


def followed(data: bytes) -> Any:
    """All that a worker would send and store once this task has ended, well or badly."""
    task = task_of(data)
    steps: list[Any] = [*continuing.lost_steps(task.chain)]
    here, away = continuing.divided_errbacks(task.errbacks, lambda sig: sig["immutable"])
    callbacks = [checked(callback) for callback in task.callbacks or ()]
    chain = None if task.chain is None else list(task.chain)
    is_group = lambda sig: sig["subtask_type"] == GROUP  # noqa: E731
    following = [sig for sig, _ in continuing.called_next(callbacks, chain, {}, is_group, group)]
    for sig in [*following, *here, *away, *([task.chord] if task.chord else ())]:
        steps += publish(checked(sig), (1,), ids=str, facts=FACTS)
    return steps


def closed(data: bytes) -> Any:
    """What a broker says of the connection."""
    name, args = methods.read_method(data)
    if name.endswith(".close"):
        return handshake.read_close(args)
    answer = {
        "connection.start": lambda: handshake.start_ok(args, "u", "p"),
        "connection.tune": lambda: handshake.tune_ok(args),
    }
    return answer.get(name, lambda: None)()


def revokes_of(value: Any) -> Any:
    """A state file, another node's words, and a command's."""
    revokes, stamps = Revokes(limit=10), value if isinstance(value, dict) else {"x": value}
    revokes.load(stamps, 1.0)
    revokes.merge(control.read_revoked(value), 2.0)
    revokes.revoke_stamps(stamps, 3.0)
    return revokes.revoking_stamp(stamps, 4.0), revokes.dump(5.0)


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
        ("zlib", "application/x-gzip"), ("bz2", "application/x-bz2"), ("lzma", "application/x-lzma"),
        ("brotli", "application/x-brotli"), ("zstd", "application/zstd"))},
    "result": result.parse,
    "result in msgpack": lambda data: result.parse(data, Codec("msgpack", SAFE)),
    "result, compressed": lambda data: result.parse(b"%bapplication/x-gzip\0%b" % (MAGIC, zlib.compress(data, 1))),
    "result's date": lambda data: result.parse(data).done_at(),
    "result in the place of another": stores.may_replace,
    "group result": result.parse_group,
    "result row": lambda data: rows.parse({"task_id": "i", "status": "SUCCESS", "result": data, "children": data}),
    "rpc result": lambda data: rpc.parse(message_of(data)),
    "children": on_json(children.parse),
    "failure": on_json(failure.parse),
    "chord member": chord_keys.parse_member,
    "chord member by number": chord_counter.parse_seat,
    "chord counter": chord_counter.number,
    "chord count": on_json(chord_keys.parse_count),
    "event": event.parse,
    "control request": lambda data: control.parse_request(message_of(data)),
    "control request's address": lambda data: control.parse_request(message_of(data)).addressed_to("celery@host"),
    "control command's arguments": lambda data: commands.COMMANDS["revoke"].complaint(
        control.parse_request(message_of(data)).arguments),
    "control reply": lambda data: control.parse_reply(message_of(data)),
    "hello": on_json(control.read_hello),
    "binding": lambda data: redis_bindings.parse_member(data, "\x06\x16"),
    "topic key": lambda data: redis_bindings.matches(data.decode("latin-1"), data.decode("latin-1")),
    "channel": lambda data: redis.exchange_of(redis.Layout(), data),
    "unacked entry": redis_held.parse_entry,
    "unacked entry around it": lambda data: redis_held.parse_entry(b"[" + data + b', "", "q"]'),
    "unacked, put back": redis_held.marked,
    "taken": on_json(lambda reply: redis_held.parse_taken(redis.Layout(), reply, ["q"])),
    "held by an owner": on_json(redis_owners.parse_held),
    "resp": lambda data: resp.Parser().feed(data),
    "amqp frames": lambda data: frames.FrameReader().feed(data),
    "amqp inbox": lambda data: inbox.Inbox().feed(data),
    "amqp method": methods.read_method,
    "amqp table": table.read_table,
    "amqp table, learned": headers.HeaderReader().read,
    "amqp connection": closed,
    "amqp properties": properties.read_properties,
    "amqp content header": properties.read_content_header,
    "amqp message": lambda data: contents.read_message(data, data),
    "delayed routing key": lambda data: delayed.parse_delayed_routing_key(data.decode("latin-1")),
    "signed": lambda data: signing.Verifier({}).verify(data, datetime(2026, 11, 21, tzinfo=timezone.utc)),
    "date": lambda data: dates.parse_iso(data.decode("latin-1")),
    "revokes": on_json(revokes_of),
    "signature": on_json(checked),
    "between the protocols": there_and_back,
    "what follows a task": followed,
}  # fmt: skip


UNHEARD = {
    "compression zstd": "no client that was captured had its library",
    "signed": "the signer of the captured message is unknown here; tests/protocol/wire/test_signing.py knows others",
    "held by an owner": "its replies are bytes, which JSON is not",
}
"""Parsers that make a value of no captured piece, and why."""


def feed(name: str, data: bytes) -> bool:
    """True when the parser made a value of it. Fails on any error but BadMessage, and on one without a reason."""
    started = time.process_time()  # not the clock on the wall: the machine has others to serve
    try:
        PARSERS[name](data)
    except BadMessage as bad:
        if not 0 < len(bad.why) < 2000:
            pytest.fail(f"{name}: a reason of {len(bad.why)} characters for {data[:200]!r}")
        return False
    except BaseException as problem:
        pytest.fail(f"{name}: {type(problem).__name__}: {problem} from {data[:2000]!r}")
    finally:
        taken = time.process_time() - started
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
    values = sum([feed(name, data) for data in corpus()])
    if name != "yaml":  # it reads every one of them as some text, slowly
        values += sum([feed(name, data) for data in parts()])
    assert values or name in UNHEARD, "nothing of this kind is captured: its mutations never get past the first bytes"


HOSTILE = {
    "deep lists": b"[" * 100_000,
    "deep lists, closed": b"[" * 10_000 + b"]" * 10_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep stamps of a link": b'{"headers": {"task": "t", "id": "i"}, "body": "' + b64encode(
        b'[[], {}, {"callbacks": [' + b", ".join(
            [b'{"task": "t", "options": {"stamped_headers": ["a"], "a": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}}"] * 2)
        + b"]}]") + b'", "properties": {"body_encoding": "base64"}}',
    "many equal links": b'{"headers": {"task": "t", "id": "i"}, "body": "' + b64encode(
        b'[[], {}, {"callbacks": [' + b", ".join([b'{"task": "t"}'] * 20_000) + b"]}]") +
        b'", "properties": {"body_encoding": "base64"}}',
    "a decimal priority": b'{"properties": {"priority": {"__type__": "decimal", "__value__": "1E+999999999"}}}',
    "absurd times": b'{"ids": [["a", -1' + b"0" * 400 + b'], ["b", 1e999]], "stamps": 5}',
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

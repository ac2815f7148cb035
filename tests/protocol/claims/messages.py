"""Every task message in every capture: read as plain JSON says, and what Celery 5.7 wrote is built again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.rules.calling import Call, Sender, compose
from celeriac.protocol.rules.routing import Queue
from celeriac.protocol.wire import envelope
from celeriac.protocol.wire.compression import decompress
from celeriac.protocol.wire.message import Message, Posting, Task, build
from celeriac.protocol.wire.message_reading import BUILT_IN, Reader, read_task
from celeriac.protocol.wire.serializers import accepted, decode
from tests.protocol.shell import Router, over_the_tasks
from tests.protocol.vectors import Tally, Vector, claim

ALL = Reader(accept=accepted(["json", "yaml", "msgpack", "pickle"]))
SERIALIZERS = {
    "application/json": "json",
    "application/x-yaml": "yaml",
    "application/x-msgpack": "msgpack",
    "application/x-python-serialize": "pickle",
}
V2 = list(build(Task("t", "i")).headers)
V1 = list(json.loads(build(Task("t", "i", protocol=1)).body))


def envelopes(vector: Vector) -> Iterator[bytes]:
    """Every JSON envelope that Redis held or was told to hold, as it was written."""
    seen = [blob.data for blob in vector.blobs()]
    seen += [arg for command in vector.commands() for arg in command.args]
    for data in seen:
        if b'"properties"' not in data:
            continue
        try:
            found = json.loads(data)
        except ValueError:
            continue
        if isinstance(found, list) and len(found) == 3:  # an entry of `unacked`
            found = found[0]
            data = json.dumps(found).encode()  # noqa: PLW2901 - the message within the entry
        if isinstance(found, dict) and "body" in found and isinstance(found.get("properties"), dict):
            yield data
    for _, value in vector.walk():
        if isinstance(value, dict) and "dir" in value and '{"body": ' in value.get("data", ""):
            start = value["data"].index('{"body": ')
            _, end = json.JSONDecoder().raw_decode(value["data"], start)
            yield value["data"][start:end].encode()


def amqp_messages(vector: Vector) -> Iterator[Message]:
    for _, frame in vector.frames():
        content = frame.get("content")
        if not content:
            continue
        properties = dict(content["properties"])
        headers = properties.pop("headers", None)
        kind, encoding = properties.pop("content_type", None), properties.pop("content_encoding", None)
        yield Message(base64.b64decode(content["body_b64"]), kind, encoding, headers, properties)


def plain(message: Message) -> Any:
    """The body as its serializer has it, read without any of the code that is looked at."""
    body = message.body
    if (message.headers or {}).get("compression"):
        body = decompress(body, message.headers["compression"])
    if message.content_type == "application/json":
        known = message.content_encoding not in (None, "base64")  # celery-ts says so of its AMQP text
        text = body.decode(message.content_encoding if known else "utf-8")
        if "__type__" not in text:
            return json.loads(text)
    return decode(body, message.content_type, message.content_encoding, ALL.accept)


def is_task(message: Message) -> bool:
    if "task" in (message.headers or {}):
        return True
    try:
        body = plain(message)
    except (ValueError, LookupError):
        return False
    return isinstance(body, dict) and "task" in body and "args" in body


def agree(message: Message) -> Task:
    """What was read is what the message says."""
    task = read_task(message, ALL)
    headers, body = message.headers or {}, plain(message)
    if "task" in headers:
        assert (task.name, task.id) == (headers["task"], headers["id"])
    else:
        assert (task.name, task.id) == (body["task"], body["id"])
    if isinstance(body, dict):
        assert (task.args, task.kwargs) == (body.get("args", ()), body.get("kwargs", {}))
        assert (task.callbacks, task.errbacks) == (body.get("callbacks"), body.get("errbacks"))
        assert task.chord == body.get("chord")
        return task
    assert (task.args, task.kwargs) == tuple(body[:2])
    embed = body[2] or {}
    for field in ("callbacks", "errbacks", "chain", "chord"):
        assert getattr(task, field) == embed.get(field)
    for field in BUILT_IN - {"task", "id", "compression", "root_id", "timelimit", "stamps", "retries"}:
        if headers.get(field) is not None:
            assert getattr(task, field) == headers[field], field
    assert list(task.timelimit) == list(headers.get("timelimit") or [None, None])
    assert task.retries == int(headers.get("retries") or 0)
    return task


def is_57(message: Message) -> bool:
    """Whether Celery 5.7 wrote it: no other version or client writes all of these fields in this order."""
    if "task" in (message.headers or {}):
        return list(message.headers)[: len(V2)] == V2
    return list(plain(message)) == V1


def posting_of(message: Message) -> Posting:
    properties = dict(message.properties)
    properties.pop("correlation_id")
    return Posting(
        reply_to=properties.pop("reply_to"),
        delivery_mode=properties.pop("delivery_mode"),
        priority=properties.pop("priority", None),
        expiration=properties.pop("expiration", None),
        extra=properties,
        serializer=SERIALIZERS[message.content_type or ""],
        compression=message.headers.get("compression"),
    )


def check(vector: Vector, tally: Tally, message: Message, kind: str) -> Message | None:
    """Read it, and build it again if it is of the kind that this project writes."""
    if not is_task(message):
        return None
    task = agree(message)
    kind = f"task v{task.protocol}, {kind}"
    if not is_57(message):
        tally.saw(kind)
        return None
    again = build(task, posting_of(message))
    assert (again.body, again.content_type, again.content_encoding) == (
        message.body,
        message.content_type,
        message.content_encoding,
    )
    assert json.dumps(again.headers) == json.dumps(message.headers)
    tally.saw(kind, rebuilt=True)
    return again


@claim("redis/msg/*", "redis/seq/*", "redis/canvas/*", "redis/chord/*", "beat/*", "client/*", "control/*", "event/*")
def redis_messages(vector: Vector, tally: Tally) -> None:
    for data in envelopes(vector):
        found = envelope.parse(data)
        again = check(vector, tally, found.message, "Redis")
        if again is None:
            continue
        tag = json.loads(data)["properties"]["delivery_tag"]
        built = envelope.build(again, exchange=found.exchange, routing_key=found.routing_key or "", delivery_tag=tag)
        assert (envelope.redelivered(built) if found.redelivered else built) == data


@claim("amqp/msg/*", "amqp/seq/*", "client/*", "result/*", "control/*")
def rabbit_messages(vector: Vector, tally: Tally) -> None:
    for message in amqp_messages(vector):
        again = check(vector, tally, message, "AMQP")
        if again is not None:
            assert again.properties == message.properties


# What is wrong with these lies in their envelope, which others answer for.
BROKEN_ENVELOPES = {
    f"redis/odd/{name}"
    for name in (
        *("body-not-base64", "empty-object", "json-list", "json-number", "not-json"),
        *("no-delivery-info", "no-delivery-tag", "no-properties"),
    )
}


def has_run(vector: Vector) -> bool:
    """Whether the stock worker's log says that it ran the task, successfully or not."""
    log = "\n".join(vector.capture["worker_log"])
    return "succeeded in" in log or "raised unexpected" in log


def judge(vector: Vector, tally: Tally, message: Message, kind: str) -> None:
    """What ran there is read here; what a stock worker dropped, or died of, is BadMessage."""
    try:
        task = read_task(message)
    except BadMessage as problem:
        task, reason = None, str(problem)
        tally.saw(f"odd task, {kind}", refused=True)
    else:
        reason = ""
        agree(message)
        tally.saw(f"odd task, {kind}")
    assert (task is not None) == has_run(vector), reason


@claim("redis/odd/*")
def odd_redis_messages(vector: Vector, tally: Tally) -> None:
    if vector.case not in BROKEN_ENVELOPES:
        judge(vector, tally, envelope.parse(base64.b64decode(vector.capture["pushed"]["b64"])).message, "Redis")


@claim("amqp/odd/*")
def odd_rabbit_messages(vector: Vector, tally: Tally) -> None:
    delivered = [frame for _, frame in vector.frames() if frame["method"] == "basic.deliver"]
    properties = dict(delivered[0]["content"]["properties"])
    kind, encoding = properties.pop("content_type", None), properties.pop("content_encoding", None)
    body = base64.b64decode(delivered[0]["content"]["body_b64"])
    message = Message(body, kind, encoding, properties.pop("headers", None), properties)
    judge(vector, tally, message, "AMQP")


@claim("amqp/msg/priority-presence")
def presence_of_the_priority(vector: Vector, tally: Tally) -> None:
    """The calls of the capture, composed: which of them say a priority."""
    router = Router([Queue("celery", "celery")], routes={"wire.noop": {"queue": "rq"}})
    for published in vector.capture["published"]:
        name, options, by_name = CALLS[published["call"]]
        expanded = router.expand(over_the_tasks({"priority": None}, options, by_name=by_name), name)
        call = Call(name, (1, 2), {}, expanded)
        sent = compose(call, Sender("o"), router.resolve(expanded), datetime.now(timezone.utc), new_id="1")
        assert sent.message.properties.get("priority", "ABSENT") == published["priority"]
        assert sent.routing_key == published["routing_key"]
        tally.saw("call")


CALLS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "T.add.delay(1, 2)": ("wire.add", {}, False),
    "T.noop.delay(1)": ("wire.noop", {}, False),
    "app.send_task('wire.add', (1, 2), queue='rq2')": ("wire.add", {"queue": "rq2"}, True),
    "T.mul.apply_async((1, 2), queue='rq3')": ("wire.mul", {"queue": "rq3"}, False),
    "T.mul.s(1, 2).set(queue='rq4').delay()": ("wire.mul", {"queue": "rq4"}, False),
    "T.mul.apply_async((1, 2), queue='rq5', priority=5)": ("wire.mul", {"queue": "rq5", "priority": 5}, False),
}

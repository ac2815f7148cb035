"""The Redis broker in the captures: every envelope read and built again, every command of kombu's made again.

Commands are taken connection by connection. A rule recognises a run of them, reads the parameters out of it, and
makes the run again through the layout's doors; what no rule recognises must concern something else than the broker.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import envelope, redis, redis_bindings, redis_held, resp
from celeriac.protocol.wire.redis import Layout
from tests.protocol.vectors import Blob, Tally, Vector, claim

LAYOUTS = {
    "redis/seq/global-keyprefix": {"global_keyprefix": "pfx:"},
    "redis/seq/fanout-prefix-off": {"fanout_prefix": False, "fanout_patterns": False},
    "redis/seq/transport-options-sep-steps": {"sep": ":", "priority_steps": [0, 5]},
    "redis/seq/sentinel": {"sentinel_fanout_compat": True},
    "client/celery31/*": {"fanout_prefix": False, "fanout_patterns": False},
}
# Hand-written messages that are no envelopes at all; everything else in redis/odd can be read.
UNREADABLE = {"not-json", "json-list", "json-number", "body-not-base64"}

Args = tuple[bytes, ...]
Remade = tuple[str, list[Args]]


def layout_of(vector: Vector, db: int) -> Layout:
    options = next((LAYOUTS[pattern] for pattern in LAYOUTS if fnmatchcase(vector.case, pattern)), {})
    return Layout.from_options(options, db)


# Envelopes


def is_envelope(data: bytes) -> bool:
    if not data.startswith(b"{"):
        return False
    try:
        value = json.loads(data)
    except ValueError:
        return False
    return isinstance(value, dict) and "body" in value and ("properties" in value or "headers" in value)


def check_envelope(data: bytes, tally: Tally) -> None:
    raw = json.loads(data)
    properties = raw.get("properties") or {}
    info = properties.get("delivery_info") or {}
    read = envelope.parse(data)
    assert read.exchange == info.get("exchange", "")
    assert read.routing_key == info.get("routing_key")
    tag = properties.get("delivery_tag")
    assert read.delivery_tag == (None if tag is None else str(tag))
    assert read.message.headers == (raw.get("headers") or {})
    assert read.message.content_type == raw.get("content-type")
    if properties.get("body_encoding") == "base64":
        assert base64.b64encode(read.message.body).decode() == raw["body"]
    else:
        assert read.message.body.decode() == raw["body"]
    again = remade(raw, read) if json.dumps(raw).encode() == data else None
    assert again in (None, data)
    tally.saw("redis envelope", rebuilt=again is not None)


def remade(raw: dict[str, Any], read: envelope.Envelope) -> bytes | None:
    """Built again, where Python wrote it in the shape that kombu has had since 4.0."""
    if list(raw) != ["body", "content-encoding", "content-type", "headers", "properties"] or not raw["headers"]:
        return None
    if list(raw["properties"])[-4:] != ["delivery_info", "priority", "body_encoding", "delivery_tag"]:
        return None
    tag = raw["properties"]["delivery_tag"]
    if raw["properties"]["priority"] is None or read.routing_key is None or read.delivery_tag != tag:
        return None
    message = read.message
    if read.redelivered:
        assert message.headers.pop("redelivered") is True
    built = envelope.build(
        message, exchange=read.exchange, routing_key=read.routing_key, delivery_tag=read.delivery_tag
    )
    assert envelope.parse(built).message == message
    if read.redelivered:
        return envelope.redelivered(built)
    return built


@claim("redis/*", "client/*", "control/*", "event/redis/*", "result/*", "beat/*")
def envelopes(vector: Vector, tally: Tally) -> None:
    name = vector.case.removeprefix("redis/odd/")
    for data in pieces(vector):
        if is_envelope(data):
            if name in UNREADABLE:
                continue
            check_envelope(data, tally)
    if name in UNREADABLE:
        pushed = next(blob.data for blob in vector.blobs() if blob.where == "/pushed")
        try:
            envelope.parse(pushed)
        except BadMessage:
            tally.saw("redis envelope", refused=True)
        else:
            raise AssertionError(f"{vector.case} was read")
    elif name == "empty-object":
        assert envelope.parse(b"{}").delivery_tag is None
        tally.saw("redis envelope")


def pieces(vector: Vector) -> Iterator[bytes]:
    """Everything that somebody wrote: arguments of commands, values in the store; the envelope inside an entry too."""
    for command in vector.commands():
        yield from command.args[1:]
    for blob in vector.blobs():
        if not _inside_command(blob):
            yield from _opened(blob.data)


def _inside_command(blob: Blob) -> bool:
    return "/cmd/" in blob.where


def _opened(data: bytes) -> Iterator[bytes]:
    yield data
    if data.startswith(b'[{"body"'):
        held = redis_held.parse_entry(data)
        assert redis_held.entry(held.envelope, held.exchange, held.routing_key) == data
        yield held.envelope


# Commands


class Run:
    """The commands of one connection from some point on, and what the whole vector knows about entries."""

    def __init__(self, layout: Layout, commands: list[Args], entries: dict[bytes, bytes]) -> None:
        self.layout = layout
        self.commands = commands
        self.entries = entries

    def names(self, count: int) -> list[str]:
        return [command[0].decode() for command in self.commands[:count]]

    def transaction(self) -> list[Args]:
        """What is between MULTI and EXEC, if that is what comes first."""
        if not self.commands or self.commands[0][0] != b"MULTI":
            return []
        names = [command[0] for command in self.commands]
        return self.commands[1 : names.index(b"EXEC")] if b"EXEC" in names else []

    def queue(self, key: bytes) -> str:
        return key.decode().removeprefix(self.layout.global_keyprefix)

    def exchange(self, key: bytes) -> str:
        return self.queue(key).removeprefix("_kombu.binding.")


Rule = Callable[[Run], Remade | None]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


def bytes_of(*commands: resp.Command) -> list[Args]:
    """As they would arrive at the server, through our own encoder and parser."""
    return [tuple(each) for each in resp.Parser().feed(resp.pack(*commands))]


@rule
def declares(run: Run) -> Remade | None:
    inside = run.transaction()
    if not inside or {command[0] for command in inside} != {b"LLEN"}:
        return None
    return "redis declare", bytes_of(*redis.declare(run.layout, run.queue(inside[0][1])))


@rule
def purges(run: Run) -> Remade | None:
    inside = run.transaction()
    if [command[0] for command in inside[:2]] != [b"LLEN", b"DEL"]:
        return None
    return "redis purge", bytes_of(*redis.purge(run.layout, run.queue(inside[0][1])))


@rule
def binds(run: Run) -> Remade | None:
    inside = run.transaction()
    permanent = [command[0] for command in inside] == [b"SADD", b"SADD"]
    if not permanent and run.names(1) != ["SADD"]:
        return None
    command = inside[0] if permanent else run.commands[0]
    binding = redis_bindings.parse_member(command[2], run.layout.sep)
    kind = "topic" if binding.pattern else "direct"
    return "redis binding", bytes_of(
        *redis.bind(
            run.layout,
            run.exchange(command[1]),
            binding.routing_key,
            binding.queue,
            kind,
            permanent=permanent,
        )
    )


@rule
def refreshes(run: Run) -> Remade | None:
    command = run.commands[0]
    if command[0] != b"EVALSHA" or command[2] != b"2" or b"_kombu.binding." not in command[3]:
        return None
    binding = redis_bindings.parse_member(command[5], run.layout.sep)
    kind = "topic" if binding.pattern else "direct"
    (made,) = bytes_of(
        *redis.bind(
            run.layout, command[6].decode(), binding.routing_key, binding.queue, kind, expires=int(command[7]) // 2
        )
    )
    return "redis binding", [with_sum_of(command, made)]


def with_sum_of(theirs: Args, ours: Args) -> Args:
    """Our scripts are not kombu's, only what they are given is."""
    return (ours[0], theirs[1], *ours[2:])


@rule
def scripts(run: Run) -> Remade | None:
    command = run.commands[0]
    if command[0] != b"EVALSHA":
        return None
    if command[3] == run.layout.binding_deadlines.encode():
        made = redis.sweep_bindings(run.layout)
    elif command[3] == run.layout.unacked_mutex.encode():
        made = redis_held.unlock(run.layout, command[4].decode())
    else:
        return None
    return "redis script call", [with_sum_of(command, *bytes_of(made))]


@rule
def locks(run: Run) -> Remade | None:
    command = run.commands[0]
    if command[0] != b"SET" or command[1] != run.layout.unacked_mutex.encode():
        return None
    (made,) = bytes_of(redis_held.lock(run.layout, command[2].decode()))
    if command[3] == b"PX":  # older releases of redis-py put the options the other way round
        made = (*made[:3], *made[4:], made[3])
    return "redis restore lock", [made]


@rule
def sweeps(run: Run) -> Remade | None:
    command = run.commands[0]
    doors = {b"ZRANGE": redis_held.overdue, b"ZREVRANGEBYSCORE": redis_held.overdue_before_6_2}
    if command[0] not in doors or command[1] != run.layout.unacked_index.encode():
        return None
    latest = float(command[2])
    (made,) = bytes_of(doors[command[0]](run.layout, latest + run.layout.visibility_timeout))
    assert abs(float(made[2]) - latest) < 1e-5
    return "redis sweep", [(*made[:2], command[2], *made[3:])]


@rule
def holds(run: Run) -> Remade | None:
    inside = run.transaction()
    if [command[0] for command in inside] != [b"ZADD", b"HSET"]:
        return None
    (_, _, now, tag), (_, _, _, held) = inside
    run.entries[tag] = held
    found = redis_held.parse_entry(held)
    again = redis_held.entry(found.envelope, found.exchange, found.routing_key)
    return "redis unacked entry", bytes_of(*redis_held.hold(run.layout, tag.decode(), again, float(now)))


@rule
def acks(run: Run) -> Remade | None:
    inside = run.transaction()
    if [command[0] for command in inside] != [b"ZREM", b"HDEL"]:
        return None
    return "redis ack", bytes_of(*redis_held.ack(run.layout, inside[0][2].decode()))


@rule
def restores(run: Run) -> Remade | None:
    if run.names(3) != ["WATCH", "HGET", "MULTI"]:
        return None
    tag = run.commands[1][2]
    ended = [command[0] for command in run.commands].index(b"EXEC")
    pushes = run.commands[5:ended]
    found = redis_held.parse_entry(run.entries[tag]) if pushes else None
    front = bool(pushes) and pushes[0][0] == b"RPUSH"
    queues = [] if found is None else redis_held.destinations(found, "direct", [])
    made = [
        *redis_held.look(run.layout, tag.decode()),
        *redis_held.restore(run.layout, tag.decode(), found, queues, front=front),
    ]
    return "redis put back", bytes_of(*made)


@rule
def pushes(run: Run) -> Remade | None:
    inside = run.transaction()
    expires = None
    if [command[0] for command in inside[:2]] == [b"LPUSH", b"PEXPIRE"]:
        command, expires = inside[0], int(inside[1][2])
    elif run.commands[0][0] in {b"LPUSH", b"lpush"}:
        command = run.commands[0]
    else:
        return None
    _, key, data = command
    read = envelope.parse(data)
    queue = run.queue(key).split(run.layout.sep)[0]
    foreign = command[0] == b"lpush"  # other clients push to the base list whatever the priority
    made = bytes_of(*redis.push(run.layout, queue, [data], 0 if foreign else read.priority, expires))
    return "redis push", [(command[0], *each[1:]) if foreign else each for each in made]


@rule
def publishes(run: Run) -> Remade | None:
    command = run.commands[0]
    if command[0] != b"PUBLISH" or not is_envelope(command[2]):
        return None
    read = envelope.parse(command[2])
    assert redis.exchange_of(run.layout, command[1]) == read.exchange
    return "redis fanout", bytes_of(*redis.publish(run.layout, read.exchange, read.routing_key or "", command[2]))


@rule
def subscribes(run: Run) -> Remade | None:
    command = run.commands[0]
    doors = {b"PSUBSCRIBE": redis.subscribe, b"PUNSUBSCRIBE": redis.unsubscribe}
    if command[0] not in doors or b"celery-task-meta" in command[1]:
        return None
    topics = command[1 :: 2 if run.layout.sentinel_fanout_compat else 1]
    bindings = []
    for topic in topics:
        exchange = redis.exchange_of(run.layout, topic)
        bindings.append((exchange, topic.decode().partition(exchange)[2].removeprefix("/").replace("*", "#")))
    return "redis subscription", bytes_of(doors[command[0]](run.layout, bindings))


@rule
def pops(run: Run) -> Remade | None:
    if run.names(1) != ["RPOP"]:
        return None
    made = bytes_of(*redis.pops(run.layout, run.queue(run.commands[0][1])))
    count = next((i for i, each in enumerate(made) if run.commands[i : i + 1] != [each]), len(made))
    return "redis get", made[: max(count, 1)]


@rule
def blocks(run: Run) -> Remade | None:
    command = run.commands[0]
    if command[0] != b"BRPOP":
        return None
    count = (len(command) - 2) // len(run.layout.priority_steps)
    queues = [run.queue(key) for key in command[1 : 1 + count]]
    return "redis blocking take", bytes_of(redis.block(run.layout, queues, int(command[-1])))


@rule
def deletes(run: Run) -> Remade | None:
    if run.names(3) != ["SREM", "SREM", "MULTI"] and run.names(3) != ["SREM", "MULTI", "DEL"]:
        return None
    _, key, member = run.commands[0]
    binding = redis_bindings.parse_member(member, run.layout.sep)
    kind = "topic" if binding.pattern else "direct"
    made = redis.delete(run.layout, run.exchange(key), binding.routing_key, binding.queue, kind)
    if run.names(2) == ["SREM", "MULTI"]:  # kombu before 5.7 has no set of permanent bindings
        del made[1]
    return "redis delete", bytes_of(*made)


@rule
def asks(run: Run) -> Remade | None:
    command = run.commands[0]
    if command[0] != b"SMEMBERS":
        return None
    return "redis binding lookup", bytes_of(redis.members(run.layout, run.exchange(command[1])))


@claim("redis/*", "client/celery*", "control/*", "event/redis/*")
def commands(vector: Vector, tally: Tally) -> None:
    runs: dict[tuple[str, str], list[tuple[int, Args]]] = {}
    for command in vector.commands():
        record = command.record
        if record.get("client") != "lua":
            trace = command.where.rpartition("/")[0]
            runs.setdefault((trace, record.get("client", "")), []).append((record.get("db", 0), command.args))
    entries = {
        key.encode(): blob.data
        for where, value in vector.walk()
        if where.endswith("/unacked/value") and isinstance(value, dict)
        for key in value
        for blob in vector.blobs()
        if blob.where == f"{where}/{key}"
    }
    for sequence in runs.values():
        for _, args in sequence:
            if args[0] == b"HSET" and args[1].endswith(b"unacked"):
                entries[args[2]] = args[3]
    for sequence in runs.values():
        check_commands(vector, whole(sequence), entries, tally)


def whole(sequence: list[tuple[int, Args]]) -> list[tuple[int, Args]]:
    """Some captures left MULTI and EXEC out: put back around what kombu sends together."""
    if any(args[0] == b"MULTI" for _, args in sequence):
        return sequence
    pairs = {(b"ZADD", b"HSET"), (b"ZREM", b"HDEL")}
    filled: list[tuple[int, Args]] = []
    for (db, args), (_, after) in zip(sequence, [*sequence[1:], (0, (b"",))], strict=True):
        if (args[0], after[0]) in pairs:
            filled.append((db, (b"MULTI",)))
        filled.append((db, args))
        if args[0] in {b"HSET", b"HDEL"}:
            filled.append((db, (b"EXEC",)))
    return filled


def check_commands(vector: Vector, sequence: list[tuple[int, Args]], entries: dict[bytes, bytes], tally: Tally) -> None:
    new = any(args[0] in {b"PUBLISH", b"PSUBSCRIBE"} and args[1].startswith(b"/") for _, args in sequence)
    while sequence:
        db = sequence[0][0]
        # In mixed captures the peer of the old client is a 5.7 with kombu's defaults.
        layout = Layout(db=db) if new and "celery31" in vector.case else layout_of(vector, db)
        run = Run(layout, [args for _, args in sequence], entries)
        found = next((made for each in RULES if (made := each(run)) is not None), None)
        if found is None:
            first = run.commands[0]
            assert not concerns_broker(run.layout, first) or is_old_lock(vector, first), first
            sequence = sequence[1:]
            continue
        kind, made = found
        assert run.commands[: len(made)] == made
        tally.saw(kind, rebuilt=True)
        sequence = sequence[len(made) :]


def concerns_broker(layout: Layout, command: Args) -> bool:
    return (
        len(command) > 1
        and command[0] != b"SCRIPT"
        and any(
            part.decode(errors="replace").removeprefix(layout.global_keyprefix).startswith(("_kombu", "unacked"))
            for part in command[1:]
        )
    )


def is_old_lock(vector: Vector, command: Args) -> bool:
    """Celery 3.1 locked in several steps; nobody should again."""
    return vector.case.startswith("client/celery31/") and command[1] == b"unacked_mutex"


# Binding sets and raw bytes


@claim("redis/*")
def binding_sets(vector: Vector, tally: Tally) -> None:
    layout = layout_of(vector, 0)
    for where, value in vector.walk():
        name = where.rpartition("/")[2].removeprefix(layout.global_keyprefix)
        if not name.startswith("_kombu.binding") or not isinstance(value, dict) or value.get("type") != "set":
            continue
        for text in value["value"]:
            binding = redis_bindings.parse_member(text.encode(), layout.sep)
            kind = "topic" if binding.pattern else "direct"
            again = redis.binding_of(kind, binding.routing_key, binding.queue)
            assert redis_bindings.member(again, layout.sep) == text.encode()
            tally.saw("redis binding", rebuilt=True)


@claim("redis/seq/producer-raw-resp*")
def raw_bytes(vector: Vector, tally: Tally) -> None:
    streams: dict[tuple[int, str], list[Any]] = {}
    for record in vector.capture["resp"]:
        data = record["data"].encode()
        parser = resp.Parser()
        replies = parser.feed(data)
        assert parser.idle
        streams.setdefault((record["conn"], record["dir"]), []).extend(replies)
        if record["dir"] == ">":
            assert resp.pack(*map(tuple, replies)) == data
        for reply in replies:
            for item in reply if isinstance(reply, list) else ():
                if isinstance(item, bytes) and is_envelope(item):
                    check_envelope(item, tally)
        tally.saw("RESP", rebuilt=record["dir"] == ">")
    assert streams


@claim("misc/topic-patterns")
def topic_patterns(vector: Vector, tally: Tally) -> None:
    keys = sorted({key for _, _, matching in vector.capture for key in matching})
    for binding_key, pattern, matching in vector.capture:
        assert redis_bindings.pattern_of(binding_key) == pattern
        assert {key for key in keys if redis_bindings.matches(binding_key, key)} == set(matching)
        tally.saw("topic pattern", rebuilt=True)

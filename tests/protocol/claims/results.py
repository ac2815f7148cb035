"""Results in the captures: every document that was stored, published, sent or filed, and the keys around it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import chord_keys, result, rows, rpc, serializers, states, stores
from celeriac.protocol.wire.chord_keys import ChordKeys
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.result import Result
from celeriac.protocol.wire.stored import JSON, MAGIC, Codec
from tests.protocol.vectors import Blob, Command, Tally, Vector, claim

_KEY = re.compile(r"(?P<prefix>[\w:.-]*?)celery-task(?P<set>set)?-meta-(?P<id>[^/]+?)(?P<part>\.[jstdc])?$")
_COMPRESSED = {"compression-gzip": "gzip", "compression-bzip2": "bzip2", "compression-lzma": "lzma"}


def _codec(vector: Vector) -> Codec:
    conf = (vector.notes or {}).get("conf", {}) if isinstance(vector.notes, dict) else {}
    names = conf.get("result_accept_content") or conf.get("accept_content") or ["json"]
    return Codec(
        conf.get("result_serializer", "json"), serializers.accepted(names), conf.get("result_compression") or None
    )


def _by_celery(data: bytes, codec: Codec) -> bool:
    """JavaScript and Go write no blanks, Celery 3.1 no task_id, and Go nothing but a null at times."""
    if codec.serializer != "json" or data.startswith(MAGIC):
        return True
    return data.startswith(b'{"status": ') and b'"task_id": "' in data


def _document(data: bytes, codec: Codec, tally: Tally, task_id: str | None = None) -> Result:
    found = result.parse(data, codec, task_id=task_id)
    assert (
        found.status in {"SUCCESS", "FAILURE", "REVOKED", "RETRY", "STARTED", "PROGRESS", "CUSTOM"} or not found.ready
    )
    if found.failed:
        assert isinstance(found.result, (result.Failure, BaseException))
    if found.date_done is not None:
        assert found.done_at() is not None
    if _by_celery(data, codec):
        assert result.build(found, codec) == data
        tally.saw(f"result {codec.serializer}", rebuilt=True)
    else:
        tally.saw("result of other writers")
    return found


def _stored_blobs(vector: Vector) -> Iterator[tuple[Blob, str | None]]:
    """Blobs that are whole result documents, with the id of the task in their key where there is one."""
    channels = {
        f"{where}/data": stores.Keys().task_id(value["channel"])
        for where, value in vector.walk()
        if isinstance(value, dict) and isinstance(value.get("channel"), str)
    }
    for blob in vector.blobs():
        steps = blob.where.split("/")
        found = next((match for step in steps if (match := _KEY.search(step))), None)
        if found and (found["set"] or found["part"]):
            continue
        if found is not None:
            yield blob, found["id"]
        elif re.search(r"/metas/[^/]+/value$|/(published|pubsub|result_pubsub)/\d+/data$", blob.where):
            yield blob, channels.get(blob.where)


def _is_document(data: bytes) -> bool:
    starts = (b'{"status"', b'{"task_id":', MAGIC, b"children:", b"\x86\xa6status", b"\x87\xa6status", b"\x80\x04")
    return data.startswith(starts) or data == b"null"


@claim("*")
def stored(vector: Vector, tally: Tally) -> None:
    """Values of keys, files and publications."""
    codec = _codec(vector)
    for blob, task_id in _stored_blobs(vector):
        if _is_document(blob.data):
            _document(blob.data, codec, tally, task_id)


@claim("*")
def commands(vector: Vector, tally: Tally) -> None:
    """SETEX, SET and PUBLISH of results, saved groups, and what the keys are called."""
    codec = _codec(vector)
    for command in vector.commands():
        for arg in command.args[1:2]:
            found = _KEY.fullmatch(arg.decode("utf-8", "replace"))
            if found is None:
                continue
            keys = stores.Keys(found["prefix"])
            name = keys.group(found["id"]) if found["set"] else keys.task(found["id"])
            assert name + (found["part"] or "") == arg.decode()
            if not found["set"]:
                assert keys.task_id(arg) == found["id"]
            if command.name in ("SETEX", "SET", "PUBLISH") and not found["part"]:
                _write(command, found, codec, tally)
            else:
                tally.saw("result key", rebuilt=True)


def _write(command: Command, found: re.Match[str], codec: Codec, tally: Tally) -> None:
    key, data = command.args[1].decode(), command.args[2]
    expires = 0
    if command.name == "SETEX":
        expires, data = int(command.args[2]), command.args[3]
    if found["set"]:
        group = result.parse_group(data, codec)
        assert group.id == found["id"]
        assert result.build_group(group, codec) == data
        tally.saw("saved group", rebuilt=True)
    else:
        _document(data, codec, tally, found["id"])
        assert stores.may_replace(data, codec) is (result.parse(data, codec, task_id="?").status != states.SUCCESS)
    if command.name == "SET" and found["set"]:
        sent: Any = chord_keys.save_group(ChordKeys(key), data, int((*command.args, b"0", b"0")[4]))
    elif command.name == "PUBLISH":
        sent = stores.store(key, data, 1)[1]
    else:
        sent = stores.store(key, data, expires)[0]
    assert _bytes(sent) == (command.name.encode(), *command.args[1:])
    tally.saw("result command", rebuilt=True)


def _bytes(command: Any) -> tuple[bytes, ...]:
    return tuple(arg if isinstance(arg, bytes) else str(arg).encode() for arg in command)


@claim("result/odd-metas")
def odd(vector: Vector, tally: Tally) -> None:
    """What stock makes of odd documents, and where we know better than to fail."""
    bad = {"no-status", "not-json", "json-number"}
    for name, case in vector.capture.items():
        data = case["meta"].encode()
        if name in bad:
            with pytest.raises(BadMessage, match="status" if name == "no-status" else "it begins b'"):
                result.parse(data, task_id="t")
            tally.saw("odd result", refused=True)
            continue
        found = result.parse(data, task_id=f"odd-{name}")
        assert found.task_id == f"odd-{name}"
        stock = case["stored_before"]
        if stock[0] == "get -> 3":
            assert found.status == states.SUCCESS
            assert found.result == 3
        assert found.ready is not ("TimeoutError" in stock[0])
        if found.failed:
            assert isinstance(found.result, result.Failure)
        tally.saw("odd result")


@claim("result/memcached")
def memcached(vector: Vector, tally: Tally) -> None:
    for chunk in vector.capture["chunks"]:
        head, _, rest = chunk["data"].partition("\r\n")
        words = head.split()
        if words[0] not in ("set", "VALUE"):
            continue
        body = rest[: int(words[4] if words[0] == "set" else words[3])].encode()
        found = _KEY.fullmatch(words[1])
        if found is None:
            assert words[1] == stores.Keys().chord(words[1].removeprefix("chord-unlock-"))
            tally.saw("result key", rebuilt=True)
        elif found["set"]:
            group = result.parse_group(body)
            assert result.build_group(group) == body
            tally.saw("saved group", rebuilt=True)
        else:
            _document(body, Codec(), tally, found["id"])


def _unblob(value: Any) -> Any:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


@claim("result/database/*")
def database(vector: Vector, tally: Tally) -> None:
    tables = vector.capture["tables"]
    for stored_row in tables[rows.TASKS]:
        row = {name: _unblob(value) for name, value in stored_row.items()}
        row["date_done"] = datetime.fromisoformat(row["date_done"]) if row["date_done"] else None
        found = rows.parse(row)
        done = None if row["date_done"] is None else row["date_done"].replace(tzinfo=timezone.utc)
        assert found.done_at() == done
        again = rows.build(found, done)
        assert again == {name: row[name] for name in rows.COLUMNS}
        tally.saw("result row", rebuilt=True)
    for stored_row in tables[rows.GROUPS]:
        blob = _unblob(stored_row["result"])
        group = rows.parse_group({"result": blob})
        assert group.id == stored_row["taskset_id"]
        assert rows.build_group(group) == blob
        tally.saw("saved group", rebuilt=True)


@claim("*")
def rpc_messages(vector: Vector, tally: Tally) -> None:
    for _, frame in vector.frames():
        content = frame.get("content") or {}
        properties = dict(content.get("properties") or {})
        body = base64.b64decode(content.get("body_b64") or "")
        if frame["args"].get("exchange") != rpc.EXCHANGE or not body.startswith((b'{"status"', b'{"task_id":')):
            continue
        found = Message(
            body,
            properties.pop("content_type", None),
            properties.pop("content_encoding", None),
            properties.pop("headers", {}),
            properties,
        )
        one = rpc.parse(found)
        assert one.task_id
        tally.saw("rpc result", rebuilt=_by_celery(body, JSON))
        if _by_celery(body, JSON):
            persistent = properties["delivery_mode"] == rpc.PERSISTENT
            again = rpc.build(one, properties["correlation_id"], persistent=persistent)
            assert again == found


# --- chords


@claim("*")
def chords(vector: Vector, tally: Tally) -> None:
    """The calls of stock's three scripts, the commands around them, and the members in between."""
    codec = _codec(vector)
    shas: dict[bytes, str] = {}
    for command in vector.commands():
        args = command.args
        if command.name == "EVALSHA" and len(args) > 3 and b"celery-taskset-meta-" in args[3]:
            shas[args[1]] = _script_call(args, codec, tally)
        found = _KEY.fullmatch(args[1].decode("utf-8", "replace")) if len(args) > 1 else None
        if found is None or not found["set"] or command.record.get("client") == "lua":
            continue
        keys = ChordKeys(args[1].decode().removesuffix(found["part"] or ""))
        made = _around(command.name, args, keys)
        if made is not None:
            assert _bytes(made) == args
            tally.saw("chord command", rebuilt=True)
        if command.name in ("ZADD", "RPUSH"):
            _member(args[-1], codec, tally)
    assert len(shas) == len(set(shas.values()))


def _member(data: bytes, codec: Codec, tally: Tally) -> None:
    member = chord_keys.parse_member(data, codec)
    assert member.state in states.READY
    assert chord_keys.build_member(member, codec) == data
    tally.saw("chord member", rebuilt=True)


def _script_call(args: tuple[bytes, ...], codec: Codec, tally: Tally) -> str:
    count = int(args[2])
    keys = ChordKeys(args[3].decode()[:-2])
    rest = args[3 + count :]
    if count == 6:
        _member(rest[1], codec, tally)
        made = chord_keys.part_arguments(
            keys,
            rest[0].decode(),
            rest[1],
            ordered=rest[2] == b"1",
            group_index=None if rest[3] == b"+inf" else int(rest[3]),
            expires=int(rest[4]),
            saved_expires=int(rest[5]),
            claim=int(rest[6]),
            token=rest[7].decode(),
        )
        assert int(rest[6]) == chord_keys.claim_seconds(3.0)
        kind = "part"
    elif count == 2:
        made = chord_keys.extend_arguments(keys, rest[0].decode(), int(rest[1]))
        assert int(rest[1]) == chord_keys.sending_seconds(chord_keys.claim_seconds(3.0))
        kind = "extend"
    else:
        made = chord_keys.clean_arguments(keys, rest[0].decode(), int(rest[1]))
        assert int(rest[1]) == chord_keys.done_seconds(chord_keys.claim_seconds(3.0))
        kind = "clean"
    assert _bytes(made) == args[2:]
    tally.saw("chord script call", rebuilt=True)
    return kind


def _around(name: str, args: tuple[bytes, ...], keys: ChordKeys) -> Any:
    key = args[1].decode()
    if name == "DEL" and key == keys.claim:
        return chord_keys.start(keys, 1, 0)[0]
    if name == "DEL" and key == keys.size:
        return chord_keys.give_up(keys)[0]
    if name == "SET" and key == keys.size:
        return chord_keys.start(keys, int(args[2]), int((*args, b"0", b"0")[4]))[1]
    if name == "INCRBY" and key == keys.added:
        return chord_keys.add(keys)
    if name in ("ZRANGE", "LRANGE"):
        total = None if name == "ZRANGE" else int(args[3])
        return chord_keys.members(keys, chord_keys.Count(0, total, True, False, name == "ZRANGE"))
    return None


@claim("redis/chord/*", "client/*/redis-worker")
def members_left(vector: Vector, tally: Tally) -> None:
    """Members that a failed chord leaves behind."""
    for blob in vector.blobs():
        if blob.where.endswith("/member") and blob.data.startswith(b"[1, "):
            _member(blob.data, _codec(vector), tally)


@claim("redis/msg/*", "redis/canvas/*", "client/*")
def sizes(vector: Vector, tally: Tally) -> None:
    """The size in a chord's body, which Celery before 5 relied on."""
    for blob in vector.blobs():
        if b'"chord_size"' in blob.data and blob.data[:1] in b"[{":
            text = blob.data.decode()
            for value in re.findall(r'"chord_size": (\d+|null)', text):
                size = json.loads(value)
                assert chord_keys.size_in({"chord_size": size}) == size
                tally.saw("chord size")

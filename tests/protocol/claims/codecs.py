"""Serializers, typed JSON, compression, reprs and signatures: the tables of misc/, and every body in every capture."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import json
import math
import pathlib
import uuid
from collections import OrderedDict, deque, namedtuple
from collections.abc import Iterator
from enum import Enum, IntEnum
from typing import Any

import pytest

from celeriac.protocol.errors import Refused, Undecodable
from celeriac.protocol.wire import compression, serializers, signing
from celeriac.protocol.wire.json import Unencodable, dumps, loads
from celeriac.protocol.wire.reprs import saferepr
from tests.protocol.vectors import Tally, Vector, claim

NAMES = {row.content_type: name for name, row in serializers.BUILTIN.items()}
ACCEPT = frozenset(NAMES)


@claim("misc/codecs")
def codecs(vector: Vector, tally: Tally) -> None:
    table = vector.capture
    value = json.loads(base64.b64decode(table["json"]["b64"]))
    for name in ("json", "pickle", "yaml", "msgpack"):
        row = table[name]
        body = base64.b64decode(row["b64"])
        assert serializers.decode(body, row["content_type"], row["content_encoding"], ACCEPT) == value
        assert serializers.encode(value, name) == (row["content_type"], row["content_encoding"], body)
        tally.saw(f"{name} body", rebuilt=True)
    for name in ("noserializer bytes", "raw bytes", "noserializer str", "raw str"):
        row = table[name]
        how, kind = name.split()
        plain = base64.b64decode(row["b64"]) if kind == "bytes" else base64.b64decode(row["b64"]).decode()
        written = serializers.encode(plain, "raw" if how == "raw" else None)
        assert written == (row["content_type"], row["content_encoding"], base64.b64decode(row["b64"]))
        assert serializers.decode(written.body, *written[:2], accept={"text/plain"}) == plain
        tally.saw("plain body", rebuilt=True)
    ours = {row.content_type: list(row.names) for row in compression.BUILTIN.rows}
    assert {kind: ours[kind] for kind in table["compression"]} == table["compression"]
    assert sorted(NAMES) == table["decoders"]
    assert sorted(serializers.JSON_ONLY) == table["accepted_by_default"]
    assert sorted(serializers.TRUSTED) == table["trusted_always"]
    tally.saw("registry", rebuilt=True)


class E(Enum):
    A = 1


class I(IntEnum):  # noqa: E742 - as short as what it stands for
    A = 1


class S(str, Enum):
    A = "x"


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class DC:
    a: int = 1


class Custom:
    def __json__(self) -> Any:
        return {"custom": 1}


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - the point of it
MOMENT = dt.datetime(2024, 2, 29, 12, 30, 15, 123456)
SECOND = MOMENT.replace(microsecond=0)
INDIA = dt.timezone(dt.timedelta(seconds=19800))
VALUES: dict[str, Any] = {
    "datetime naive": MOMENT,
    "datetime naive no us": SECOND,
    "datetime utc": SECOND.replace(tzinfo=dt.timezone.utc),
    "datetime +05:30": SECOND.replace(tzinfo=INDIA),
    "date": MOMENT.date(),
    "time": dt.time(1, 2, 3, 4),
    "time tz": dt.time(1, 2, 3, tzinfo=dt.timezone.utc),
    "timedelta": dt.timedelta(1),
    "decimal": decimal.Decimal("1.10"),
    "decimal nan": decimal.Decimal("NaN"),
    "uuid1": uuid.UUID("12345678-1234-1678-1234-567812345678"),
    "uuid4": uuid.UUID("12345678-1234-4678-9234-567812345678"),
    "bytes utf8": b"abc",
    "bytes binary": b"\xff\x00",
    "bytes empty": b"",
    "bytearray": bytearray(b"x"),
    "memoryview": memoryview(b"x"),
    "set": {1},
    "frozenset": frozenset({1}),
    "tuple": (1, 2),
    "namedtuple": Pair(1, 2),
    "deque": deque([1]),
    "OrderedDict": OrderedDict(a=1),
    "generator": (i for i in (1,)),
    "Enum": E.A,
    "IntEnum": I.A,
    "StrEnum": S.A,
    "dataclass": DC(),
    "Path": pathlib.PurePosixPath("/x"),
    "__json__": Custom(),
    "str subclass": Text("s"),
    "complex": 1j,
    "exception": ValueError("x"),
    "nan": math.nan,
    "inf": math.inf,
    "big int": 2**70,
    "lone surrogate": "\ud800",
    "int keys": {1: "a"},
    "tuple keys": {(1, 2): 3},
    "none key": {None: 1},
    "bool key": {True: 1},
    "float key": {1.5: 1},
}


@claim("misc/json-types")
def json_types(vector: Vector, tally: Tally) -> None:
    for label, text, shown in vector.capture["encode"]:
        if text is None:
            with pytest.raises(Unencodable) as caught:
                dumps(VALUES[label])
            assert f"{type(caught.value.cause).__name__}: {caught.value}" == shown
            tally.saw("typed JSON", refused=True)
            continue
        assert dumps(VALUES[label]) == text, label
        assert repr(loads(text)) == shown, label
        tally.saw("typed JSON", rebuilt=True)
    for text, shown in vector.capture["decode"]:
        if shown.startswith("ERR"):
            with pytest.raises(Undecodable):
                loads(text)
            tally.saw("typed JSON", refused=True)
            continue
        assert repr(loads(text)) == shown
        tally.saw("typed JSON")


@claim("misc/saferepr")
def reprs(vector: Vector, tally: Tally) -> None:
    names = {"decimal": decimal, "datetime": dt, "uuid": uuid}
    for label, shown in vector.capture:
        limit, expression = 1024, label
        if label.startswith("maxlen "):
            number, expression = label.removeprefix("maxlen ").split(": ", 1)
            limit = int(number)
        assert saferepr(eval(expression, names), limit, 3) == shown, label
        tally.saw("repr", rebuilt=True)


@claim("misc/auth-serializer")
def signed(vector: Vector, tally: Tally) -> None:
    pem = vector.capture["certificate_pem"].encode()
    verifier = signing.load_verifier([pem])
    now = dt.datetime(2026, 11, 21, tzinfo=dt.timezone.utc)
    for body, kind, _ in bodies(vector):
        if kind != "application/data":
            continue
        found = verifier.verify(body, now)
        assert json.loads(found.body)[:2] == [[1, 2], {}]
        proof = base64.b64decode(base64.b64decode(body).split(b"\0\1")[1])
        signer = signing.Signer(signing.load_certificate(pem), _Recorded(proof))
        assert signer.sign(found.body, found.content_type, found.content_encoding) == body
        tally.saw("signed message", rebuilt=True)
    assert tally.rebuilt["signed message"]


@dataclasses.dataclass
class _Recorded:
    """A key that signs as it did once: the salt of a signature is random."""

    signature: bytes

    def sign(self, *_: Any) -> bytes:
        return self.signature


def bodies(vector: Vector) -> Iterator[tuple[bytes, str | None, str | None]]:
    """Every body that some message carried, with what the message says of it; decompressed where it says so."""
    for data in _texts(vector):
        try:
            envelope = json.loads(data)
        except ValueError:
            continue
        if not isinstance(envelope, dict) or not isinstance(envelope.get("body"), str):
            continue
        body = envelope["body"].encode()
        if (envelope.get("properties") or {}).get("body_encoding") == "base64":
            try:
                body = base64.b64decode(body, validate=True)
            except ValueError:
                continue
        headers = envelope.get("headers") or {}
        yield _plain(body, headers), envelope.get("content-type"), envelope.get("content-encoding")
    for _, frame in vector.frames():
        content = frame.get("content")
        if content and "body_b64" in content:
            properties = content["properties"]
            body = _plain(base64.b64decode(content["body_b64"]), properties.get("headers") or {})
            yield body, properties.get("content_type"), properties.get("content_encoding")


def _texts(vector: Vector) -> Iterator[bytes]:
    yield from (blob.data for blob in vector.blobs() if b'"body"' in blob.data)
    for command in vector.commands():
        yield from (arg for arg in command.args if b'"body"' in arg)


def _plain(body: bytes, headers: dict[str, Any]) -> bytes:
    label = headers.get("compression")
    if not label:
        return body
    try:
        plain = compression.decompress(body, label)
    except Undecodable:
        assert label not in compression.BUILTIN
        return b"?"  # as good as any: nobody can say what it was
    again, kind = compression.compress(plain, label)
    assert kind == label
    assert compression.decompress(again, kind) == plain
    return plain


@claim("*")
def every_body(vector: Vector, tally: Tally) -> None:
    for body, kind, encoding in bodies(vector):
        try:
            value = serializers.decode(body, kind, encoding, ACCEPT)
        except Refused:
            assert kind not in ACCEPT
            tally.saw("body of no accepted type", refused=True)
            continue
        except Undecodable:
            assert kind != "application/json" or not _is_json(body)
            tally.saw("undecodable body", refused=True)
            continue
        name = NAMES.get(kind or "")
        if name is None:
            tally.saw("plain body")
            continue
        rebuilt = name != "json" or _python_wrote(body)
        if rebuilt:
            assert serializers.encode(value, name).body == body
        tally.saw(f"{name} body", rebuilt=rebuilt)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _python_wrote(body: bytes) -> bool:
    return _is_json(body) and json.dumps(json.loads(body)).encode() == body

"""Hostile material: real messages, changed. By bytes, and by structure, which reaches far deeper into a parser."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from copy import deepcopy
from functools import cache
from random import Random
from typing import Any

from celeriac.protocol.errors import BadMessage, ProtocolError
from celeriac.protocol.wire import envelope
from celeriac.protocol.wire.amqp import contents, frames, methods, table
from tests.protocol.vectors import index, vector

SEP = b"\x06\x16"
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, 10**40, -(10**400), 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "null", "-1", "NaN", "\ud800", "\x00", "é" * 40, "9" * 5000, "2026-13-45T99:99:99", "0001-01-01T00:00:00-23:59"),
    *("9999-12-31T23:59:59+00:00", "2026-W99-9", "P1D", "application/x-python-serialize", "application/data", "zlib"),
    *([], {}, [[]], [None], [[], {}, {}], [[], {}], {"args": 1}, {"": {}}, {"__type__": "datetime", "__value__": 5}),
    *({"__type__": "decimal", "__value__": "x"}, {"__type__": "nope", "__value__": 1}, {"task": 5}, {"task": "t", "args": 7}),
)  # fmt: skip
TEXTS = ("NaN", "Infinity", "[" * 5000, '{"a":' * 5000, "null", "\x00", '"', "\\ud800", "1e999", "-", "9" * 5000)
BYTES = (
    b"\xff",
    b"\x80\x04",
    b"\x00celery-compressed\x00",
    b"\x7f\xff\xff\xff",
    b"\xce",
    b"*1000000000\r\n",
    b"$-1\r\n",
)
TOKENS = (*(text.encode() for text in TEXTS), *BYTES)


@cache
def corpus() -> tuple[bytes, ...]:
    """Every distinct piece of wire in the captures: envelopes, bodies, results, replies, AMQP header frames."""
    found: dict[bytes, None] = {}
    for case in index():
        for blob in vector(case).blobs():
            found[blob.data] = None
        for _, value in vector(case).walk():
            if isinstance(value, dict):
                for key in ("header_frame_b64", "body_b64"):
                    if isinstance(value.get(key), str):
                        found[base64.b64decode(value[key])] = None
    return tuple(data for data in found if data)


_NEVER_CAPTURED = (
    *(b"2026-11-21T03:15:19.521Z", b"2026-W12-3T10:11,5+0130", b"20261121T031519-05", b"2026-325"),
    *(
        b"[2, null, 3, 1]",
        b'[2, "1", "3", 1, "zset"]',
        b'0:[1, "i", "SUCCESS", 3]',
        b"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.1.qq",
    ),
)


@cache
def parts() -> tuple[bytes, ...]:
    """What lies within those and around them: bodies, properties and tables, methods, bindings, entries of unacked."""
    found = dict.fromkeys(_NEVER_CAPTURED)
    for data in corpus():
        found[data[12:]] = None  # of a header frame, its properties
        with suppress(BadMessage):
            message = envelope.parse(data).message
            found[message.body] = None
            found[contents.write_message(message)] = None
            found[table.write_table(message.headers)] = None
    for case in index():
        for command in vector(case).commands():
            found.update(dict.fromkeys(arg for arg in command.args if SEP in arg or arg.startswith(b"[")))
        for _, frame in vector(case).frames():
            with suppress(ProtocolError):
                method = methods.write_method(frame["method"], frame["args"])
                found[method] = found[frames.write_frame(frames.METHOD, 1, method)] = None
    whole = frozenset(corpus())
    return tuple(data for data in found if data and data not in whole)


def mutate(maker: Random) -> bytes:
    """One changed message, or a changed part of one."""
    data = maker.choice(corpus() if maker.random() < 0.6 else parts())
    if maker.random() < 0.6:
        changed = _restructured(data, maker)
        if changed is not None:
            return changed
    for _ in range(maker.randint(1, 4)):
        data = maker.choice(_BY_BYTES)(data, maker)
    return data


def _restructured(data: bytes, maker: Random) -> bytes | None:
    """Another value in the place of one in a JSON document; inside the base64 body of an envelope just as often."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("body"), str) and maker.random() < 0.5:
        try:
            inner = _restructured(base64.b64decode(value["body"]), maker)
        except ValueError:
            inner = None
        if inner is not None:
            value["body"] = base64.b64encode(inner).decode()
            return json.dumps(value).encode()
    for _ in range(maker.randint(1, 3)):
        value = _replaced(value, maker)
    return json.dumps(value).encode()


def _replaced(value: Any, maker: Random) -> Any:
    if not isinstance(value, (dict, list)) or not value or maker.random() < 0.15:
        return deepcopy(maker.choice(ODD))
    keys: Any = list(value) if isinstance(value, dict) else range(len(value))
    key = maker.choice(keys)
    if maker.random() < 0.1:
        del value[key]
    else:
        value[key] = _replaced(value[key], maker)
    return value


def _flip(data: bytes, maker: Random) -> bytes:
    at = maker.randrange(len(data) or 1)
    return data[:at] + bytes([maker.randrange(256)]) + data[at + 1 :]


def _cut(data: bytes, maker: Random) -> bytes:
    at = maker.randrange(len(data) or 1)
    return data[:at]


def _drop(data: bytes, maker: Random) -> bytes:
    at = maker.randrange(len(data) or 1)
    return data[:at] + data[at + maker.randint(1, 8) :]


def _repeat(data: bytes, maker: Random) -> bytes:
    at = maker.randrange(len(data) or 1)
    end = at + maker.randint(1, 40)
    return data[:end] + data[at:]


def _insert(data: bytes, maker: Random) -> bytes:
    at = maker.randrange(len(data) or 1)
    return data[:at] + maker.choice(TOKENS) + data[at:]


def _splice(data: bytes, maker: Random) -> bytes:
    other = maker.choice(corpus())
    return data[: maker.randrange(len(data) or 1)] + other[maker.randrange(len(other)) :]


_BY_BYTES = (_flip, _flip, _cut, _drop, _repeat, _insert, _splice)

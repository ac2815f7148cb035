"""AMQP in the captures: every method, every content, every topology that a stock client declared, every handshake."""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from celeriac.protocol.wire.amqp import delayed, frames, handshake, topology
from celeriac.protocol.wire.amqp.headers import HeaderReader
from celeriac.protocol.wire.amqp.inbox import Called, Confirmed, Delivery, Got, Inbox
from celeriac.protocol.wire.amqp.methods import read_method, write_method
from celeriac.protocol.wire.amqp.properties import (
    read_content_header,
    read_properties,
    write_content_header,
    write_properties,
)
from tests.protocol.vectors import Tally, Vector, claim

DECLARING = {"exchange.declare", "queue.declare", "queue.bind", "exchange.bind"}
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


# -- every method --


@claim("amqp/*", "event/amqp*", "client/*/amqp*")
def methods(vector: Vector, tally: Tally) -> None:
    """Written from its captured fields, a method reads back as they say; the fast paths write the same bytes."""
    for _, frame in vector.frames():
        name, args = frame["method"], frame["args"]
        read_name, read_args = read_method(write_method(name, args))
        if name == "connection.start" and "server_properties" not in args:
            del read_args["server_properties"]  # most captures leave them out
        assert (read_name, read_args) == (name, args)
        channel = frame.get("chan", 1)
        assert fast_path(channel, name, args) in {None, frames.write_call(channel, name, args)}
        tally.saw("AMQP method", rebuilt=True)


def fast_path(channel: int, name: str, args: dict[str, Any]) -> bytes | None:
    match name:
        case "basic.publish":
            return frames.publish_call(channel, args["exchange"], args["routing_key"], mandatory=args["mandatory"])
        case "basic.ack":
            return frames.write_ack(channel, args["delivery_tag"], multiple=args["multiple"])
        case "basic.reject":
            return frames.write_reject(channel, args["delivery_tag"], requeue=args["requeue"])
        case "basic.get":
            return frames.write_get(channel, args["queue"], no_ack=args["no_ack"])
        case "basic.qos":
            assert topology.qos_call(args["prefetch_count"], is_global=args["global"]) == (name, args)
    return None


# -- every content --


@claim("amqp/*", "event/amqp*", "client/*/amqp*")
def contents(vector: Vector, tally: Tally) -> None:
    """Properties and headers read as captured, letter for letter, and written again to the bytes that py-amqp wrote."""
    learned = HeaderReader()
    stock = stock_connections(vector)
    for _, frame in vector.frames():
        content = frame.get("content")
        if content is None:
            continue
        body = base64.b64decode(content["body_b64"])
        ours = frame["from"] == "C" and (frame["conn"] in stock or "celery" in product(vector, frame["conn"]))
        raw = base64.b64decode(content.get("header_frame_b64", ""))
        if not raw:
            raw = write_content_header(write_properties(renamed(content["properties"])), content["body_size"])
        size, packed = read_content_header(raw)
        properties = read_properties(packed)
        assert size == len(body) == content["body_size"]
        assert packed[:2].hex() == content["property_flags"].removeprefix("0x")
        assert plain(properties) == renamed(content["properties"])
        assert read_properties(packed, learned.read) == properties
        assert [*read_properties(packed, learned.read).get("application_headers", {})] == [
            *(content["header_types"] or {})
        ]
        if ours:
            assert write_content_header(write_properties(properties), size) == raw
            assert {key: typed(value) for key, value in properties["application_headers"].items()} == content[
                "header_types"
            ]
        message = frames.write_publish(
            frames.write_call(frame["chan"], frame["method"], frame["args"]), frame["chan"], packed, body
        )
        assert through_the_inbox(message, frame) == (packed, body)
        tally.saw(f"AMQP {frame['method']} with content", rebuilt=ours)


def through_the_inbox(message: bytes, frame: dict[str, Any]) -> tuple[bytes, bytes | None]:
    """What a consumer makes of it. A publish is what a broker would read; our inbox never sees one."""
    method, args = frame["method"], frame["args"]
    if method == "basic.publish":
        calls = frames.FrameReader().feed(message)
        assert [kind for kind, _, _ in calls] == [frames.METHOD, frames.HEADER, frames.BODY]
        return read_content_header(calls[1][2])[1], calls[2][2]
    (event,) = Inbox().feed(message)
    assert isinstance(event, Delivery if method == "basic.deliver" else Got)
    assert {name: getattr(event, name) for name in args} == args
    return event.properties, event.body


def renamed(properties: dict[str, Any]) -> dict[str, Any]:
    return {{"headers": "application_headers"}.get(name, name): value for name, value in properties.items()}


def plain(value: Any) -> Any:
    """As the captures wrote it: in JSON, with times as seconds."""
    return json.loads(json.dumps(value, default=lambda time: int(time.replace(tzinfo=timezone.utc).timestamp())))


def typed(value: Any) -> dict[str, Any]:
    """A value with the letter that py-amqp gives it, in the captures' notation."""
    if isinstance(value, dict):
        return {"t": "F", "v": {key: typed(item) for key, item in value.items()}}
    if isinstance(value, list):
        return {"t": "A", "v": [typed(item) for item in value]}
    letters = {str: "S", type(None): "V", bool: "t", float: "d", int: "I", datetime: "T"}
    letter = "L" if type(value) is int and abs(value) > 0x7FFFFFFF else letters[type(value)]
    return {"t": letter, "v": value}


def product(vector: Vector, conn: int) -> str:
    for _, frame in vector.frames():
        if frame["method"] == "connection.start-ok" and frame["conn"] == conn:
            return str(frame["args"]["client_properties"].get("product"))
    return vector.client


def stock_connections(vector: Vector) -> set[int]:
    return {
        frame["conn"] for _, frame in vector.frames() if "conn" in frame and product(vector, frame["conn"]) == "py-amqp"
    }


# -- every topology --


@claim("amqp/*", "event/amqp*", "client/*/amqp*")
def topologies(vector: Vector, tally: Tally) -> None:
    """What stock clients declared is, call by call and in their order, what our topologies say."""
    by_channel: dict[tuple[int, int], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    stock = stock_connections(vector)
    for where, frame in vector.frames():
        alone = "/declares_before_publish" in where
        if frame["method"] in DECLARING and (alone or (frame["from"] == "C" and frame["conn"] in stock)):
            by_channel[frame.get("conn", 0), frame.get("chan", 0)].append((frame["method"], frame["args"]))
    for calls in by_channel.values():
        while calls:
            expected = [part.call() for part in recognised(calls, vector)]
            assert calls[: len(expected)] == expected
            tally.saw("AMQP topology", rebuilt=True)
            del calls[: len(expected)]


def recognised(calls: list[tuple[str, dict[str, Any]]], vector: Vector) -> topology.Topology:
    """The topology that starts here, told by its names alone (and a user's queue by the arguments it was given)."""
    method, args = calls[0]
    queue = next((made["queue"] for name, made in calls[1:2] if name == "queue.declare"), "")
    key = next((made["routing_key"] for name, made in calls[2:3] if name == "queue.bind"), "")
    if method == "exchange.bind":
        assert args["source"] == delayed.delivery_exchange()
        exchange = topology.Exchange(args["destination"], "topic")
        return delayed.delayed_bindings(calls[1][1]["queue"], exchange, args["routing_key"].removeprefix("#."))
    if method == "queue.declare":
        return lone_queue(args["queue"], vector)
    name = args["exchange"]
    if name == delayed.entry_exchange():
        return delayed.delayed_topology()
    if name == "celery.pidbox":
        node = queue.removesuffix(".celery.pidbox")
        return topology.control_requests(node) if node != queue else (topology.control_exchange(),)
    if name == "reply.celery.pidbox":
        oid = queue.removesuffix(".reply.celery.pidbox")
        return topology.control_replies(oid) if oid != queue else (topology.reply_exchange(),)
    if name == "celeryev":
        unique = queue.removeprefix("celeryev.")
        return topology.events(unique, key) if unique != queue else (topology.event_exchange(),)
    if name == topology.WORKER_DIRECT_EXCHANGE:
        return topology.worker_direct(queue.removesuffix(".dq2"))
    given = topology.Queue(queue, arguments=calls[1][1]["arguments"])
    return topology.task_queue(given, topology.Exchange(name, args["type"]), key)


def lone_queue(name: str, vector: Vector) -> topology.Topology:
    if re.fullmatch(UUID, name):
        return topology.rpc_replies(name)
    if re.fullmatch("[0-9a-f]{32}", name):
        return topology.foreign_results(name)
    assert vector.case == "amqp/seq/precondition-failed", name  # somebody had declared it otherwise, by hand
    return (topology.Queue(name, durable=False),)


@claim("amqp/seq/quorum-native-delayed", "amqp/seq/quorum-direct")
def delays(vector: Vector, tally: Tally) -> None:
    """The routing keys of delayed messages; a task for a direct exchange goes the usual way."""
    for where, frame in published(vector):
        route = (frame["args"]["exchange"], frame["args"]["routing_key"])
        waiting = delayed.parse_delayed_routing_key(route[1])
        if waiting is None:
            assert delayed.delayed_route(5, "direct", route[1]) is None, where
        else:
            assert waiting == (5, "qq")
            assert delayed.delayed_route(5.2, "topic", "qq") == route
        tally.saw("AMQP delayed route", rebuilt=True)


def published(vector: Vector) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((where, frame) for where, frame in vector.frames() if frame["method"] == "basic.publish")


@claim("amqp/seq/*")
def prefetch(vector: Vector, tally: Tally) -> None:
    """`global` in basic.qos as the queues of the worker and the broker's version demand."""
    queues = [
        topology.Queue(frame["args"]["queue"], arguments=frame["args"]["arguments"])
        for _, frame in vector.frames()
        if frame["method"] == "queue.declare" and not frame["args"]["queue"].startswith("celery_delayed_")
    ]
    server = {"product": "RabbitMQ", "version": "3.10.8"}
    for _, frame in vector.frames():
        if frame["method"] == "basic.qos":
            assert topology.qos_is_global(server, queues) is frame["args"]["global"]
            tally.saw("AMQP prefetch", rebuilt=True)


# -- every handshake --


@claim("amqp/seq/*", "event/amqp*", "client/celery*/amqp*")
def handshakes(vector: Vector, tally: Tally) -> None:
    """What stock clients answered from start to close."""
    asked: dict[tuple[int, str], dict[str, Any]] = {}
    stock = stock_connections(vector)
    for _, frame in vector.frames():
        name, args = frame["method"], frame["args"]
        if frame["from"] == "S":
            asked[frame["conn"], name] = args
        elif frame["conn"] in stock and name in {"connection.start-ok", "connection.tune-ok", "connection.open"}:
            assert answer(name, asked, frame) == args
            tally.saw("AMQP handshake", rebuilt=True)
        elif frame["conn"] in stock and name in {"connection.close", "channel.close"}:
            assert args == handshake.orderly_close()
            assert handshake.is_orderly(handshake.read_close(args))
            tally.saw("AMQP close", rebuilt=True)


def answer(name: str, asked: dict[tuple[int, str], dict[str, Any]], frame: dict[str, Any]) -> dict[str, Any]:
    if name == "connection.start-ok":
        return start_ok(asked[frame["conn"], "connection.start"], frame["args"])
    if name == "connection.tune-ok":
        return dict(handshake.tune_ok(asked[frame["conn"], "connection.tune"], frame["args"]["heartbeat"] and 120))
    return handshake.open_connection("wire")


def start_ok(start: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    client = seen["client_properties"]
    able = {"server_properties": {"capabilities": dict.fromkeys(client["capabilities"], True)}}
    answer = handshake.start_ok(
        able | start, "guest", "guest",
        login_methods=(seen["mechanism"],), product=client["product"], version=client["product_version"],
    )  # fmt: skip
    return answer | {"response": answer["response"].decode()}


@claim("amqp/seq/*", "client/*/amqp*")
def conversations(vector: Vector, tally: Tally) -> None:
    """All that each server said, as one stream: the inbox gives it back call by call."""
    streams: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for _, frame in vector.frames():
        if frame["from"] == "S" and frame.get("content") is None:
            streams[frame["conn"]].append(frame)
    for said in streams.values():
        stream = b"".join(frames.write_call(frame["chan"], frame["method"], frame["args"]) for frame in said)
        events = Inbox().feed(stream)
        assert [outline(event) for event in events] == [(frame["chan"], frame["method"]) for frame in said]
        tally.saw("AMQP conversation")


def outline(event: Any) -> tuple[int, str]:
    if isinstance(event, Confirmed):
        return event.channel, "basic.ack" if event.accepted else "basic.nack"
    assert isinstance(event, Called)
    return event.channel, event.name

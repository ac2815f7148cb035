"""Control requests and replies in the captures, mingle and elections among them."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from celeriac.protocol.wire import commands, control
from celeriac.protocol.wire.control import Hello
from tests.protocol.claims.events import messages
from tests.protocol.vectors import Tally, Vector, claim


@claim("*")
def requests_and_replies(vector: Vector, tally: Tally) -> None:
    asked: dict[str, control.Request] = {}
    for message, exchange, key in messages(vector, control.EXCHANGE.encode()):
        assert (exchange, key) == (control.EXCHANGE, "")
        request = control.parse_request(message)
        if b'"pattern"' in message.body:
            assert control.build_request(request) == message
        tally.saw(f"request {request.method}", rebuilt=b'"pattern"' in message.body)
        if request.ticket:
            assert request.reply_to == control.ReplyTo(control.REPLY_EXCHANGE, request.reply_to.routing_key)
            assert UUID(request.reply_to.routing_key).version == 3
            asked[request.ticket] = request
    for message, exchange, key in messages(vector, control.REPLY_EXCHANGE.encode()):
        assert exchange == control.REPLY_EXCHANGE
        reply = control.parse_reply(message)
        assert control.build_reply(reply) == message
        tally.saw("reply", rebuilt=True)
        request = asked.get(reply.ticket or "")
        if request is not None:
            assert request.reply_to.routing_key == key
            assert request.addressed_to(reply.node)
            _answer(request, reply.value, tally)


_TEXTS = {
    "revoke": lambda ask, _: commands.revoked(_ids(ask["task_id"])),
    "terminate": lambda *_: commands.NONE_TERMINATED,
    "add_consumer": lambda ask, _: commands.consumer_added(ask["queue"]),
    "cancel_consumer": lambda ask, _: commands.consumer_cancelled(ask["queue"]),
    "autoscale": lambda ask, _: commands.autoscaled(ask["max"], ask["min"]),
    "ping": lambda *_: commands.PONG,
    "heartbeat": lambda *_: None,
}

_ONE_OF = {
    "rate_limit": (
        *(commands.RATE_LIMIT_SET, commands.UNKNOWN_TASK),
        commands.bad_rate_limit(ValueError("could not convert string to float: 'abc'")),
    ),
    "time_limit": (commands.TIME_LIMITS_SET, commands.UNKNOWN_TASK),
    "enable_events": (commands.EVENTS_ENABLED, commands.EVENTS_ENABLED_BEFORE, commands.NO_EVENTS),
    "disable_events": (commands.EVENTS_DISABLED, commands.EVENTS_DISABLED_BEFORE, commands.NO_EVENTS),
    "pool_grow": (commands.POOL_GROWS, commands.no_resize("pool_grow")),
    "pool_shrink": (commands.POOL_SHRINKS, commands.no_resize("pool_shrink")),
    "pool_restart": (commands.POOL_RESTARTS, commands.NO_POOL_RESTARTS),
    "autoscale": (commands.NO_AUTOSCALE,),
    "objgraph": (commands.NO_OBJGRAPH,),
}

_SHAPES = {"ok": dict, "object": dict, "list": list, "text": (str, type(None)), "null": type(None)}


def _ids(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def _answer(request: control.Request, value: Any, tally: Tally) -> None:
    """The reply that our builders would have given to this request."""
    command = commands.BY_NAME.get(request.method)
    if command is None:
        assert value == commands.unknown(request.method)
        tally.saw("reply text", rebuilt=True)
        return
    complaint = command.complaint(request.arguments)
    if complaint is not None:
        assert value == commands.raised(complaint)
        tally.saw("reply text", rebuilt=True)
        return
    if isinstance(value, dict) and "error" in value:
        assert value in _ONE_OF[command.name]
        tally.saw("reply text", rebuilt=True)
        return
    assert isinstance(value, _SHAPES[command.reply])
    if command.name == "hello":
        _hello(request, value, tally)
    elif command.name == "revoke_by_stamped_headers":
        headers = commands.stamp_headers(request.arguments["headers"])
        assert value in (commands.stamps_revoked(headers), commands.stamps_not_terminated(headers))
        tally.saw("reply text", rebuilt=True)
    elif command.name in _ONE_OF and value in _ONE_OF[command.name]:
        tally.saw("reply text", rebuilt=True)
    elif command.name == "revoke" and request.arguments.get("terminate"):
        assert value in (commands.NONE_TERMINATED, commands.terminated(_ids(request.arguments["task_id"])))
        tally.saw("reply text", rebuilt=True)
    elif command.name in _TEXTS:
        made = _TEXTS[command.name](request.arguments, value)
        assert _unordered(made) == _unordered(value)
        tally.saw("reply text", rebuilt=True)
    else:
        _tasks(command.name, value, tally)


def _unordered(reply: Any) -> Any:
    """Stock names revoked ids in the random order of a set."""
    found = re.fullmatch(r"tasks \{(.*)\} flagged as revoked", (reply or {}).get("ok", ""))
    return sorted(found[1].split(", ")) if found else reply


def _tasks(name: str, value: Any, tally: Tally) -> None:
    tasks = {
        "active": lambda: value,
        "reserved": lambda: value,
        "scheduled": lambda: [entry["request"] for entry in value],
        "query_task": lambda: [entry[1] for entry in value.values()],
    }.get(name, list)()
    for task in tasks:
        assert tuple(task) == commands.REQUEST_KEYS
        assert tuple(task["delivery_info"]) == commands.DELIVERY_KEYS
        tally.saw("task in a reply")


def _hello(request: control.Request, value: Any, tally: Tally) -> None:
    sent = control.read_hello(request.arguments)
    told = control.read_hello(value)
    assert sent is not None
    assert told is not None
    assert set(sent.revoked) <= set(told.revoked)
    assert control.hello_reply(told) == value
    if isinstance(request.arguments.get("revoked"), list):
        assert control.hello(request.arguments["from_node"], sent.revoked) == request.arguments
    assert isinstance(told, Hello)
    tally.saw("mingle", rebuilt=True)


@claim("misc/oid")
def oids(vector: Vector, tally: Tally) -> None:
    captured = vector.capture
    made = UUID(control.oid(1, 2, 3, 4))
    assert UUID(captured["thread_oid"]).version == UUID(captured["generate_oid(1,2,3,inst)"]).version == made.version
    assert captured["thread_oid"] == captured["same_again"]
    tally.saw("oid")

"""Remote control: what a request to the workers and a worker's reply look like (kombu's pidbox), and who is meant.

Law: a request is for everybody, unless it names its destinations or gives pattern and matcher both. `expires` is
not looked at. What arrives is checked before anybody acts on it: content that is not accepted is not decoded, keys that
are not known are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import BadMessage, shown
from ..values import dataclass, field, replace
from .message import Message
from .message_reading import Reader
from .node_match import fits
from .serializers import encode

NAMESPACE: Final = "celery"
EXCHANGE: Final = "celery.pidbox"
REPLY_EXCHANGE: Final = "reply.celery.pidbox"

_REQUEST = "control request"
_REPLY = "control reply"


@dataclass(frozen=True, slots=True)
class ReplyTo:
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Request:
    """One command to some workers. With a `ticket` and a `reply_to` they answer."""

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    destination: tuple[str, ...] | None = None
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_to: ReplyTo | None = None
    clock: int = 0
    expires: float = 0

    def addressed_to(self, node: str) -> bool:
        """Whether this node shall act. Raises BadMessage for a pattern that is none or would take too long."""
        if self.destination:
            return node in self.destination
        if self.pattern and self.matcher:
            return fits(node, self.pattern, self.matcher)
        return True


@dataclass(frozen=True, slots=True)
class Reply:
    """What one node answers: usually `{"ok": ...}` or `{"error": ...}`."""

    node: str
    value: Any
    ticket: str | None = None
    clock: int = 0
    expires: float = 0


@dataclass(frozen=True, slots=True)
class Speech:
    """How one side reads and writes control messages: by `accept_content` and `task_serializer`, as in kombu."""

    reader: Reader = field(default_factory=Reader)
    serializer: str = "json"

    def read(self, message: Message) -> Any:
        """What is in it. Who says nothing of its type writes JSON."""
        if not message.content_type:
            message = replace(message, content_type="application/json")
        return self.reader.decode(message)

    def write(self, body: Any, headers: dict[str, Any], delivery_mode: int) -> Message:
        content_type, encoding, payload = encode(body, self.serializer, self.reader.codecs.serializers)
        properties = {"delivery_mode": delivery_mode, "priority": 0}
        return Message(
            body=payload, content_type=content_type, content_encoding=encoding, headers=headers, properties=properties
        )


PLAIN: Final = Speech()
"""Celery's default: JSON alone."""


# --- names


def request_queue(node: str, namespace: str = NAMESPACE) -> str:
    return f"{node}.{namespace}.pidbox"


def reply_queue(oid: str, exchange: str = REPLY_EXCHANGE) -> str:
    return f"{oid}.{exchange}"


def oid(node_id: int, pid: int, thread_id: int, instance: int) -> str:
    """The id of a reply queue, from the machine's number, the process, the thread (0: all) and an object's id()."""
    import uuid

    return str(uuid.uuid3(uuid.NAMESPACE_OID, f"{node_id:x}-{pid:x}-{thread_id:x}-{instance:x}"))


# --- requests


def build_request(request: Request, speech: Speech = PLAIN) -> Message:
    body: dict[str, Any] = {
        "method": request.method,
        "arguments": dict(request.arguments),
        "destination": None if request.destination is None else list(request.destination),
        "pattern": request.pattern,
        "matcher": request.matcher,
    }
    if request.ticket and request.reply_to:
        body["ticket"] = request.ticket
        body["reply_to"] = {"exchange": request.reply_to.exchange, "routing_key": request.reply_to.routing_key}
    return speech.write(body, {"clock": request.clock, "expires": request.expires}, delivery_mode=2)


def parse_request(message: Message, speech: Speech = PLAIN) -> Request:
    """The request in a message; Celery 3.1 leaves out pattern and matcher."""
    return read_request(speech.read(message), message.headers)


def read_request(body: Any, headers: Mapping[str, Any]) -> Request:
    """The request in a decoded body."""
    if not isinstance(body, dict):
        raise BadMessage(_REQUEST, f"expected an object, got {shown(body)}")
    method = body.get("method")
    if not isinstance(method, str) or not method:
        raise BadMessage(_REQUEST, f"expected a text, got {shown(method)}", field="method")
    arguments = body.get("arguments") or {}
    if not isinstance(arguments, dict) or not all(isinstance(name, str) for name in arguments):
        raise BadMessage(_REQUEST, f"expected an object, got {shown(arguments)}", field="arguments")
    return Request(
        method,
        arguments,
        _destination(body.get("destination")),
        _text(body, "pattern"),
        _text(body, "matcher"),
        _text(body, "ticket"),
        _reply_to(body.get("reply_to")),
        _clock(headers),
        _expires(headers),
    )


def _destination(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise BadMessage(_REQUEST, f"expected a list of names or null, got {shown(value)}", field="destination")
    return tuple(names)


def _reply_to(value: Any) -> ReplyTo | None:
    if not value:
        return None
    if isinstance(value, dict):
        exchange, key = value.get("exchange"), value.get("routing_key")
        if isinstance(exchange, str) and isinstance(key, str):
            return ReplyTo(exchange, key)
    raise BadMessage(_REQUEST, f"expected exchange and routing_key, got {shown(value)}", field="reply_to")


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadMessage(_REQUEST, f"expected a text or null, got {shown(value)}", field=name)
    return value


# --- replies


def build_reply(reply: Reply, speech: Speech = PLAIN) -> Message:
    headers = {"ticket": reply.ticket, "clock": reply.clock}
    return speech.write({reply.node: reply.value}, headers, delivery_mode=1)


def parse_reply(message: Message, speech: Speech = PLAIN) -> Reply:
    return read_reply(speech.read(message), message.headers)


def read_reply(body: Any, headers: Mapping[str, Any]) -> Reply:
    """The reply in a decoded body."""
    if not isinstance(body, dict) or len(body) != 1:
        raise BadMessage(_REPLY, f"expected an object of one node, got {shown(body)}")
    ((node, value),) = body.items()
    if not isinstance(node, str):
        raise BadMessage(_REPLY, f"expected a text, got {shown(node)}", field="node")
    ticket = headers.get("ticket")
    if ticket is not None and not isinstance(ticket, str):
        raise BadMessage(_REPLY, f"expected a text, got {shown(ticket)}", field="ticket")
    return Reply(node, value, ticket, _clock(headers), _expires(headers))


def merge(replies: Sequence[Reply]) -> dict[str, Any]:
    """Node -> reply, as `inspect` gives it. The later of two replies of one node stands."""
    return {reply.node: reply.value for reply in replies}


# --- both


def _clock(headers: Mapping[str, Any]) -> int:
    """0 is what stock reads in the place of a clock that is missing."""
    clock = headers.get("clock") or 0
    if not isinstance(clock, int) or not -(2**63) < clock < 2**63:
        raise BadMessage("control message", f"expected an integer, got {shown(clock)}", field="clock")
    return clock


def _expires(headers: Mapping[str, Any]) -> float:
    """A time, or 0 for none. Nobody acts on it, so what is none counts as none."""
    expires = headers.get("expires")
    return expires if isinstance(expires, (int, float)) and not isinstance(expires, bool) else 0


# --- mingle


@dataclass(frozen=True, slots=True)
class Hello:
    """What two workers tell each other when one starts. `revoked`: ids, oldest first."""

    revoked: tuple[str, ...] = ()
    clock: int = 0


def hello(node: str, revoked: Sequence[str]) -> dict[str, Any]:
    """The arguments of the `hello` that a starting worker asks everybody with."""
    return {"from_node": node, "revoked": list(revoked)}


def hello_reply(told: Hello) -> dict[str, Any]:
    return {"revoked": list(told.revoked), "clock": told.clock}


def read_hello(value: Any) -> Hello | None:
    """What a node told, in the arguments of its `hello` or in its reply to ours; None: that was ourselves."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadMessage("hello", f"expected an object, got {shown(value)}")
    return Hello(read_revoked(value.get("revoked")), _clock(value))


def read_revoked(value: Any) -> tuple[str, ...]:
    """Revoked ids as a list; older nodes send an object of id and time. What is no id is left out."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple, dict)):
        raise BadMessage("hello", f"expected a list or an object of ids, got {shown(value)}", field="revoked")
    return tuple(ident for ident in value if isinstance(ident, str))

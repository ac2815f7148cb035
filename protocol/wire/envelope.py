"""kombu's JSON envelope: a message as it lies in a Redis list, with its body in base64 and its address inside.

Law: `build` writes kombu's bytes; `parse` reads whatever any known client writes, and what a stock worker loses
for want of a field is read where it can be read. Nothing here looks into the body.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping

from ..errors import BadCall, BadMessage, shown
from ..hints import Any
from ..values import dataclass
from .json import dumps, loads, plain_dumps, plain_loads
from .message import LOSSES, Message
from .quoting import quoted

_WHAT = "envelope"
LOWEST, HIGHEST = 0, 9
# What the envelope itself puts into the properties; the rest of them are the message's own.
_OWN = frozenset({"body_encoding", "delivery_tag", "delivery_info"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and how it came. `delivery_tag` None: it named none that can serve, its taker makes one."""

    message: Message
    delivery_tag: str | None
    exchange: str
    routing_key: str | None
    redelivered: bool
    priority: int


def build(
    message: Message,
    *,
    exchange: str,
    routing_key: str,
    delivery_tag: str,
    body_encoding: str | None = "base64",
) -> bytes:
    """The envelope as kombu writes it. `priority` is always in it; without one, 0."""
    properties = message.properties
    priority = properties.get("priority")
    if priority is not None:
        properties = {name: value for name, value in properties.items() if name != "priority"}
    return Frame.of(
        message.content_type, message.content_encoding, exchange, routing_key, priority or 0, body_encoding
    ).fill(message.body, dumps(message.headers), dumps(properties), delivery_tag)


@dataclass(frozen=True, slots=True)
class Frame:
    """The pieces of an envelope that stay the same from message to message, already JSON.

    A producer keeps one per queue and kind of message, and fills in the rest.
    """

    before_headers: str
    before_tag: str
    base64: bool

    @classmethod
    def of(
        cls,
        content_type: str | None,
        content_encoding: str | None,
        exchange: str,
        routing_key: str,
        priority: int,
        body_encoding: str | None = "base64",
    ) -> Frame:
        if body_encoding is not None and body_encoding.lower() not in ("base64", "utf-8"):
            raise BadCall(f"body_encoding is base64, utf-8 or None, not {shown(body_encoding)}")
        info = plain_dumps({"exchange": exchange, "routing_key": routing_key})
        return cls(
            f', "content-encoding": {plain_dumps(content_encoding)}'
            f', "content-type": {plain_dumps(content_type)}, "headers": ',
            f'"delivery_info": {info}, "priority": {dumps(priority)}'
            f', "body_encoding": {plain_dumps(body_encoding)}, "delivery_tag": ',
            body_encoding is not None and body_encoding.lower() == "base64",
        )

    def fill(self, body: bytes, headers: str, properties: str, delivery_tag: str) -> bytes:
        """`headers` and `properties` are JSON objects; the properties without those that the envelope adds."""
        text = f'"{b2a_base64(body, newline=False).decode()}"' if self.base64 else _json_text(body)
        comma = "" if properties == "{}" else ", "
        return (
            f'{{"body": {text}{self.before_headers}{headers}'
            f', "properties": {properties[:-1]}{comma}{self.before_tag}{quoted(delivery_tag)}}}}}'
        ).encode()


def _json_text(body: bytes) -> str:
    try:
        return plain_dumps(body.decode())
    except UnicodeDecodeError as problem:
        raise BadCall("a body that is not UTF-8 text needs body_encoding base64") from problem


def parse(data: bytes) -> Envelope:
    """Any client's envelope. Kombu's typed values in headers and properties become what they stand for."""
    return read(_loads(data))


def read(envelope: Any) -> Envelope:
    """The same from JSON that somebody else has decoded, as kombu's transports do."""
    raw = _mapping(envelope, "")
    headers = _mapping(raw.get("headers") or {}, "headers")
    properties = _mapping(raw.get("properties") or {}, "properties")
    info = _mapping(properties.get("delivery_info") or {}, "delivery_info")
    encoding = _text_or_none(raw.get("content-encoding"), "content-encoding")
    exchange = _text_or_none(info.get("exchange"), "exchange")
    return Envelope(
        Message(
            body=_body(raw.get("body"), properties.get("body_encoding")),
            content_type=_text_or_none(raw.get("content-type"), "content-type"),
            # celery-ts names the envelope's own base64 here, once a body is compressed.
            content_encoding="utf-8" if encoding == "base64" else encoding,
            headers=headers,
            properties={name: value for name, value in properties.items() if name not in _OWN},
        ),
        delivery_tag=_tag(properties.get("delivery_tag")),
        exchange=exchange or "",
        routing_key=_text_or_none(info.get("routing_key"), "routing_key"),
        redelivered=bool(info.get("redelivered")),
        priority=priority_of(properties),
    )


def priority_of(properties: Mapping[str, Any]) -> int:
    """0 to 9, as kombu clamps it. Celery 3.1 and gocelery write it into delivery_info."""
    value = properties.get("priority")
    if value is None:
        info = properties.get("delivery_info")
        value = info.get("priority") if isinstance(info, Mapping) else None
    return clamped(value)


def clamped(priority: object) -> int:
    """What is no number counts as 0, the default. No decimal does: its digits may take for ever to write out."""
    if type(priority) is int and LOWEST <= priority <= HIGHEST:
        return priority
    if not isinstance(priority, (int, float, str)):
        return LOWEST
    try:
        return min(max(int(priority), LOWEST), HIGHEST)
    except (ValueError, OverflowError):
        return LOWEST


def redelivered(data: bytes, losses: int = 0) -> bytes:
    """The envelope as kombu puts it back: both flags set, all else as it was, the delivery tag too. And the number of
    its losses, if there were any.

    Kombu sets neither, or loses the message, where headers or delivery_info are missing; a flag that has a place is
    set here. A typed value stays as it is written: nothing is decoded that could fail.
    """
    raw = _mapping(plain_loads(data, _WHAT), "")
    headers = raw.get("headers")
    if isinstance(headers, dict):
        headers["redelivered"] = True
        if losses:
            headers[LOSSES] = losses
    properties = raw.get("properties")
    info = properties.get("delivery_info") if isinstance(properties, dict) else None
    if isinstance(info, dict):
        info["redelivered"] = True
    return plain_dumps(raw).encode()


def _loads(data: bytes) -> Any:
    """With typed values where there are any; a type that nobody knows leaves the envelope readable."""
    try:
        return loads(data, _WHAT)
    except BadMessage:
        return plain_loads(data, _WHAT)


def _mapping(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadMessage(_WHAT, f"expected an object, got {shown(value)}", field=field)
    return value


def _text_or_none(value: Any, field: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise BadMessage(_WHAT, f"expected a text, got {shown(value)}", field=field)


def _tag(value: Any) -> str | None:
    """A scalar as Redis would store it; what cannot be a hash field is no tag."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    if isinstance(value, str) and value and _is_utf8(value):
        return value
    return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _body(value: Any, encoding: Any) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str):
        raise BadMessage(_WHAT, f"expected a text, got {shown(value)}", field="body")
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise BadMessage(_WHAT, "text with lone surrogates", field="body") from None
    if not encoding:
        return data
    if isinstance(encoding, str):
        match encoding.lower():
            case "base64":
                return _unbase64(data)
            case "utf-8":
                return data
    raise BadMessage(_WHAT, f"expected base64 or utf-8, got {shown(encoding)}", field="body_encoding")


def _unbase64(data: bytes) -> bytes:
    try:
        return a2b_base64(data)
    except Base64Error as problem:
        raise BadMessage(_WHAT, f"not base64: {problem}", field="body") from None

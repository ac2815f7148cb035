"""From a message to its task, in two steps: the head, for whoever schedules; the body, for whoever runs it.

Law: protocol 2 is told by its headers alone, so its body is not decoded for the head. Protocol 1 keeps everything in
the body, which is then decoded once. Anything that is not a task message is BadMessage, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from ..errors import BadMessage, shown
from ..values import dataclass
from .compression import LIMIT, decompress
from .dates import UTC, parse_iso
from .fields import (
    WHAT,
    read_date,
    read_flag,
    read_id,
    read_integer,
    read_label,
    read_limits,
    read_name,
    read_names,
    read_stamps,
    refuse,
)
from .message import CODECS, Codecs, Headers, Limit, Message, Signature, Task, check_signature
from .serializers import JSON_ONLY, decode


@dataclass(frozen=True, slots=True)
class Reader:
    """How one side reads: the content types it accepts, its codecs, how far a body may unfold.

    `naive` is the zone of dates without one: UTC for stock workers, whatever their configured timezone.
    """

    accept: Container[str] = JSON_ONLY
    codecs: Codecs = CODECS
    limit: int = LIMIT
    naive: tzinfo = UTC

    def check(self, message: Message) -> None:
        """Refused, unless content of this type may be decoded."""
        decode(b"", message.content_type, message.content_encoding, self.accept, self.codecs.serializers)

    def decode(self, message: Message) -> Any:
        self.check(message)
        body, label = message.body, (message.headers or {}).get("compression")
        if label:
            body = decompress(body, label, self.limit, self.codecs.compressions)
        return decode(body, message.content_type, message.content_encoding, self.accept, self.codecs.serializers)


class Head(NamedTuple):
    """All that is known of a task before its body is decoded. Missing and null are one: the default.

    `fields` is the mapping that held them: the headers of protocol 2, the body of protocol 1. `payload` is the body,
    where it had to be decoded for this.
    """

    name: str
    id: str
    shadow: str | None
    eta_text: str | None
    expires_text: str | None
    group: str | None
    group_index: int | None
    retries: int
    timelimit: tuple[Limit, Limit]
    root_id: str | None
    parent_id: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    origin: str | None
    ignore_result: bool | None
    replaced_task_nesting: int
    stamped_headers: Sequence[str] | None
    stamps: Mapping[str, Any]
    lang: str | None
    eta: datetime | None
    expires: datetime | None
    protocol: int
    utc: bool
    reply_to: str | None
    correlation_id: str
    priority: int | None
    fields: Mapping[str, Any]
    payload: Any


class Body(NamedTuple):
    """What runs, and what follows it. `args` is None where the sender said null: the task then fails, as in Celery."""

    args: Sequence[Any] | None
    kwargs: Mapping[str, Any]
    callbacks: Sequence[Signature] | None
    errbacks: Sequence[Signature] | None
    chain: Sequence[Signature] | None
    chord: Signature | None


READER = Reader()
_UNLIMITED: tuple[Limit, Limit] = (None, None)
_NO_STAMPS: dict[str, Any] = {}

# In the order of Head: the header, the exact type that needs no reading (None: each is read), what stands for null.
_FIELDS: tuple[tuple[str, type | None, Any, Callable[[str, Any], Any]], ...] = (
    ("shadow", str, None, read_label),
    ("eta", None, None, read_date),
    ("expires", None, None, read_date),
    ("group", None, None, read_id),
    ("group_index", None, None, read_integer),
    ("retries", None, 0, read_integer),
    ("timelimit", None, _UNLIMITED, read_limits),
    ("root_id", None, None, read_id),
    ("parent_id", None, None, read_id),
    ("argsrepr", str, None, read_label),
    ("kwargsrepr", str, None, read_label),
    ("origin", str, None, read_label),
    ("ignore_result", bool, None, read_flag),
    ("replaced_task_nesting", None, 0, read_integer),
    ("stamped_headers", None, None, read_names),
    ("stamps", None, _NO_STAMPS, read_stamps),
    ("lang", str, None, read_label),
)
BUILT_IN = frozenset(name for name, *_ in _FIELDS) | {"task", "id", "compression"}

# What a hybrid takes from its body, unless the headers say otherwise.
_HYBRID = (
    *("lang", "task", "id", "root_id", "parent_id", "group", "meth", "shadow", "eta", "expires"),
    *("retries", "timelimit", "argsrepr", "kwargsrepr", "origin"),
)


def read_task(message: Message, reader: Reader = READER) -> Task:
    """Head and body at once, as a value that can be built again."""
    head = read_head(message, reader)
    return task_of(head, read_body(message, head, reader))


def read_head(message: Message, reader: Reader = READER) -> Head:
    """What the message says without its body, or BadMessage."""
    headers = message.headers or {}
    if not isinstance(headers, Mapping):
        raise refuse("headers", "a mapping", headers)
    if "task" not in headers:
        payload = reader.decode(message)
        if not isinstance(payload, Mapping) or "task" not in payload:
            raise BadMessage(WHAT, f"neither its headers nor its body names a task; the body is {shown(payload)}")
        return _head(message, _v1_fields(payload, headers), 1, payload, reader)
    reader.check(message)
    if not _may_be_hybrid(message):
        return _head(message, headers, 2, None, reader)
    payload = reader.decode(message)
    if not _is_hybrid(payload):
        return _head(message, headers, 2, payload, reader)
    return _head(message, {**{key: payload.get(key) for key in _HYBRID}, **headers}, 2, payload, reader)


def read_body(message: Message, head: Head, reader: Reader = READER) -> Body:
    """What to run and what follows, or BadMessage. A hybrid hidden by compression is found here, without its dates."""
    payload = reader.decode(message) if head.payload is None else head.payload
    if head.protocol == 1 or _is_hybrid(payload):
        return _body(payload.get("args", ()), payload.get("kwargs", _NO_STAMPS), {**payload, "chain": None})
    if not isinstance(payload, (list, tuple)) or len(payload) != 3:  # noqa: PLR2004 - args, kwargs, embed
        raise refuse("body", "[args, kwargs, embed]", payload)
    args, kwargs, embed = payload
    if embed and not isinstance(embed, Mapping):
        raise refuse("embed", "a mapping", embed)
    return _body(args, kwargs, embed or _NO_STAMPS)


def task_of(head: Head, body: Body) -> Task:
    """One value of both, to be passed on."""
    return Task(
        name=head.name,
        id=head.id,
        args=body.args,
        kwargs=body.kwargs,
        callbacks=body.callbacks,
        errbacks=body.errbacks,
        chain=body.chain,
        chord=body.chord,
        shadow=head.shadow,
        eta=head.eta_text,
        expires=head.expires_text,
        group=head.group,
        group_index=head.group_index,
        retries=head.retries,
        timelimit=head.timelimit,
        root_id=head.root_id,
        parent_id=head.parent_id,
        argsrepr=head.argsrepr,
        kwargsrepr=head.kwargsrepr,
        origin=head.origin,
        ignore_result=head.ignore_result,
        replaced_task_nesting=head.replaced_task_nesting,
        stamped_headers=head.stamped_headers,
        stamps=head.stamps,
        lang=head.lang,
        headers=own_headers(head),
        protocol=head.protocol,
        utc=head.utc,
    )


def own_headers(head: Head) -> Headers:
    """The headers that the sender added, in their order."""
    if head.protocol == 1:
        return {key: value for key, value in head.fields["headers"].items() if key != "compression"}
    return {key: value for key, value in head.fields.items() if key not in BUILT_IN}


def _v1_fields(payload: Mapping[str, Any], headers: Mapping[str, Any]) -> dict[str, Any]:
    """The body of protocol 1 as a stock worker reads it; `taskset` is the old name of the group, and wins."""
    fields = {**payload, "headers": headers}
    if "taskset" in payload:
        fields["group"] = payload["taskset"]
    return fields


def _head(message: Message, fields: Mapping[str, Any], protocol: int, payload: Any, reader: Reader) -> Head:
    get = fields.get
    values: list[Any] = [read_name("task", get("task")), read_name("id", get("id"))]
    for name, plain, missing, read in _FIELDS:
        value = get(name)
        if value is None:
            value = missing
        elif type(value) is not plain:
            value = read(name, value)
        values.append(value)
    eta, expires = values[3], values[4]
    properties = message.properties or {}
    values += (
        eta and parse_iso(eta, reader.naive, what=WHAT, field="eta"),
        expires and parse_iso(expires, reader.naive, what=WHAT, field="expires"),
        protocol,
        True if payload is None else _utc(payload),
        _property(properties, "reply_to", "replyTo"),
        _property(properties, "correlation_id", "correlationId") or values[1],
        _priority(properties.get("priority")),
        fields,
        payload,
    )
    return Head._make(values)


def _utc(payload: Any) -> bool:
    return bool(payload.get("utc", True)) if isinstance(payload, Mapping) else True


def _property(properties: Mapping[str, Any], name: str, camel: str) -> str | None:
    """A property that names somebody. JavaScript clients spell it their way; what is no text names nobody."""
    value = properties.get(name) or properties.get(camel)
    return value if isinstance(value, str) and value else None


def _priority(value: Any) -> int | None:
    """Redis brings whatever the sender wrote; a stock worker takes what is no number for none."""
    try:
        return None if value is None else read_integer("priority", value)
    except BadMessage:
        return None


def _body(args: Any, kwargs: Any, embed: Mapping[str, Any]) -> Body:
    if args is not None and not isinstance(args, (list, tuple)):
        raise refuse("args", "a list", args)
    if not isinstance(kwargs, Mapping):
        raise refuse("kwargs", "a mapping", kwargs)
    chord = embed.get("chord")
    if chord is not None:
        check_signature(chord, WHAT, "chord")
    callbacks, errbacks, chain = (_signatures(embed, field) for field in ("callbacks", "errbacks", "chain"))
    return Body(args, kwargs, callbacks, errbacks, chain, chord)


def _signatures(embed: Mapping[str, Any], field: str) -> Sequence[Signature] | None:
    found = embed.get(field)
    if found is None:
        return None
    if not isinstance(found, (list, tuple)):
        raise refuse(field, "a list of signatures", found)
    for place, value in enumerate(found):
        check_signature(value, WHAT, f"{field}[{place}]")
    return found


def _is_hybrid(payload: Any) -> bool:
    """Headers of protocol 2 over a body of protocol 1."""
    return isinstance(payload, Mapping) and "args" in payload


def _may_be_hybrid(message: Message) -> bool:
    """Whether the body looks like a mapping, told by its first byte: a body in vain decoded costs, a pickle harms."""
    if (message.headers or {}).get("compression"):
        return False
    looks = _MAPPINGS.get(message.content_type or "")
    return looks is not None and looks(message.body[:_PEEK].lstrip()[:1])


_PEEK = 64
_MAPPINGS: dict[str, Callable[[bytes], bool]] = {
    "application/json": lambda first: first == b"{",
    "application/x-msgpack": lambda first: b"\x80" <= first <= b"\x8f" or first in (b"\xde", b"\xdf"),
    "application/x-yaml": lambda first: first not in (b"[", b"-"),
}

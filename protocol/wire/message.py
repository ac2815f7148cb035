"""Task messages as values: what a transport carries, and what a task message says.

Law: a `Message` is alike for Redis and AMQP, its properties are in kombu's order; a `Task` is every field of a task
message, whichever protocol carries it; `build` writes what Celery 5.7 writes, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import BadCall, BadMessage, shown
from ..hints import TYPE_CHECKING, Any
from ..values import dataclass, field
from .serializers import BUILTIN as SERIALIZERS
from .serializers import Serializers, encode

if TYPE_CHECKING:
    from .compression import Compressions

Headers = dict[str, Any]
#: The plain dict of a call that has not been made yet: task, args, kwargs, options, subtask_type, immutable.
Signature = dict[str, Any]
Limit = int | float | None

PERSISTENT = 2
LOSSES = "celeriac_losses"
"""A header of a message that went back since what ran it was lost: for how many times. No part of the task."""
_MOST_LOSSES = 1 << 31


@dataclass(frozen=True, slots=True)
class Message:
    """What a transport carries. `properties` leave out the content's type and encoding, and what only Redis needs."""

    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    headers: Headers = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)


def losses_in(headers: Headers) -> int:
    """Taken out of them: it is not for the task, nor for the messages that it sends."""
    found = headers.pop(LOSSES, 0)
    return found if type(found) is int and 0 <= found < _MOST_LOSSES else 0


@dataclass(frozen=True, slots=True)
class Task:
    """Every field of a task message. `headers` are the sender's own: merged last, they override built-in ones.

    `eta` and `expires` are the texts that travel, since a message passed on must say what it said. `chain` is the
    rest of a chain, last step first. `timelimit` is hard, soft.
    """

    name: str
    id: str
    args: Sequence[Any] | None = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Sequence[Signature] | None = None
    errbacks: Sequence[Signature] | None = None
    chain: Sequence[Signature] | None = None
    chord: Signature | None = None
    shadow: str | None = None
    eta: str | None = None
    expires: str | None = None
    group: str | None = None
    group_index: int | None = None
    retries: int = 0
    timelimit: tuple[Limit, Limit] = (None, None)
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = ""
    kwargsrepr: str | None = ""
    origin: str | None = ""
    ignore_result: bool | None = None
    replaced_task_nesting: int = 0
    stamped_headers: Sequence[str] | None = None
    stamps: Mapping[str, Any] = field(default_factory=dict)
    lang: str | None = "py"
    headers: Mapping[str, Any] = field(default_factory=dict)
    protocol: int = 2
    utc: bool = True


@dataclass(frozen=True, slots=True)
class Posting:
    """What is said about a message besides the task: its properties and how its body is written.

    `extra` properties may override the first two, as a caller's unknown options do in Celery.
    """

    reply_to: str = ""
    delivery_mode: int = PERSISTENT
    priority: int | None = 0
    expiration: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    serializer: str = "json"
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class Codecs:
    """The serializers and compressions that there are. None: the built-in ones, loaded by who uses one of them."""

    serializers: Serializers = field(default_factory=lambda: SERIALIZERS)
    compressions: Compressions | None = None


CODECS = Codecs()


def build(task: Task, posting: Posting | None = None, codecs: Codecs | None = None) -> Message:
    """The message that Celery would send for this task.

    >>> build(Task("add", "1", (2, 2))).body
    b'[[2, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    """
    shape = SHAPES.get(task.protocol)
    if shape is None:
        raise BadCall(f"there is no task protocol {task.protocol!r}, only 1 and 2")
    headers, body = shape(task)
    posting = posting or Posting()
    codecs = codecs or CODECS
    content_type, content_encoding, content = encode(body, posting.serializer, codecs.serializers)
    if posting.compression:
        from .compression import compress

        content, headers["compression"] = compress(content, posting.compression, codecs.compressions)
    return Message(content, content_type, content_encoding, headers, properties_of(task.id, posting))


def shape_v2(task: Task) -> tuple[Headers, tuple[Any, ...]]:
    """The headers and the body of protocol 2, the body not yet serialized."""
    headers = {
        "lang": task.lang,
        "task": task.name,
        "id": task.id,
        "shadow": task.shadow,
        "eta": task.eta,
        "expires": task.expires,
        "group": task.group,
        "group_index": task.group_index,
        "retries": task.retries,
        "timelimit": list(task.timelimit),
        "root_id": task.root_id or task.id,
        "parent_id": task.parent_id,
        "argsrepr": task.argsrepr,
        "kwargsrepr": task.kwargsrepr,
        "origin": task.origin,
        "ignore_result": task.ignore_result,
        "replaced_task_nesting": task.replaced_task_nesting,
        "stamped_headers": task.stamped_headers,
        "stamps": task.stamps,
    }
    headers.update(task.headers)
    embed = {"callbacks": task.callbacks, "errbacks": task.errbacks, "chain": task.chain, "chord": task.chord}
    return headers, (task.args, task.kwargs, embed)


def shape_v1(task: Task) -> tuple[Headers, dict[str, Any]]:
    """The headers and the body of protocol 1. What it has no field for is left out: see `message_v1.to_v1`."""
    body = {
        "task": task.name,
        "id": task.id,
        "args": task.args,
        "kwargs": task.kwargs,
        "group": task.group,
        "group_index": task.group_index,
        "retries": task.retries,
        "eta": task.eta,
        "expires": task.expires,
        "utc": task.utc,
        "callbacks": task.callbacks,
        "errbacks": task.errbacks,
        "timelimit": task.timelimit,
        "taskset": task.group,
        "chord": task.chord,
    }
    return dict(task.headers), body


BUILT_IN_ORDER = tuple(shape_v2(Task("", ""))[0])
SHAPES = {1: shape_v1, 2: shape_v2}


def properties_of(task_id: str, posting: Posting) -> dict[str, Any]:
    """The properties in kombu's order. An absent priority is not the same as 0: RabbitMQ sorts by it."""
    properties: dict[str, Any] = {"correlation_id": task_id, "reply_to": posting.reply_to}
    if posting.extra:
        properties.update(posting.extra)
    properties["delivery_mode"] = posting.delivery_mode
    if posting.expiration is not None:
        properties["expiration"] = posting.expiration
    if posting.priority is not None:
        properties["priority"] = posting.priority
    return properties


def read_signature(value: Any, what: str = "task message", field_name: str = "signature") -> Signature:
    """A signature with all six keys, its types checked; what else it holds (4.4's chord_size) is kept."""
    check_signature(value, what, field_name)
    read: Signature = {
        "task": value["task"],
        "args": value.get("args") or [],
        "kwargs": value.get("kwargs") or {},
        "options": value.get("options") or {},
        "subtask_type": value.get("subtask_type"),
        "immutable": bool(value.get("immutable")),
    }
    read.update((key, item) for key, item in value.items() if key not in read)
    return read


def check_signature(value: Any, what: str, field_name: str) -> None:
    """BadMessage unless this could be called; missing and null parts stand for empty ones."""
    if not isinstance(value, dict):
        raise BadMessage(what, f"expected a signature, got {shown(value)}", field=field_name)
    for key, kinds, expected in _PARTS:
        part = value.get(key)
        if part is None and key != "task":
            continue
        if not isinstance(part, kinds):
            raise BadMessage(what, f"expected {expected}, got {shown(part)}", field=f"{field_name}.{key}")


_PARTS: tuple[tuple[str, Any, str], ...] = (
    ("task", str, "a name"),
    ("args", (list, tuple), "a list"),
    ("kwargs", dict, "a mapping"),
    ("options", dict, "a mapping"),
    ("subtask_type", str, "a text"),
)

"""Events of tasks and workers: one JSON object, or an array of them under the routing key `<group>.multi`.

Law: the common fields stand in front, then the event's own in the order of `FIELDS`, then what somebody added,
then `timestamp` and `type`. A reader keeps fields that it does not know, and checks those it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ..errors import BadCall, BadMessage, shown
from ..values import dataclass, field
from . import json
from .message import Message

_WHAT = "event"

EXCHANGE: Final = "celeryev"
BATCH: Final = 24
"""How many buffered events are sent together at most."""

_SOFTWARE = ("sw_ident", "sw_ver", "sw_sys")
_WORKER = ("freq", "active", "processed", "loadavg", *_SOFTWARE)

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "task-sent": (
        *("uuid", "root_id", "parent_id", "name", "args", "kwargs", "retries"),
        *("eta", "expires", "queue", "exchange", "routing_key"),
    ),
    "task-received": (
        "uuid",
        "name",
        "args",
        "kwargs",
        "root_id",
        "parent_id",
        "retries",
        "eta",
        "expires",
    ),
    "task-started": ("uuid",),
    "task-succeeded": ("uuid", "result", "runtime"),
    "task-failed": ("uuid", "exception", "traceback"),
    "task-retried": ("uuid", "exception", "traceback"),
    "task-revoked": ("uuid", "terminated", "signum", "expired"),
    "task-rejected": ("uuid", "requeue"),
    "worker-online": _WORKER,
    "worker-heartbeat": _WORKER,
    "worker-offline": _WORKER,
    "worker-elect": ("id", "topic", "action", "cver"),
    "worker-elect-ack": ("id",),
}
"""Type -> its fields in order. Not every event of a type has them all; none is sent as null for lack of it."""

PARENT_REPORTED: Final = "ExceptionWithTraceback()"
"""The `exception` of a task-failed that the worker's parent process reports: time limit, lost child, reject."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `fields` are its own: all but the common ones that have attributes here."""

    type: str
    hostname: str | None = None
    utcoffset: float | None = None
    pid: int | None = None
    clock: int | None = None
    timestamp: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.type.partition("-")[0]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


# --- writing


def document(
    kind: str,
    fields: Mapping[str, Any],
    *,
    hostname: str,
    utcoffset: float,
    pid: int,
    clock: int | None,
    timestamp: float,
) -> dict[str, Any]:
    """The event as a dict, its keys in Celery's order. `utcoffset` counts hours west of UTC."""
    event: dict[str, Any] = {"hostname": hostname, "utcoffset": utcoffset, "pid": pid, "clock": clock}
    for name in FIELDS.get(kind, ()):
        if name in fields:
            event[name] = fields[name]
    event.update(fields)
    event["timestamp"] = timestamp
    event["type"] = kind
    return event


def build(
    kind: str,
    fields: Mapping[str, Any],
    *,
    hostname: str,
    utcoffset: float,
    pid: int,
    clock: int | None,
    timestamp: float,
) -> bytes:
    """One event as a body."""
    event = document(kind, fields, hostname=hostname, utcoffset=utcoffset, pid=pid, clock=clock, timestamp=timestamp)
    return json.dumps(event).encode()


def build_batch(events: Sequence[Mapping[str, Any]]) -> bytes:
    """Documents of one group as a body. Workers send their task events so, a single one too."""
    if not events:
        raise BadCall("a batch of events needs one at least")
    return json.dumps(list(events)).encode()


def routing_key(kind: str) -> str:
    return kind.replace("-", ".")


def batch_key(group: str = "task") -> str:
    return f"{group}.multi"


def message(body: bytes, hostname: str) -> Message:
    """What a transport carries: transient, priority 0, the sender in the headers."""
    return Message(
        body=body,
        content_type="application/json",
        content_encoding="utf-8",
        headers={"hostname": hostname},
        properties={"delivery_mode": 1, "priority": 0},
    )


# --- reading


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    """Finite, and one that arithmetic on floats survives."""
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


Check = tuple[str, Callable[[Any], bool]]
_TEXT: Check = ("a text", _is_text)
_INTEGER: Check = ("an integer", _is_integer)
_NUMBER: Check = ("a finite number", _is_number)
_TRUTH: Check = ("true or false", _is_truth)
_LIST: Check = ("a list", _is_list)

_COMMON: Mapping[str, Check] = {
    "hostname": _TEXT,
    "utcoffset": _NUMBER,
    "pid": _INTEGER,
    "clock": _INTEGER,
    "timestamp": _NUMBER,
}
# Not the fields that a worker takes from the task message as they are: there a sender may have put anything.
_TASK_CHECKS: Mapping[str, Check] = {
    "uuid": _TEXT,
    "result": _TEXT,
    "runtime": _NUMBER,
    "exception": _TEXT,
    "traceback": _TEXT,
    "terminated": _TRUTH,
    "expired": _TRUTH,
    "requeue": _TRUTH,
}
_WORKER_CHECKS: Mapping[str, Check] = {
    "freq": _NUMBER,
    "active": _INTEGER,
    "processed": _INTEGER,
    "loadavg": _LIST,
    "sw_ident": _TEXT,
    "sw_ver": _TEXT,
    "sw_sys": _TEXT,
    "id": _TEXT,
    "topic": _TEXT,
    "cver": _INTEGER,
}
_NEEDED: Mapping[str, str] = {"worker-elect": "id", "worker-elect-ack": "id"}


def parse(body: bytes | str) -> tuple[Event, ...]:
    """The events in a body, one or many."""
    return read(json.loads(body, _WHAT))


def read(value: Any) -> tuple[Event, ...]:
    """The events in a decoded body (`event_serializer` may be another than JSON)."""
    if isinstance(value, list):
        return tuple(map(_event, value))
    return (_event(value),)


def _event(value: Any) -> Event:
    if not isinstance(value, dict):
        raise BadMessage(_WHAT, f"expected an object, got {shown(value)}")
    kind = value.get("type")
    if not isinstance(kind, str) or not kind:
        raise BadMessage(_WHAT, f"expected a text, got {shown(kind)}", field="type")
    _check(value, _COMMON)
    if kind in FIELDS:
        _check_own(kind, value)
    own = {name: item for name, item in value.items() if name not in _COMMON and name != "type"}
    return Event(
        kind,
        value.get("hostname"),
        value.get("utcoffset"),
        value.get("pid"),
        value.get("clock"),
        value.get("timestamp"),
        own,
    )


def _check_own(kind: str, value: Mapping[str, Any]) -> None:
    task = kind.startswith("task-")
    needed = "uuid" if task else _NEEDED.get(kind)
    if needed is not None and value.get(needed) is None:
        raise BadMessage(_WHAT, f"missing in {shown(kind)}", field=needed)
    _check(value, _TASK_CHECKS if task else _WORKER_CHECKS)


def _check(value: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Null is as good as absent everywhere."""
    for name, (wanted, right) in checks.items():
        item = value.get(name)
        if item is not None and not right(item):
            raise BadMessage(_WHAT, f"expected {wanted}, got {shown(item)}", field=name)


# --- gossip


def elect(ident: str, topic: str, action: Any) -> dict[str, Any]:
    """The fields of a worker-elect: somebody asked for an election, and this worker stands."""
    return {"id": ident, "topic": topic, "action": action, "cver": 1}


def leader(requests: Iterable[Event]) -> Event:
    """Who of the worker-elect events of one election won: the lowest clock, then the lowest `hostname.pid`."""
    stand = [event for event in requests if event.type == "worker-elect"]
    if not stand:
        raise BadCall("an election needs one candidate at least")
    return min(stand, key=lambda event: (event.clock or 0, f"{event.hostname}.{event.pid}"))


def batches(events: Sequence[Mapping[str, Any]]) -> Iterable[Sequence[Mapping[str, Any]]]:
    """Documents cut into what one message takes."""
    return (events[i : i + BATCH] for i in range(0, len(events), BATCH))

"""The document of a task's result: `{"status", "result", "traceback", "children", "date_done", ..., "task_id"}`.

Law: we write what stock Celery writes, key for key in its order, in any serializer, compressed or not. We read
what anybody writes: gocelery's empty ids and bare `null`, celery-node's missing values and failures without an
exception, Celery 3.1's four keys. What says no status, or is no document at all, is a `BadMessage`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone, tzinfo
from typing import Any

from ..errors import BadMessage, shown
from ..values import dataclass, field
from . import children, dates, failure, states
from .failure import Failure
from .quoting import quoted
from .stored import JSON, Codec

_WHAT = "result"
ABOUT = ("name", "args", "kwargs", "worker", "retries", "queue")
_ABOUT = frozenset(ABOUT)
_KNOWN = frozenset(
    ("status", "result", "traceback", "children", "date_done", "group_id", "parent_id", "task_id")
).union(ABOUT, ("stamped_headers",))

NO_EXCEPTION = Failure("Exception", ("The task failed, and its worker stored no exception.",))
_MISSING = {states.FAILURE: NO_EXCEPTION, states.REVOKED: failure.revoked("revoked")}


@dataclass(frozen=True, slots=True)
class About:
    """What `result_extended` adds: the call itself. Arguments are values, not reprs."""

    name: str | None = None
    args: Any = None
    kwargs: Any = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None
    stamps: Mapping[str, Any] = field(default_factory=dict)
    stamped_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One stored state of one task.

    `result` is a `Failure` in the states of `states.EXCEPTIONS` (None in RETRY when there was no exception; a live
    exception where a pickle was accepted), and the value or the meta otherwise. `children` are result trees as
    lists (`children.parse` opens them). `extra` holds the keys that nobody knows.
    """

    task_id: str
    status: str = states.SUCCESS
    result: Any = None
    traceback: str | None = None
    children: list[Any] | None = None
    date_done: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    about: About | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.status in states.READY

    @property
    def failed(self) -> bool:
        return self.status in states.PROPAGATE

    def done_at(self, naive: tzinfo = timezone.utc) -> datetime | None:
        """When it was done. Celery 4 and 5.2 write no offset; then it is in `naive`."""
        if self.date_done is None:
            return None
        return dates.parse_iso(self.date_done, naive, what=_WHAT, field="date_done")


# --- writing


def document(result: Result) -> dict[str, Any]:
    """The document as a dict, its keys in Celery's order."""
    doc: dict[str, Any] = {
        "status": result.status,
        "result": result.result.build() if isinstance(result.result, Failure) else result.result,
        "traceback": result.traceback,
        "children": result.children,
        "date_done": result.date_done,
    }
    if result.group_id:
        doc["group_id"] = result.group_id
    if result.parent_id:
        doc["parent_id"] = result.parent_id
    if result.about is not None:
        _add_about(doc, result.about)
    doc.update(result.extra)
    doc["task_id"] = result.task_id
    return doc


def _add_about(doc: dict[str, Any], about: About) -> None:
    for key in ABOUT:
        doc[key] = getattr(about, key)
    if about.stamped_headers:
        doc["stamped_headers"] = list(about.stamped_headers)
        doc.update((name, about.stamps[name]) for name in about.stamps if name in about.stamped_headers)


def build(result: Result, codec: Codec = JSON) -> bytes:
    """The bytes to store."""
    if result.traceback is None and result.about is None and result.children == [] and not result.extra:
        found = plain(
            codec,
            result.task_id,
            result.result,
            result.date_done,
            result.group_id,
            result.parent_id,
            status=result.status,
        )
        if found is not None:
            return found
    return codec.encode(document(result))


def plain(
    codec: Codec,
    task_id: str,
    value: Any,
    date_done: str | None,
    group_id: str | None,
    parent_id: str | None,
    *,
    status: str = states.SUCCESS,
) -> bytes | None:
    """`build` of a result that says no more than this and has no children, in one step. None: only `build` can do it,
    or says why not."""
    row = codec.table.get(codec.serializer)
    if codec.compress is not None or row is None or not row.composes or row.encode is None:
        return None
    try:
        text = row.encode(value)
        if type(text) is not str:
            return None
        group = f'"group_id": {quoted(group_id)}, ' if group_id else ""
        parent = f'"parent_id": {quoted(parent_id)}, ' if parent_id else ""
        date = "null" if date_done is None else quoted(date_done)
        return (
            f'{{"status": {quoted(status)}, "result": {text}, "traceback": null, '
            f'"children": [], "date_done": {date}, {group}{parent}"task_id": {quoted(task_id)}}}'
        ).encode()
    except Exception:  # noqa: BLE001 - whatever a value of somebody's raises
        return None


# --- reading


def parse(data: bytes, codec: Codec = JSON, *, task_id: str | None = None) -> Result:
    """The result in stored or published bytes. `task_id` is the one in its key: it says more than the document."""
    value = codec.decode(data)
    if value is None:  # gocelery stores nothing else for a function that returns nothing
        value = {"status": states.SUCCESS}
    if not isinstance(value, dict):
        raise BadMessage(_WHAT, f"expected an object, got {shown(value)}; it begins {shown(data)}")
    return read(value, task_id)


def read(doc: Mapping[str, Any], task_id: str | None = None) -> Result:
    """The result in a decoded document."""
    status = doc.get("status")
    if not isinstance(status, str) or not status:
        raise BadMessage(_WHAT, f"expected a text, got {shown(status)} in {shown(doc)}", field="status")
    task_id = task_id or _text(doc.get("task_id"))
    if task_id is None:
        raise BadMessage(_WHAT, "neither it nor its key names a task", field="task_id")
    about, stamps = _read_about(doc)
    kids = doc.get("children")
    return Result(
        task_id,
        status,
        _value(status, doc.get("result")),
        _text(doc.get("traceback")),
        list(kids) if isinstance(kids, (list, tuple)) else None,
        _date(doc.get("date_done")),
        _text(doc.get("group_id")),
        _text(doc.get("parent_id")),
        about,
        {} if _KNOWN.issuperset(doc) else {key: doc[key] for key in doc if key not in _KNOWN and key not in stamps},
    )


def _value(status: str, value: Any) -> Any:
    if status not in states.EXCEPTIONS or isinstance(value, BaseException):
        return value
    if value is None or value == {}:
        return _MISSING.get(status)
    return failure.parse(value)


def _read_about(doc: Mapping[str, Any]) -> tuple[About | None, Mapping[str, Any]]:
    if _ABOUT.isdisjoint(doc):
        return None, {}
    names = doc.get("stamped_headers")
    stamped = tuple(name for name in names if isinstance(name, str)) if isinstance(names, (list, tuple)) else ()
    wanted = frozenset(stamped)
    stamps = {key: item for key, item in doc.items() if key in wanted and key not in _KNOWN}
    retries = doc.get("retries")
    return About(
        _text(doc.get("name")),
        doc.get("args"),
        doc.get("kwargs"),
        _text(doc.get("worker")),
        retries if isinstance(retries, int) else None,
        _text(doc.get("queue")),
        stamps,
        stamped,
    ), stamps


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _date(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else _text(value)


# --- groups


def build_group(group: children.Node, codec: Codec = JSON) -> bytes:
    """A saved group result: `{"result": [[id, parent], [member, ...]]}`."""
    return codec.encode({"result": children.build(group)})


def parse_group(data: bytes, codec: Codec = JSON) -> children.Node:
    """The group that was saved, by Celery 3.1 too."""
    value = codec.decode(data)
    if not isinstance(value, dict) or "result" not in value:
        raise BadMessage("group result", f'expected {{"result": ...}}, got {shown(value)}; it begins {shown(data)}')
    return children.parse(value["result"])

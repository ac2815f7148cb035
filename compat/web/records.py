"""What is remembered of tasks and workers, as their events tell it.

Law: nothing here asks, waits or reads a clock. Events are somebody else's: what makes no sense is counted and passed
over, a text is clipped to the room it has, and a time that cannot be is replaced by the time of hearing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..states import RECEIVED, REJECTED, RETRY, precedence
from .series import Series

STATES = {
    "task-sent": "PENDING",
    "task-received": RECEIVED,
    "task-started": "STARTED",
    "task-succeeded": "SUCCESS",
    "task-failed": "FAILURE",
    "task-retried": RETRY,
    "task-revoked": "REVOKED",
    "task-rejected": REJECTED,
}
ENDED = frozenset({"SUCCESS", "FAILURE", "REVOKED", REJECTED})

_STEPS = 40
"""Of one task: the first and the newest are kept."""
_AHEAD = 16.0  # seconds that another machine's clock may go before ours
_WORKERS = 5000
_ROOM = {"args": 2000, "kwargs": 2000, "result": 2000, "exception": 2000, "traceback": 16000, "name": 300}
_IDS = ("root_id", "parent_id", "group_id")
_TEXTS = ("name", "args", "kwargs", "result", "exception", "traceback", "queue", "eta", "expires")


@dataclass(slots=True)
class Step:
    """Something that happened to a task."""

    at: float
    kind: str
    worker: str = ""
    told: str = ""


@dataclass(slots=True)
class Record:
    """One task."""

    id: str
    updated: float = 0.0
    name: str = ""
    state: str = "PENDING"
    worker: str = ""
    queue: str = ""
    args: str = ""
    kwargs: str = ""
    result: str = ""
    exception: str = ""
    traceback: str = ""
    root_id: str = ""
    parent_id: str = ""
    group_id: str = ""
    eta: str = ""
    expires: str = ""
    retries: int = 0
    sent: float = 0.0
    received: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    runtime: float | None = None
    steps: list[Step] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Record:
        """What `document` gave; of another version's, what is known here. Raises TypeError or KeyError."""
        known = {each.name for each in fields(cls)}
        record = cls(**{name: value for name, value in document.items() if name in known})
        record.steps = [Step(*(each[name] for name in ("at", "kind", "worker", "told"))) for each in document["steps"]]
        return record


@dataclass(slots=True)
class Node:
    """One worker."""

    name: str
    heard: float = 0.0
    online: bool = True
    freq: float = 2.0
    active: int = 0
    processed: int = 0
    load: tuple[float, ...] = ()
    software: str = ""
    pid: int = 0

    def alive(self, now: float) -> bool:
        """As Celery counts: two heartbeats may fail to come, and a slow network is no death."""
        return self.online and now < self.heard + max(self.freq * 2, 8.0)

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Records:
    """Tasks and workers, the newest of them; `changed` are those that are to be written down.

    `recall` gives the record of a task that is remembered elsewhere, or None.
    """

    def __init__(
        self, series: Series, recall: Callable[[str], Record | None] = lambda _: None, room: int = 5000
    ) -> None:
        self.series = series
        self.nodes: OrderedDict[str, Node] = OrderedDict()
        self.changed: dict[str, Record] = {}
        self.changed_nodes: dict[str, Node] = {}
        self.heard = 0
        self.senseless = 0
        self._recall = recall
        self._room = room
        self._tasks: OrderedDict[str, Record] = OrderedDict()

    def hear(self, event: Any, now: float) -> None:
        """Take in an event, whatever it is."""
        self.heard += 1
        kind = event.get("type") if isinstance(event, Mapping) else None
        if not isinstance(kind, str):
            self.senseless += 1
        elif kind.startswith("worker-"):
            self._node(kind, event, now)
        elif kind.startswith("task-"):
            self._task(kind[:60], event, now)

    def flushed(self) -> tuple[list[Record], list[Node]]:
        """What has changed since the last time; from here on it counts as written."""
        tasks, nodes = list(self.changed.values()), list(self.changed_nodes.values())
        self.changed, self.changed_nodes = {}, {}
        return tasks, nodes

    def known(self, uuid: str) -> Record | None:
        """The task, if anybody has told of it."""
        return self._tasks.get(uuid) or self._recall(uuid)

    def learn_group(self, uuid: str, group: str) -> None:
        """What no event told: the task is of this group."""
        record = self._record(uuid)
        record.group_id = group[:255]
        self.changed[uuid] = record

    # --- workers

    def _node(self, kind: str, event: Mapping[str, Any], now: float) -> None:
        hostname = event.get("hostname")
        name = text(hostname, 300) if isinstance(hostname, str) else ""
        if not name:
            self.senseless += 1
            return
        node = self.nodes.setdefault(name, Node(name))
        self.nodes.move_to_end(name)
        if len(self.nodes) > _WORKERS:
            self.nodes.popitem(last=False)
        node.heard, node.online = now, kind != "worker-offline"
        node.freq = min(max(number(event.get("freq"), node.freq), 0.1), 3600.0)
        node.active = int(number(event.get("active"), node.active))
        node.processed = int(number(event.get("processed"), node.processed))
        node.pid = int(number(event.get("pid"), node.pid))
        load = event.get("loadavg")
        if isinstance(load, (list, tuple)):
            node.load = tuple(number(each, 0.0) for each in load[:3])
        software = " ".join(text(event[each], 60) for each in ("sw_ident", "sw_ver", "sw_sys") if event.get(each))
        node.software = software or node.software
        self.changed_nodes[name] = node

    # --- tasks

    def _task(self, kind: str, event: Mapping[str, Any], now: float) -> None:
        uuid = event.get("uuid")
        if not isinstance(uuid, str) or not uuid or len(uuid) > 255:
            self.senseless += 1
            return
        record = self._record(uuid)
        at = number(event.get("timestamp"), now)
        if not 0 < at < now + _AHEAD:
            at = now
        state = STATES.get(kind)
        if state == RETRY:  # its worker tells of it when the next try may have ended already, elsewhere
            late = record.state in ("SUCCESS", "FAILURE")
        else:
            late = state is not None and record.state != RETRY and precedence(state) > precedence(record.state)
        if state == REJECTED and record.state not in ENDED:
            late = False  # it says less than a start in Celery's order, and yet it is the end
        self._adopt(record, event, late=late)
        worker = "" if kind == "task-sent" else text(event.get("hostname"), 300)
        if state is not None:
            self._count(record, state, at, event, late=late)
            if not late:
                record.state, record.worker = state, worker or record.worker
        record.steps.append(Step(at, kind[5:], worker, self._told(kind, event)))
        record.steps.sort(key=lambda step: step.at)
        if len(record.steps) > _STEPS:
            del record.steps[_STEPS // 2]
        record.updated = now
        self.changed[uuid] = record

    def _record(self, uuid: str) -> Record:
        record = self._tasks.get(uuid) or self.changed.get(uuid) or self._recall(uuid) or Record(uuid)
        self._tasks[uuid] = record
        self._tasks.move_to_end(uuid)
        if len(self._tasks) > self._room:
            self._tasks.popitem(last=False)
        return record

    def _adopt(self, record: Record, event: Mapping[str, Any], *, late: bool) -> None:
        """What the event says of the task; of a late one, only what was not known."""
        for name in _TEXTS:
            value = event.get(name)
            if value is not None and not (late and getattr(record, name)):
                setattr(record, name, text(value, _ROOM.get(name, 300)))
        for name in _IDS:
            if isinstance(event.get(name), str):
                setattr(record, name, text(event[name], 255))
        retries = event.get("retries")
        if isinstance(retries, int):
            record.retries = max(record.retries, min(retries, 1_000_000))

    def _count(self, record: Record, state: str, at: float, event: Mapping[str, Any], *, late: bool) -> None:
        """The times of the task, and what the charts are made of."""
        if state == "PENDING":
            record.sent = record.sent or at
        elif state == RECEIVED:
            record.received = at
        elif state == "STARTED":
            record.started = at
            since = record.sent or record.received
            if since and not record.eta and not late and not record.retries:
                self.series.waited(at, max(at - since, 0.0))
        elif state == RETRY:
            self.series.count(at, "retried")
        elif not late:
            again = record.state in ENDED
            record.ended = at
            runtime = number(event.get("runtime"), -1.0)
            if runtime >= 0:
                record.runtime = runtime
            if state in ("SUCCESS", "FAILURE") and not again:
                self.series.count(at, "succeeded" if state == "SUCCESS" else "failed")
                if runtime >= 0:
                    self.series.ran(at, runtime)

    def _told(self, kind: str, event: Mapping[str, Any]) -> str:
        """What stands beside a step."""
        if kind in ("task-failed", "task-retried"):
            return text(event.get("exception") or "", 500)
        if kind == "task-revoked":
            why = "it had expired" if event.get("expired") else "it was ended" if event.get("terminated") else ""
            return " ".join(each for each in (why, text(event.get("signum") or "", 20)) if each)
        if kind == "task-rejected":
            return "put back" if event.get("requeue") else "dropped"
        if kind in STATES:
            return ""
        own = {str(name): value for name, value in event.items() if name not in _COMMON}
        return text(own, 300) if own else ""


_COMMON = frozenset(
    ("type", "uuid", "hostname", "utcoffset", "pid", "clock", "timestamp", "local_received", "name", *_IDS)
)


def text(value: Any, room: int) -> str:
    """The value as a text of no more than this; a lone surrogate, which no file takes, becomes a question mark."""
    try:
        shown = value if isinstance(value, str) else str(value)
    except (RecursionError, ValueError):  # nested without end, or a number of more digits than Python writes
        shown = "…"
    if len(shown) > room:
        shown = shown[: room - 1] + "…"
    return shown.encode("utf-8", "replace").decode()


def number(value: Any, otherwise: float) -> float:
    """The value if it is a number that can be counted with."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return otherwise
    return float(value) if abs(value) < 1e15 and not math.isnan(value) else otherwise

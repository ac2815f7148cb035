"""What is known of a cluster: its workers and tasks, as its events tell.

Law: the same events make the same state as in Celery, oddities included: tools read every attribute, and a pickle of
one is read by the other. Tasks are ordered by the logical clock of their events (`taskheap`), which decides between
workers whose clocks disagree.
"""

from __future__ import annotations

import bisect
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from functools import cached_property
from itertools import islice
from time import time
from typing import Any
from weakref import WeakSet, ref

from kombu.clocks import timetuple
from kombu.utils.functional import LRUCache

from .. import states
from ..utils.log import get_logger

__all__ = ("State", "Task", "Worker", "heartbeat_expires")

PYPY = hasattr(sys, "pypy_version_info")

#: A worker counts as gone when its heart was not heard for this much of its frequency, in percent.
HEARTBEAT_EXPIRE_WINDOW = 200

#: Seconds that an event may have been on its way before clocks are suspected.
HEARTBEAT_DRIFT_MAX = 16

DRIFT_WARNING = (
    "The clocks here and on %s seem to disagree: an event of %s came %s seconds off, at %s. "
    "Let both machines keep time by NTP."
)

_OURS = "celery.events.state"  # in pickles, which either side reads

logger = get_logger(__name__)
warn = logger.warning

R_STATE = "<State: events={0.event_count} tasks={0.task_count}>"
R_WORKER = "<Worker: {0.hostname} ({0.status_string} clock:{0.clock})"
R_TASK = "<Task: {0.name}({0.uuid}) {0.state} clock:{0.clock}>"

TASK_EVENT_TO_STATE = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
}

_warned: Any = LRUCache(1000)


def _warn_drift(hostname: Any, drift: int, local_received: float, timestamp: float) -> None:
    """Once for each host."""
    if hostname not in _warned:
        _warned[hostname] = True
        made, came = (datetime.fromtimestamp(when, timezone.utc) for when in (timestamp, local_received))
        warn(DRIFT_WARNING, hostname, made, drift, came)


def heartbeat_expires(
    timestamp: Any,
    freq: Any = 60,
    expire_window: float = HEARTBEAT_EXPIRE_WINDOW,
    Decimal: Any = Decimal,
    float: Any = float,
    isinstance: Any = isinstance,
) -> Any:
    """When a worker counts as gone whose heart was last heard at `timestamp`. Some JSON readers give decimals."""
    freq = float(freq) if isinstance(freq, Decimal) else freq
    timestamp = float(timestamp) if isinstance(timestamp, Decimal) else timestamp
    return timestamp + freq * (expire_window / 1e2)


class CallableDefaultdict(defaultdict):  # type: ignore[type-arg]  # of any values
    """An index that may also be called, for the same in order."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.fun = fun
        super().__init__(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fun(*args, **kwargs)


def _depickle_task(cls: type[Task], fields: dict[str, Any]) -> Task:
    return cls(**fields)


class Worker:
    """What is known of a worker. Every field of its events becomes an attribute."""

    heartbeat_max = 4
    expire_window = HEARTBEAT_EXPIRE_WINDOW

    _fields = (
        *("hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg"),
        *("sw_ident", "sw_ver", "sw_sys"),
    )
    if not PYPY:
        __slots__ = (*_fields, "__dict__", "__weakref__")

    def __init__(
        self,
        hostname: Any = None,
        pid: Any = None,
        freq: Any = 60,
        heartbeats: list[float] | None = None,
        clock: Any = 0,
        active: Any = None,
        processed: Any = None,
        loadavg: Any = None,
        sw_ident: Any = None,
        sw_ver: Any = None,
        sw_sys: Any = None,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self.heartbeats = [] if heartbeats is None else heartbeats
        self.clock = clock or 0
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, name) for name in self._fields)

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
        max_drift: float = HEARTBEAT_DRIFT_MAX,
    ) -> None:
        """Take in an event of this worker."""
        if fields:
            self.update(fields)
        heartbeats = self.heartbeats
        if type_ == "offline":
            heartbeats.clear()
            return
        if not local_received or not timestamp:
            return
        drift = abs(int(local_received) - int(timestamp))
        if drift > max_drift:
            _warn_drift(self.hostname, drift, local_received, timestamp)
        if len(heartbeats) >= self.heartbeat_max:
            heartbeats.pop(0)
        bisect.insort(heartbeats, local_received)

    def update(self, f: Any, **kw: Any) -> None:
        """Set attributes."""
        for name, value in dict(f, **kw).items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        return R_WORKER.format(self)

    @property
    def status_string(self) -> str:
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def heartbeat_expires(self) -> Any:
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self, nowfun: Callable[[], float] = time) -> bool:
        return bool(self.heartbeats and nowfun() < self.heartbeat_expires)

    @property
    def id(self) -> str:
        return f"{self.hostname}.{self.pid}"


class Task:
    """What is known of a task. Every field of its events becomes an attribute."""

    name = received = sent = started = succeeded = failed = retried = revoked = rejected = None
    args = kwargs = eta = expires = retries = result = exception = timestamp = runtime = traceback = None
    exchange = routing_key = root_id = parent_id = client = None
    worker: Any = None
    state: Any = states.PENDING
    clock: Any = 0

    _fields = (
        *("uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried"),
        *("revoked", "args", "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp"),
        *("runtime", "traceback", "exchange", "routing_key", "clock", "client", "root", "root_id", "parent"),
        *("parent_id", "children"),
    )
    if not PYPY:
        __slots__ = ("__dict__", "__weakref__")

    #: Of an event that comes after those that follow from it, only these fields are news.
    merge_rules = {
        states.RECEIVED: ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"),
    }

    _info_fields = (
        *("args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange"),
        *("routing_key", "root_id", "parent_id"),
    )

    def __init__(
        self, uuid: Any = None, cluster_state: Any = None, children: Iterable[Any] | None = None, **kwargs: Any
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        known: Any = {} if cluster_state is None else cluster_state.tasks
        self.children: WeakSet[Task] = WeakSet(known.get(one) for one in children or () if one in known)
        self.__dict__.update(kwargs)

    @property
    def _serializer_handlers(self) -> dict[str, Callable[[Any], Any]]:
        """Not kept: a task that refers to itself would outlive its being forgotten."""
        return {
            "children": self._serializable_children,
            "root": self._serializable_root,
            "parent": self._serializable_parent,
        }

    def __eq__(self, other: object) -> bool:
        return self.uuid == other.uuid if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Any = None,
        precedence: Callable[[Any], Any] = states.precedence,
        setattr: Callable[..., None] = setattr,
        task_event_to_state: Callable[[str], Any] = TASK_EVENT_TO_STATE.get,
        RETRY: str = states.RETRY,
    ) -> None:
        """Take in an event of this task. `fields` gets the new state, if there is one."""
        fields = fields or {}
        state = task_event_to_state(type_)
        if state is None:
            state = type_.upper()  # somebody's own
        else:
            setattr(self, type_, timestamp)
        if RETRY not in (state, self.state) and precedence(state) > precedence(self.state):  # it is late
            keep = self.merge_rules.get(state)
            if keep is not None:
                fields = {name: value for name, value in fields.items() if name in keep}
        else:
            fields.update(state=state, timestamp=timestamp)
        self.__dict__.update(fields)

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None) -> dict[str, Any]:
        """What to show of the task: these fields where they are known."""
        names = (*(self._info_fields if fields is None else fields), *(extra or ()))
        found = ((name, getattr(self, name, None)) for name in names)
        return {name: value for name, value in found if value is not None}

    def __repr__(self) -> str:
        return R_TASK.format(self)

    def as_dict(self) -> dict[str, Any]:
        """Every field; other tasks by their ids."""
        own = self._serializer_handlers
        values = ((name, object.__getattribute__(self, name)) for name in self._fields)
        return {name: own[name](value) if name in own else value for name, value in values}

    def _serializable_children(self, value: Any) -> list[Any]:
        return [task.id for task in self.children]

    def _serializable_root(self, value: Any) -> Any:
        return self.root_id

    def _serializable_parent(self, value: Any) -> Any:
        return self.parent_id

    def __reduce__(self) -> Any:
        return _depickle_task, (type(self), self.as_dict())

    @property
    def id(self) -> Any:
        return self.uuid

    @property
    def origin(self) -> Any:
        """Who told of it: a client, or a worker."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        return self.state in states.READY_STATES

    @cached_property
    def parent(self) -> Any:
        return self._relative(self.parent_id)

    @cached_property
    def root(self) -> Any:
        return self._relative(self.root_id)

    def _relative(self, uuid: Any) -> Any:
        if not uuid or self.cluster_state is None:
            return uuid and None
        return self.cluster_state.tasks.data.get(uuid)  # `data`: looking is no use of it


class State:
    """What is known of a cluster. Not more workers and tasks than this, the longest unused are forgotten first."""

    Worker = Worker
    Task = Task
    event_count = 0
    task_count = 0
    heap_multiplier = 4

    def __init__(
        self,
        callback: Any = None,
        workers: Any = None,
        tasks: Any = None,
        taskheap: list[Any] | None = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Any = None,
        on_node_leave: Any = None,
        tasks_by_type: Any = None,
        tasks_by_worker: Any = None,
    ) -> None:
        self.event_callback = callback
        self.workers = LRUCache(max_workers_in_memory) if workers is None else workers
        self.tasks = LRUCache(max_tasks_in_memory) if tasks is None else tasks
        self._taskheap = [] if taskheap is None else taskheap
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self._mutex = threading.Lock()
        self.handlers: dict[str, Any] = {}
        self._seen_types: set[str] = set()
        self._tasks_to_resolve: Any = LRUCache(max_tasks_in_memory)
        self.rebuild_taskheap()
        self.tasks_by_type = CallableDefaultdict(self._tasks_by_type, WeakSet, self._sets(tasks_by_type))
        self.tasks_by_worker = CallableDefaultdict(self._tasks_by_worker, WeakSet, self._sets(tasks_by_worker))

    def _sets(self, ids: Mapping[str, Iterable[Any]] | None) -> dict[str, Any]:
        return {
            name: WeakSet(self.tasks[uuid] for uuid in members if uuid in self.tasks)
            for name, members in (ids or {}).items()
        }

    # --- events

    def event(self, event: Any) -> Any:
        """Take in an event. Gives `((worker or task, whether it is new), the event's kind)`, or None."""
        with self._mutex:
            return self._event(event)

    def task_event(self, type_: str, fields: Any) -> Any:
        """Take in an event of a task. `event` is the newer name."""
        return self._event(dict(fields, type=f"task-{type_}"))[0]

    def worker_event(self, type_: str, fields: Any) -> Any:
        """Take in an event of a worker. `event` is the newer name."""
        return self._event(dict(fields, type=f"worker-{type_}"))[0]

    def _event(self, event: Any) -> Any:
        self.event_count += 1
        if self.event_callback:
            self.event_callback(self, event)
        group, _, subject = event["type"].partition("-")
        handler = self.handlers.get(group)
        if handler is not None:
            return handler(subject, event), subject
        if group == "task":
            return self._task_event(subject, event), subject
        if group == "worker":
            found = self._worker_event(subject, event)
            return found and (found, subject)
        return None

    def _worker_event(self, subject: str, event: Any) -> tuple[Any, bool] | None:
        try:
            hostname, timestamp, local_received = event["hostname"], event["timestamp"], event["local_received"]
        except KeyError:
            return None
        leaves = subject == "offline"
        worker, created = self.workers.data.get(hostname), False  # `data`: an event is no use of it
        if worker is None:
            worker, created = self.Worker(hostname), not leaves
            if created:
                self.workers[hostname] = worker
        worker.event(subject, timestamp, local_received, event)
        if self.on_node_join and (created or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave and leaves:
            self.on_node_leave(worker)
            self.workers.pop(hostname, None)
        return worker, created

    def _task_event(self, subject: str, event: Any) -> tuple[Any, bool]:
        uuid, hostname, timestamp = event["uuid"], event["hostname"], event["timestamp"]
        local_received, clock = event["local_received"], event["clock"]
        task, created = self.tasks.data.get(uuid), False
        if task is None:
            task, created = self.Task(uuid, cluster_state=self), True
            self.tasks[uuid] = task
        if subject == "sent":  # by a client
            task.client = origin = hostname
        else:
            task.worker = worker = self._worker_of(hostname)
            if local_received:
                worker.event(None, local_received, timestamp)  # its heart beat when the event was made
            origin = worker.id
        self._place(timetuple(clock, timestamp, origin, ref(task)))
        if subject == "received":
            self.task_count += 1
        task.event(subject, timestamp, local_received, event)
        if task.name is not None:
            self._seen_types.add(task.name)
            if created:
                self.tasks_by_type[task.name].add(task)
                self.tasks_by_worker[hostname].add(task)
        self._relate(task)
        return task, created

    def _worker_of(self, hostname: Any) -> Any:
        worker = self.workers.data.get(hostname)
        if worker is None:
            worker = self.workers[hostname] = self.Worker(hostname)
        return worker

    def _place(self, when: Any) -> None:
        """Into the order of events. Mostly it is the last; the oldest goes when there are too many."""
        heap = self._taskheap
        if len(heap) + 1 > self.max_tasks_in_memory * self.heap_multiplier:
            heap.pop(0)
        if heap and when > heap[-1]:
            heap.append(when)
        else:
            bisect.insort(heap, when)

    def _relate(self, task: Any) -> None:
        """To its parent, which may not be known yet, and to children that came before it."""
        if task.parent_id:
            try:
                self.tasks[task.parent_id].children.add(task)
            except KeyError:
                self._add_pending_task_child(task)
        try:
            early = self._tasks_to_resolve.pop(task.uuid)
        except KeyError:
            return
        task.children.update(early)

    def _add_pending_task_child(self, task: Any) -> None:
        try:
            early = self._tasks_to_resolve[task.parent_id]
        except KeyError:
            early = self._tasks_to_resolve[task.parent_id] = WeakSet()
        early.add(task)

    def rebuild_taskheap(self, timetuple: Any = timetuple) -> None:
        """The order of tasks by what is known of each now. (Celery sorts a copy here, and throws it away.)"""
        self._taskheap[:] = sorted(
            timetuple(task.clock, task.timestamp or 0.0, task.origin or "", ref(task)) for task in self.tasks.values()
        )

    # --- workers and tasks

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[Any, bool]:
        """The worker, and whether it is new."""
        try:
            worker = self.workers[hostname]
        except KeyError:
            worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
            return worker, True
        if kwargs:
            worker.update(kwargs)
        return worker, False

    def get_or_create_task(self, uuid: str) -> tuple[Any, bool]:
        """The task, and whether it is new."""
        try:
            return self.tasks[uuid], False
        except KeyError:
            task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
            return task, True

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, Any]]:
        """`(uuid, task)` of all tasks, or so many."""
        return islice(self.tasks.items(), limit or None)

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Any]]:
        """`(uuid, task)` in the order of their last events, newest first. `limit` counts events."""
        heap = reversed(self._taskheap) if reverse else self._taskheap
        seen = set()
        for when in islice(heap, 0, limit):
            task = when[3]()
            if task is not None and task.uuid not in seen:
                seen.add(task.uuid)
                yield task.uuid, task

    tasks_by_timestamp = tasks_by_time

    def _tasks_by_type(self, name: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Any]]:
        """In order; slower than the index."""
        return islice((pair for pair in self.tasks_by_time(reverse=reverse) if pair[1].name == name), 0, limit)

    def _tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """In order; slower than the index. Tasks that no worker has seen are nobody's."""
        mine = (
            pair
            for pair in self.tasks_by_time(reverse=reverse)
            if pair[1].worker is not None and pair[1].worker.hostname == hostname
        )
        return islice(mine, 0, limit)

    def task_types(self) -> list[str]:
        """The names of all tasks seen."""
        return sorted(self._seen_types)

    def alive_workers(self) -> Iterator[Any]:
        """The workers whose hearts beat."""
        return (worker for worker in self.workers.values() if worker.alive)

    # --- as a whole

    def freeze_while(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call this while no event comes in; `clear_after` empties the state then."""
        clear_after = kwargs.pop("clear_after", False)
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self._clear()

    def clear(self, ready: bool = True) -> None:
        """Forget everything; with `ready` all but the tasks that are not done."""
        with self._mutex:
            self._clear(ready)

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget tasks; with `ready` those that are done."""
        with self._mutex:
            self._clear_tasks(ready)

    def _clear(self, ready: bool = True) -> None:
        self.workers.clear()
        self._clear_tasks(ready)
        self.event_count = 0
        self.task_count = 0

    def _clear_tasks(self, ready: bool = True) -> None:
        kept = {}
        if ready:
            kept = {uuid: task for uuid, task in self.itertasks() if task.state not in states.READY_STATES}
        self.tasks.clear()
        self.tasks.update(kept)
        self._taskheap.clear()

    def __repr__(self) -> str:
        return R_STATE.format(self)

    def __reduce__(self) -> Any:
        return type(self), (
            *(self.event_callback, self.workers, self.tasks, None),
            *(self.max_workers_in_memory, self.max_tasks_in_memory, self.on_node_join, self.on_node_leave),
            *(_ids(self.tasks_by_type), _ids(self.tasks_by_worker)),
        )


def _ids(index: Mapping[str, Iterable[Task]]) -> dict[str, list[Any]]:
    return {name: [task.id for task in tasks] for name, tasks in index.items()}


for _named in (CallableDefaultdict, Worker, Task, State, _depickle_task):
    _named.__module__ = _OURS

"""A broker inside this process: for users' tests, and the reference of the contract.

Law: everybody in the process who names the same store shares it; a connection is a view of it with its own held
messages. Messages stay values, no envelope is written. What RabbitMQ does with queue arguments is done here for
dead-lettering and message TTL; a queue that asks for anything else is refused, not half served.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.rules import routing
from ...protocol.wire.message import Message
from .base import Delivery, Parcel, Park, Queue, Settlement, Verdict

_PRIORITIES = 10
_DEAD_LETTER = ("x-dead-letter-exchange", "x-dead-letter-routing-key")
_ARGUMENTS = frozenset({*_DEAD_LETTER, "x-expires", "x-max-priority", "x-message-ttl", "x-queue-type"})


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message in a queue, with the address it was sent to."""

    message: Message
    exchange: str
    routing_key: str
    priority: int
    redelivered: bool = False
    until: float | None = None


@dataclass(slots=True)
class _Line:
    """One queue: what waits, by priority (the lowest is served first, as on Redis), and who listens."""

    queue: Queue
    waiting: list[deque[_Waiting]] = field(default_factory=lambda: [deque() for _ in range(_PRIORITIES)])
    listeners: int = 0
    used: float = 0.0

    def __len__(self) -> int:
        return sum(map(len, self.waiting))

    def put(self, waiting: _Waiting) -> None:
        ttl = self.queue.arguments.get("x-message-ttl")
        if ttl is not None:
            waiting = replace(waiting, until=time.monotonic() + ttl / 1000)
        self.waiting[waiting.priority].append(waiting)

    def put_first(self, waiting: _Waiting) -> None:
        self.waiting[waiting.priority].appendleft(waiting)

    def next(self) -> _Waiting | None:
        for line in self.waiting:
            while line:
                waiting = line.popleft()
                if waiting.until is None or waiting.until > time.monotonic():
                    return waiting
        return None


@dataclass(slots=True)
class Store:
    """The broker itself, shared by its connections. All access under `lock`; it is notified when messages arrive."""

    lock: threading.Condition = field(default_factory=threading.Condition)
    lines: dict[str, _Line] = field(default_factory=dict)
    parked: list[tuple[float, int, str, _Waiting]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def declare(self, queue: Queue) -> _Line:
        unknown = sorted(set(queue.arguments) - _ARGUMENTS)
        if unknown:
            raise BadCall(f"queue {queue.name}: the memory broker does not do {', '.join(unknown)}")
        return self.lines.setdefault(queue.name, _Line(queue, used=time.monotonic()))

    def route(self, exchange: str, exchange_type: str, routing_key: str, waiting: _Waiting) -> None:
        if not exchange:
            self.declare(Queue(routing_key)).put(waiting)
            return
        for line in self.lines.values():
            bound = line.queue
            if bound.exchange == exchange and routing.matches(exchange_type, bound.routing_key, routing_key):
                line.put(waiting)

    def sweep(self, now: float) -> float:
        """Move what is due, delete what nobody has used for its `expires`. The next time that something is due."""
        while self.parked and self.parked[0][0] <= now:
            _, _, queue, waiting = heappop(self.parked)
            self.declare(Queue(queue)).put(waiting)
            self.lock.notify_all()
        idle = time.monotonic()
        for line in list(self.lines.values()):
            expires = line.queue.expires
            if expires is not None and not line.listeners and idle - line.used > expires:
                del self.lines[line.queue.name]
        return self.parked[0][0] if self.parked else now + 60


_STORES: dict[str, Store] = {}
_STORES_LOCK = threading.Lock()


def store_named(name: str) -> Store:
    with _STORES_LOCK:
        return _STORES.setdefault(name, Store())


class MemoryBroker:
    """A connection to a store of this process."""

    can = frozenset({"priority", "fanout", "park", "confirm", "dead-letter"})

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[int, tuple[Delivery, _Waiting]] = {}
        self._listening: list[str] = []
        self._credit = 0
        self._acks = True

    def declare(self, queues: Sequence[Queue]) -> None:
        with self._store.lock:
            for queue in queues:
                self._store.declare(queue)

    def send(self, parcels: Sequence[Parcel]) -> None:
        with self._store.lock:
            for parcel in parcels:
                waiting = _Waiting(parcel.message, parcel.exchange, parcel.routing_key, _priority(parcel.message))
                self._store.route(parcel.exchange, parcel.exchange_type, parcel.routing_key, waiting)
            self._store.lock.notify_all()

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        with self._store.lock:
            self._leave()
            for queue in queues:
                line = self._store.declare(queue)
                if line.queue.exclusive and line.listeners:
                    raise BadCall(f"queue {queue.name}: somebody else listens to it, and it is exclusive")
                line.listeners += 1
                self._listening.append(queue.name)
        self._credit, self._acks = credit, acks

    def take(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        with self._store.lock:
            while True:
                taken = self._take(min(limit, self._credit - len(self._held)) if self._acks else limit)
                left = deadline - time.monotonic()
                if taken or left <= 0:
                    return taken
                self._store.lock.wait(left)

    def _take(self, limit: int) -> list[Delivery]:
        """In turn from each queue, so that a long one starves nobody."""
        taken: list[Delivery] = []
        asked = deque(self._listening)
        while asked and len(taken) < limit:
            name = asked.popleft()
            line = self._store.lines.get(name)
            waiting = line.next() if line is not None else None
            if waiting is None:
                continue
            asked.append(name)
            taken.append(self._hold(name, waiting))
        if taken:
            self._listening.sort(key=lambda name: name == taken[-1].queue)
        return taken

    def _hold(self, queue: str, waiting: _Waiting) -> Delivery:
        tag = next(self._store.numbers) if self._acks else None
        delivery = Delivery(
            tag, waiting.message, queue, waiting.exchange, waiting.routing_key, waiting.redelivered, waiting.priority
        )
        if tag is not None:
            self._held[tag] = delivery, waiting
        return delivery

    def settle(self, settlements: Sequence[Settlement]) -> None:
        with self._store.lock:
            for delivery, verdict in settlements:
                held = self._held.pop(delivery.tag, None)
                if held is not None:
                    self._settle(*held, verdict)

    def _settle(self, delivery: Delivery, waiting: _Waiting, verdict: Verdict | Park) -> None:
        again = replace(waiting, redelivered=True)
        match verdict:
            case Park(until):
                heappush(self._store.parked, (until, next(self._store.numbers), delivery.queue, waiting))
            case Verdict.REQUEUE:
                self._store.declare(Queue(delivery.queue)).put(again)
                self._store.lock.notify_all()
            case Verdict.RESTORE:
                self._store.declare(Queue(delivery.queue)).put_first(again)
                self._store.lock.notify_all()
            case Verdict.DROP:
                self._dead_letter(delivery, waiting)

    def _dead_letter(self, delivery: Delivery, waiting: _Waiting) -> None:
        line = self._store.lines.get(delivery.queue)
        arguments = line.queue.arguments if line is not None else {}
        exchange = arguments.get("x-dead-letter-exchange")
        if exchange is not None:
            key = arguments.get("x-dead-letter-routing-key", delivery.routing_key)
            self._store.route(exchange, "direct", key, waiting)
            self._store.lock.notify_all()

    def tend(self, now: float) -> float:
        with self._store.lock:
            return self._store.sweep(now)

    def size(self, queue: str) -> int:
        with self._store.lock:
            line = self._store.lines.get(queue)
            return len(line) if line is not None else 0

    def purge(self, queue: str) -> int:
        with self._store.lock:
            line = self._store.lines.get(queue)
            if line is None:
                return 0
            waiting = len(line)
            for each in line.waiting:
                each.clear()
            return waiting

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        held = reversed(self._held.values())
        self.settle([(delivery, Verdict.RESTORE) for delivery, _ in held])
        with self._store.lock:
            self._leave()

    def _leave(self) -> None:
        for name in self._listening:
            line = self._store.lines.get(name)
            if line is None:
                continue
            line.listeners -= 1
            line.used = time.monotonic()
            if not line.listeners and (line.queue.auto_delete or line.queue.exclusive):
                del self._store.lines[name]
        self._listening = []


def _priority(message: Message) -> int:
    value = message.properties.get("priority")
    return min(max(value, 0), _PRIORITIES - 1) if isinstance(value, int) else 0


def connect(url: str, _options: dict[str, Any] | None = None, _timeout: float = 0) -> MemoryBroker:
    """`memory://` and `memory://name`: a store of this process, shared by all who name it the same."""
    return MemoryBroker(store_named(url.partition("://")[2]))

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
from heapq import heappop, heappush
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.rules import routing
from ...protocol.values import dataclass, field, replace
from ...protocol.wire.message import Message
from .base import Again, Delivery, Parcel, Park, Queue, Settlement, Verdict

_PRIORITIES = 10
_SELDOM = 60.0
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
    losses: int = 0
    until: float | None = None


@dataclass(slots=True)
class _Line:
    """One queue: what waits, by priority (the lowest is served first, as on Redis), and who listens.

    `declared` False: a message came before its queue was declared, which it still can be.
    """

    queue: Queue
    declared: bool
    waiting: list[deque[_Waiting]] = field(default_factory=lambda: [deque() for _ in range(_PRIORITIES)])
    listeners: int = 0
    used: float = 0.0

    def __len__(self) -> int:
        return sum(map(len, self.waiting))

    @property
    def expires(self) -> float | None:
        milliseconds = self.queue.arguments.get("x-expires")
        return self.queue.expires if milliseconds is None else float(milliseconds) / 1000

    def put(self, waiting: _Waiting) -> None:
        ttl = self.queue.arguments.get("x-message-ttl")
        until = None if ttl is None else time.monotonic() + ttl / 1000
        self.waiting[waiting.priority].append(replace(waiting, until=until))

    def put_first(self, waiting: _Waiting) -> None:
        self.waiting[waiting.priority].appendleft(waiting)

    def next(self) -> _Waiting | None:
        for line in self.waiting:
            if line:
                return line.popleft()
        return None

    def outlived(self) -> list[_Waiting]:
        """What has waited for longer than it should; it waits no more."""
        now = time.monotonic()
        gone: list[_Waiting] = []
        for number, line in enumerate(self.waiting):
            if any(each.until is not None and each.until <= now for each in line):
                gone += [each for each in line if each.until is not None and each.until <= now]
                self.waiting[number] = deque(each for each in line if each.until is None or each.until > now)
        return gone


@dataclass(slots=True)
class Store:
    """The broker itself, shared by its connections. All access under `lock`; it is notified when messages arrive."""

    lock: threading.Condition = field(default_factory=threading.Condition)
    lines: dict[str, _Line] = field(default_factory=dict)
    # Exchange to (routing key, queue) to the exchange's type as the binding's queue declared it.
    bindings: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    parked: list[tuple[float, int, str, _Waiting]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def declare(self, queue: Queue) -> _Line:
        unknown = sorted(set(queue.arguments) - _ARGUMENTS)
        if unknown:
            raise BadCall(f"queue {queue.name}: the memory broker does not do {', '.join(unknown)}")
        if queue.exchange:
            routing.matches(queue.exchange_type, "", "")  # an unknown type is refused here, not when messages come
            self.bindings.setdefault(queue.exchange, {})[queue.routing_key, queue.name] = queue.exchange_type
        line = self.line(queue.name)
        if not line.declared:
            line.queue, line.declared = queue, True
        line.used = time.monotonic()
        return line

    def line(self, name: str) -> _Line:
        """The queue as it is, made where it is not."""
        line = self.lines.get(name)
        if line is None:
            line = self.lines[name] = _Line(Queue(name), declared=False, used=time.monotonic())
        return line

    def delete(self, name: str) -> None:
        del self.lines[name]
        for bound in self.bindings.values():
            for key in [key for key in bound if key[1] == name]:
                del bound[key]

    def route(self, exchange: str, routing_key: str, waiting: _Waiting) -> None:
        """One copy for each queue that wants it, whichever of its bindings matches."""
        if not exchange:
            self.line(routing_key).put(waiting)
        bound = self.bindings.get(exchange, {})
        for name in {name for (key, name), kind in bound.items() if routing.matches(kind, key, routing_key)}:
            self.line(name).put(waiting)
        self.lock.notify_all()

    def drop(self, line: _Line, waiting: _Waiting) -> None:
        """Gone, or to where its queue sends what is dropped."""
        exchange = line.queue.arguments.get("x-dead-letter-exchange")
        if exchange is not None:
            key = line.queue.arguments.get("x-dead-letter-routing-key", waiting.routing_key)
            self.route(exchange, key, replace(waiting, exchange=exchange, routing_key=key, redelivered=False))

    def expire(self, line: _Line) -> None:
        if "x-message-ttl" in line.queue.arguments:
            for waiting in line.outlived():
                self.drop(line, waiting)

    def sweep(self, now: float) -> float:
        """Move what is due, delete what nobody has used for its `expires`. The next time that something is due."""
        while self.parked and self.parked[0][0] <= now:
            _, _, queue, waiting = heappop(self.parked)
            self.line(queue).put(waiting)
            self.lock.notify_all()
        due = [now + _SELDOM, *(until for until, *_ in self.parked[:1])]
        idle = time.monotonic()
        for name, line in list(self.lines.items()):
            self.expire(line)
            if line.expires is None or line.listeners:
                continue
            if idle - line.used > line.expires:
                self.delete(name)
            else:
                due.append(now + line.used + line.expires - idle)
        return min(due)


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
                if queue.name:
                    self._store.declare(queue)

    def send(self, parcels: Sequence[Parcel]) -> None:
        with self._store.lock:
            for parcel in parcels:
                waiting = _Waiting(parcel.message, parcel.exchange, parcel.routing_key, _priority(parcel.message))
                self._store.route(parcel.exchange, parcel.routing_key, waiting)

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        with self._store.lock:
            lines = {queue.name: self._store.declare(queue) for queue in queues}
            for name, line in lines.items():
                if line.queue.exclusive and line.listeners > (name in self._listening):
                    raise BadCall(f"queue {name}: somebody else listens to it, and it is exclusive")
            for line in lines.values():
                line.listeners += 1
            self._leave()  # only now: a queue that dies with its last listener lives on where it is listened to again
            self._listening = list(lines)
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
            if line is None:
                continue
            self._store.expire(line)
            waiting = line.next()
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
            *(tag, waiting.message, queue, waiting.exchange, waiting.routing_key),
            *(waiting.redelivered, waiting.priority, waiting.losses),
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

    def _settle(self, delivery: Delivery, waiting: _Waiting, verdict: Verdict | Park | Again) -> None:
        again = replace(waiting, redelivered=True)
        match verdict:
            case Park(until):
                heappush(self._store.parked, (until, next(self._store.numbers), delivery.queue, waiting))
            case Verdict.REQUEUE | Again():
                if isinstance(verdict, Again):
                    again = replace(again, losses=verdict.losses)
                self._store.line(delivery.queue).put(again)
                self._store.lock.notify_all()
            case Verdict.RESTORE:
                self._store.line(delivery.queue).put_first(again)
                self._store.lock.notify_all()
            case Verdict.DROP:
                line = self._store.lines.get(delivery.queue)
                if line is not None:
                    self._store.drop(line, waiting)

    def tend(self, now: float) -> float:
        with self._store.lock:
            return self._store.sweep(now)

    def size(self, queue: str) -> int:
        with self._store.lock:
            line = self._store.lines.get(queue)
            if line is None:
                return 0
            self._store.expire(line)
            return len(line)

    def purge(self, queue: str) -> int:
        with self._store.lock:
            line = self._store.lines.get(queue)
            if line is None:
                return 0
            self._store.expire(line)
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
                self._store.delete(name)
        self._listening = []


def _priority(message: Message) -> int:
    value = message.properties.get("priority")
    return min(max(value, 0), _PRIORITIES - 1) if isinstance(value, int) else 0


def connect(url: str, _options: dict[str, Any] | None = None, _timeout: float = 0) -> MemoryBroker:
    """`memory://` and `memory://name`: a store of this process, shared by all who name it the same."""
    return MemoryBroker(store_named(url.partition("://")[2]))

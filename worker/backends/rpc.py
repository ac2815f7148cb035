"""Results as messages: each state is sent to the queue that the task's message names, through a broker, and kept there.

Law: whoever sent the task is the only one who can ask for its result. A store answers to one queue of its own, which
it declares when it first says its name and listens to from the first question on, without acknowledgements. What
arrives is kept in a bounded buffer, the last state of each task, a SUCCESS for good; the oldest give way, and are
counted. What names no task is dropped and counted. A forked child has a queue of its own, and nothing of its parent's.
Who names no queue gets no answer, or, with `result_queue_per_task`, the last one in a queue of the task's own.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...protocol.errors import BadCall, BadMessage
from ...protocol.wire import rpc, states
from ...protocol.wire.amqp import topology
from ...protocol.wire.message import Message
from ...protocol.wire.result import Result
from ..brokers import connect as connect_broker
from ..brokers import failover
from ..brokers.base import Broker, Parcel, Queue
from .base import POLL, Address, Found, Settings, Store

LIMIT = 8192
"""So many results are kept that nobody has asked for."""

RETRIES, PAUSE = 20, 1.0
"""How often an answer is sent again when the broker fails, and the seconds in between: as Celery does."""

PROBE = 10.0
"""Seconds of silence after which somebody who waits asks whether the broker is still there."""

CATCH_UP = 2.0
"""Seconds for what waited when we began to listen to arrive."""

_BATCH = 1000

log = logging.getLogger(__name__)
T = TypeVar("T")
Dial = Callable[[], Broker]


HUB = Queue("", exchange=topology.foreign_result_exchange().name)
"""node-celery binds its queues to this exchange and connects again without end while nobody has declared it."""


def apart(task_id: str) -> Queue:
    """The queue of one task's result. Its readers declare it too, with just this expiry; another would be refused."""
    (queue,) = topology.foreign_results(task_id)
    return Queue(queue.name, auto_delete=True, expires=topology.RESULT_EXPIRES)


@dataclass(eq=False)
class _Waiter:
    """One `wait`: what it still misses, and what has arrived of that since it last looked."""

    missing: dict[str, None]
    arrived: deque[str] = field(default_factory=deque)


class RpcStore(Store):
    """`send` and `listen` connect to the broker. They are apart: a connection that listens may be idle for hours."""

    can = frozenset({"push", "shared"})

    def __init__(
        self,
        send: Dial,
        listen: Dial,
        settings: Settings | None = None,
        *,
        queue: str | None = None,
        limit: int = LIMIT,
    ) -> None:
        super().__init__(settings)
        self.dropped = 0
        self.retries, self.pause = RETRIES, PAUSE
        self._dial_send, self._dial_listen = send, listen
        self._given = queue
        self._limit = limit
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._name = self._given or str(uuid.uuid4())
        self._declared = False
        self._sender: Broker | None = None
        self._listener: Broker | None = None
        self._tend_at = 0.0
        self._found: OrderedDict[str, Found] = OrderedDict()
        self._waiters: list[_Waiter] = []

    def _own(self) -> None:
        """In a forked child: neither use nor close what is the parent's."""
        if self._pid != os.getpid():
            self._parents = (self._sender, self._listener)  # kept from being closed by their end of life
            self._given = None
            self._begin()

    # --- the worker's side

    def store(self, result: Result, address: Address | None = None) -> bool:
        """Send this state to who wants it; without a `reply_to` nobody does."""
        _check(result.task_id)
        self._own()
        persistent = bool(self.settings.options.get("result_persistent"))
        correlation_id = address.correlation_id if address is not None else None
        message = rpc.build(result, correlation_id, self.settings.codec, persistent=persistent)
        if address is not None and address.reply_to:
            parcel = Parcel(message, address.reply_to)
            self._sending(lambda broker: broker.send([parcel]))
        elif self.settings.options.get("result_queue_per_task") and result.ready:
            self._answer_apart(message, result.task_id)
        return True

    def await_strangers(self) -> None:
        """A worker is ready: node-celery binds its queues to an exchange, and is deaf where there is none yet."""
        if self.settings.options.get("result_queue_per_task"):
            self._own()
            try:
                self._sending(lambda broker: broker.declare([HUB]))
            except _operational() as problem:
                log.warning("exchange %s is not made before the first answer: %s", HUB.exchange, problem)

    def _answer_apart(self, message: Message, task_id: str) -> None:
        """For gocelery, celery-node and node-celery: they take the first message in this queue for the result."""
        queue = apart(task_id)

        def send(broker: Broker) -> None:
            broker.declare([HUB, queue])
            broker.send([Parcel(message, queue.name)])

        self._sending(send)

    def _sending(self, use: Callable[[Broker], T]) -> T:
        for attempt in range(self.retries + 1):
            try:
                if self._sender is None:
                    self._sender = self._dial_send()
                return use(self._sender)
            except _operational() as problem:  # noqa: PERF203 - a loop of attempts
                self._close_sender()
                if attempt == self.retries:
                    raise
                log.warning("cannot send a result, again (%d/%d): %s", attempt + 1, self.retries, problem)
                if attempt:
                    time.sleep(self.pause)
        raise AssertionError("the last attempt returns or raises")

    # --- the sender's side

    def queue_name(self) -> str:
        """What `answer_to` will say; nothing is declared yet."""
        self._own()
        return self._name

    def answer_to(self) -> str:
        """The queue that our tasks are to answer to (`reply_to`), from now on there to take answers."""
        self._own()
        if not self._declared:
            queue = self._queue()
            self._sending(lambda broker: broker.declare([queue]))
            self._declared = True
        return self._name

    def _queue(self) -> Queue:
        return Queue(self._name, auto_delete=True, expires=self.settings.expires or None)

    def fetch(self, task_id: str) -> Result | None:
        found = self.fetch_many([task_id]).get(task_id)
        if isinstance(found, BadMessage):
            raise found
        return found

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        self._own()
        ids = list(task_ids)
        for task_id in ids:
            _check(task_id)
        self._drain()
        return {task_id: self._found[task_id] for task_id in ids if task_id in self._found}

    def forget(self, task_id: str) -> None:
        """Nobody else keeps it."""
        self._own()
        self._drain()
        self._found.pop(task_id, None)

    def wait(
        self,
        task_ids: Iterable[str],
        timeout: float,
        *,
        interval: float = POLL,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[str, Found]]:
        self._own()
        waiter = _Waiter(dict.fromkeys(task_ids))
        missing, arrived = waiter.missing, waiter.arrived
        end = time.monotonic() + timeout
        self._drain()
        arrived.extend(missing)
        self._waiters.append(waiter)
        try:
            heard = time.monotonic()
            while missing:
                while arrived:
                    task_id = arrived.popleft()
                    found = self._found.get(task_id)
                    if task_id in missing and found is not None and (isinstance(found, BadMessage) or found.ready):
                        del missing[task_id]
                        yield task_id, found
                now = time.monotonic()
                if not missing or now >= end or stop():
                    return
                if self._take(max(0.0, min(interval, end - now))):
                    heard = now
                elif now - heard > PROBE:
                    heard = now
                    self._probe()
        finally:
            self._waiters.remove(waiter)

    # --- what arrives

    def _drain(self) -> None:
        """All that was there when we asked: behind the answer to a question comes nothing older."""
        self._probe()
        while self._take(0) >= _BATCH:
            pass

    def _take(self, timeout: float) -> int:
        """Keep what has arrived, and say how many that were."""
        deliveries = self._listening(lambda broker: broker.take(_BATCH, timeout))
        for delivery in deliveries:
            self._keep(delivery.message)
        return len(deliveries)

    def _probe(self) -> None:
        """A connection that is half open says nothing: a question that needs an answer tells."""
        self._listening(lambda broker: broker.size(self._name))

    def _listening(self, use: Callable[[Broker], T]) -> T:
        """With a connection that listens; if it is lost, with another."""
        try:
            return use(self._listens())
        except _operational() as problem:
            log.warning("the connection that results arrive on was lost, connecting again: %s", problem)
            self._close_listener()
        try:
            return use(self._listens())
        except _operational():
            self._close_listener()
            raise

    def _listens(self) -> Broker:
        if self._listener is None:
            self._listener = self._dial_listen()
            waiting = self._listener.size(self._name)
            self._listener.listen([self._queue()], credit=_BATCH, acks=False)
            self._declared = True
            self._tend_at = 0.0
            self._catch_up(self._listener, waiting)
        now = time.time()
        if now >= self._tend_at:
            self._tend_at = self._listener.tend(now)
        return self._listener

    def _catch_up(self, listener: Broker, waiting: int) -> None:
        """What waited for us when we began to listen is on its way."""
        end = time.monotonic() + CATCH_UP
        while waiting > 0 and time.monotonic() < end:
            deliveries = listener.take(_BATCH, 0.1)
            waiting -= len(deliveries)
            for delivery in deliveries:
                self._keep(delivery.message)

    def _keep(self, message: Message) -> None:
        found: Found
        try:
            found = rpc.parse(message, self.settings.codec)
            task_id: Any = found.task_id
        except BadMessage as bad:
            found, task_id = bad, message.properties.get("correlation_id")
        if not isinstance(task_id, str) or not task_id:
            self.dropped += 1
            log.warning("dropped a result that names no task: %s", found)
            return
        before = self._found.get(task_id)
        if not (isinstance(before, Result) and before.status == states.SUCCESS):
            self._found[task_id] = found
            self._found.move_to_end(task_id)
        for waiter in list(self._waiters):
            if task_id in waiter.missing:
                waiter.arrived.append(task_id)
        while len(self._found) > self._limit:
            self._found.popitem(last=False)
            self.dropped += 1

    def close(self) -> None:
        self._own()
        self._close_sender()
        self._close_listener()
        self._declared = False

    def _close_sender(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()


def _check(task_id: str) -> None:
    if not task_id:
        raise BadCall("a result needs an id that is not empty")


def _operational() -> type[Exception]:
    from kombu.exceptions import OperationalError

    found: type[Exception] = OperationalError
    return found


def connect(_url: str, settings: Settings) -> RpcStore:
    """`rpc://`, through the broker of `broker_url`: answers are sent as tasks are (`broker_write_url`)."""
    options = settings.options
    plain = options.get("broker_url")
    write, read = (options.get(f"broker_{way}_url") or plain for way in ("write", "read"))
    if not write or not read:
        raise BadCall("rpc:// sends results through the broker: it needs broker_url")
    given: Mapping[str, Any] = options.get("broker_transport_options") or {}
    timeout = float(options.get("broker_connection_timeout") or 4.0)
    return RpcStore(sending(str(write), given, timeout), listening(str(read), given, timeout), settings)


def sending(url: str, options: Mapping[str, Any], timeout: float = 4.0) -> Dial:
    """Who asked may be gone, and the queue with him: no reason to refuse the result."""
    given = {**options, "mandatory": False} if _is_amqp(url) else options
    return _any_of(url, given, timeout)


def listening(url: str, options: Mapping[str, Any], timeout: float = 4.0) -> Dial:
    """While nobody waits nobody tends it; a RabbitMQ that gave it up for dead would delete the queue and all in it."""
    given = {**options, "heartbeat": 0} if _is_amqp(url) else options
    return _any_of(url, given, timeout)


def _any_of(url: str, options: Mapping[str, Any], timeout: float) -> Dial:
    """Several brokers are tried in turn, as those who send and consume tasks try them."""
    urls, strategy = failover.several(url), options.get("failover_strategy")
    return lambda: failover.first_that_answers(urls, lambda each: connect_broker(each, options, timeout), strategy)


def _is_amqp(url: str) -> bool:
    return url.partition("://")[0] in ("amqp", "amqps", "pyamqp")

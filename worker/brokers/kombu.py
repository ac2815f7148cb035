"""Every broker that kombu knows and that has no row of its own: SQS, databases, files, MongoDB, Pub/Sub, Kafka...

Law: what a transport cannot do is said when it is connected, never found out later. A message goes onto the wire and
comes off it as it is: kombu decompresses and re-encodes, so its message class is replaced by one that leaves all as it
came. Whatever a library raises leaves as `OperationalError`, through `_at` alone.

Most of these transports delete a message when they hand it out and know it by this process alone; those that keep it
(`keeps`) are SQS, Service Bus, Pub/Sub, PGMQ and Kafka. Putting back is therefore the same for all: put a copy into
its queue, then acknowledge. In between it is there twice, at no time not at all.
"""

from __future__ import annotations

import itertools
import logging
import reprlib
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from queue import Empty
from typing import Any

from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.transport import virtual
from kombu.utils.json import dumps

from ...protocol.errors import BadCall, BadMessage, shown
from ...protocol.values import replace
from ...protocol.wire import envelope
from ...protocol.wire.message import LOSSES, losses_in
from . import kombu_transports as transports
from .base import Again, Delivery, Parcel, Park, Queue, Settlement, Verdict
from .kombu_messages import again, as_it_came

LOG = logging.getLogger("celeriac.broker")
# What kombu's transports raise when what they took is not what they write. The broker's own errors are none of these.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
_UNREADABLE_AT_ONCE = 100
_FIRST_PAUSE = 0.005
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 1000
_SHORT.maxdict = _SHORT.maxlevel = 8
_LONGEST = 500
_NOTHING_TO_TEND = 60.0


class KombuBroker:
    """A connection through one of kombu's virtual transports. `place` names it in errors, without its password."""

    def __init__(self, connection: Connection, place: str) -> None:
        self._connection = connection
        self._place = place
        self._channel = connection.channel()
        self._channel.Message = as_it_came(self._channel.Message)
        self._transport = connection.transport
        self.can = transports.abilities(self._transport, self._channel)
        self._waits = type(self._transport).drain_events is not virtual.Transport.drain_events
        self._longest_pause = max(float(self._transport.polling_interval or 0), _FIRST_PAUSE)
        self._pause = _FIRST_PAUSE
        self._numbers = itertools.count(1)
        self._consumers: list[tuple[str, Queue]] = []
        self._arrived: deque[tuple[str, Any, envelope.Envelope]] = deque()
        self._held: dict[int, tuple[str, Any]] = {}
        self._credit = 0
        self._acks = True
        self._closed = False
        say_once(transports.shortcomings(place, self._transport, self._channel, self.can))

    @contextmanager
    def _at(self, doing: str) -> Iterator[None]:
        """The one place where what libraries raise becomes ours."""
        started = time.monotonic()
        try:
            yield
        except (BadCall, OperationalError):
            raise
        except Exception as problem:
            raise failure(self._place, doing, time.monotonic() - started, problem, self._connection) from problem

    def declare(self, queues: Sequence[Queue]) -> None:
        for queue in queues:
            with self._at(f"declare the queue {queue.name}"):
                self._declare(queue)

    def _declare(self, queue: Queue) -> None:
        ignored = sorted(set(queue.arguments) - {"x-expires", "x-message-ttl", "x-queue-type"})
        if ignored:
            say_once(f"{self._place}: queue {queue.name}: its {', '.join(ignored)} mean nothing to this transport")
        if queue.exchange:
            self._declare_exchange(
                queue.exchange, queue.exchange_type, durable=queue.exchange_durable, gone=queue.exchange_auto_delete
            )
        if not queue.name:
            return
        self._channel.queue_declare(
            queue=queue.name,
            durable=queue.durable,
            exclusive=queue.exclusive,
            auto_delete=queue.auto_delete,
            arguments=self._channel.prepare_queue_arguments(dict(queue.arguments), expires=queue.expires),
        )
        if queue.exchange:
            self._channel.queue_bind(queue=queue.name, exchange=queue.exchange, routing_key=queue.routing_key)

    def _declare_exchange(self, name: str, kind: str, *, durable: bool = True, gone: bool = False) -> None:
        if kind not in self._channel.exchange_types:
            there = ", ".join(sorted(self._channel.exchange_types))
            raise BadCall(f"exchange {name}: this broker has no {kind} exchanges, it has {there}")
        try:
            self._channel.exchange_declare(exchange=name, type=kind, durable=durable, auto_delete=gone)
        except virtual.base.NotEquivalentError:
            say_once(f"{self._place}: exchange {name} was declared otherwise before, and stays as it was")

    def send(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            with self._at(f"send to {parcel.exchange or parcel.routing_key}"):
                if parcel.exchange and parcel.exchange not in self._channel.state.exchanges:
                    self._declare_exchange(parcel.exchange, parcel.exchange_type)
                payload = self._payload(parcel)
                try:
                    self._channel.basic_publish(payload, parcel.exchange, parcel.routing_key)
                except (TypeError, ValueError, RecursionError) as problem:
                    _refuse_what_cannot_be_written(payload, problem)
                    raise

    def _payload(self, parcel: Parcel) -> dict[str, Any]:
        """Copies: the transport writes its own properties into what it is given."""
        message = parcel.message
        body: bytes | str = message.body
        if (self._channel.body_encoding or "").lower() != "base64":
            try:
                body = message.body.decode()
            except UnicodeDecodeError as problem:
                raise BadCall("a body that is not UTF-8 text needs body_encoding base64") from problem
        payload: dict[str, Any] = self._channel.prepare_message(
            body,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers=dict(message.headers),
            properties=dict(message.properties),
        )
        return payload

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        with self._at("stop listening"):
            self._leave({each.name for each in queues})
        self.declare(queues)
        self._credit, self._acks = credit, acks
        with self._at("listen"):
            self._channel.basic_qos(0, credit if acks else 0, False)
            for queue in {each.name: each for each in queues}.values():
                tag = f"celeriac{next(self._numbers)}"
                self._consumers.append((tag, queue))
                self._channel.basic_consume(queue.name, not acks, partial(self._arrive, queue.name), tag)

    def _leave(self, staying: Collection[str] = ()) -> None:
        """Take from nowhere, give back what nobody was given, delete what was ours alone."""
        for tag, _ in self._consumers:
            self._channel.basic_cancel(tag)
        while self._arrived:
            name, message, _ = self._arrived[0]
            self._put_back(name, message)
            self._arrived.popleft()
        gone, self._consumers = self._consumers, []
        for _, queue in gone:
            # Each listener of a fanout has its own copy: nobody else wants this queue. Others may be shared.
            private = queue.exclusive or (queue.auto_delete and queue.exchange_type == "fanout")
            if private and queue.name not in staying:
                self._channel.queue_delete(queue.name)

    def take(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        with self._at("take messages"):
            while True:
                room = min(limit, self._credit - len(self._held)) if self._acks else limit
                self._fetch(room, deadline)
                taken = [self._hold(*self._arrived.popleft()) for _ in range(min(room, len(self._arrived)))]
                left = deadline - time.monotonic()
                if taken or left <= 0:
                    return taken
                time.sleep(min(left, self._pause))
                self._pause = min(self._pause * 2, self._longest_pause)

    def _fetch(self, room: int, deadline: float) -> None:
        """Fill up what has arrived, as far as the broker has something at once."""
        unreadable = 0
        while len(self._arrived) < room and unreadable < _UNREADABLE_AT_ONCE:
            before = len(self._arrived)
            left = max(deadline - time.monotonic(), 0) if not before else 0
            try:
                # Those with a wait of their own take 0 for «for ever», or for their default.
                self._connection.drain_events(timeout=max(left, 0.01) if self._waits else 0)
            except (Empty, TimeoutError):
                return
            except transports.errors_of(self._transport):
                raise
            except _UNREADABLE as problem:
                unreadable += 1
                # JSON's and UTF-8's errors carry what they could not read.
                found = getattr(problem, "doc", None) or getattr(problem, "object", None)
                self._say_dropped("some queue", quoted(problem), found)
                continue
            if len(self._arrived) == before:
                unreadable += 1
            self._pause = _FIRST_PAUSE

    def _arrive(self, queue: str, message: Any) -> None:
        message.delivery_info.update(exchange="", routing_key=queue)
        try:
            came = envelope.read(message.payload_as_it_came)
        except BadMessage as problem:
            self._say_dropped(queue, str(problem), message.payload_as_it_came)
            if self._acks:
                self._channel.basic_reject(message.delivery_tag, requeue=False)
            return
        self._arrived.append((queue, message, came))

    def _say_dropped(self, queue: str, why: str, found: Any) -> None:
        LOG.error("%s: dropped an unreadable message from %s: %s: %s", self._place, queue, why, _SHORT.repr(found))

    def _hold(self, queue: str, message: Any, came: envelope.Envelope) -> Delivery:
        tag = None
        if self._acks:
            tag = next(self._numbers)
            self._held[tag] = queue, message
        key = queue if came.routing_key is None else came.routing_key
        told, losses = came.message, 0
        if LOSSES in told.headers:
            told = replace(told, headers=dict(told.headers))  # the payload's own go back as they came
            losses = losses_in(told.headers)
        return Delivery(tag, told, queue, came.exchange, key, came.redelivered, came.priority, losses)

    def settle(self, settlements: Sequence[Settlement]) -> None:
        for delivery, verdict in settlements:
            held = self._held.get(delivery.tag) if delivery.tag is not None else None
            if held is None:
                continue
            with self._at(f"settle a message from {delivery.queue}"):
                self._settle(*held, verdict)
            del self._held[delivery.tag]

    def _settle(self, queue: str, message: Any, verdict: Verdict | Park | Again) -> None:
        match verdict:
            case Verdict.ACK:
                self._channel.basic_ack(message.delivery_tag)
            case Verdict.DROP:
                self._channel.basic_reject(message.delivery_tag, requeue=False)
            case Verdict.REQUEUE | Verdict.RESTORE:
                self._put_back(queue, message)
            case Again(losses):
                self._put_back(queue, message, losses)
            case Park():
                raise BadCall(f"{self._place} keeps no message until a time: hold it, or put it back")

    def _put_back(self, queue: str, message: Any, losses: int = 0) -> None:
        self._channel._put(queue, again(message.payload_as_it_came, losses))  # noqa: SLF001  # each of kombu's transports is this method
        if self._acks:
            self._channel.basic_ack(message.delivery_tag)

    def tend(self, now: float) -> float:
        """These transports renew what they renew in threads of their own."""
        return now + _NOTHING_TO_TEND

    def size(self, queue: str) -> int:
        with self._at(f"count what waits in {queue}"):
            return self._asked(self._channel._size, queue)  # noqa: SLF001  # a passive declare would create the queue

    def purge(self, queue: str) -> int:
        with self._at(f"purge {queue}"):
            return self._asked(self._channel.queue_purge, queue)

    def _asked(self, question: Any, queue: str) -> int:
        """A number of messages; those who cannot count answer None or -1."""
        try:
            return max(int(question(queue) or 0), 0) if self._channel._has_queue(queue) else 0  # noqa: SLF001  # as above
        except Exception as problem:
            if transports.says_no_such_queue(problem):
                return 0
            raise

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            while self._held:
                tag = next(iter(self._held))
                self._put_back(*self._held[tag])
                del self._held[tag]
            self._leave()
        except Exception:
            LOG.exception(
                "%s: %d messages could not be put back%s",
                self._place,
                len(self._held) + len(self._arrived),
                "; the broker does it later" if transports.keeps(self._channel) else ", kombu tries once more",
            )
        with suppress(Exception):  # nothing is left that could be lost
            self._connection.release()


def failure(place: str, doing: str, after: float, problem: Exception, connection: Any = None) -> OperationalError:
    text = transports.without_password(quoted(problem), getattr(connection, "password", None))
    return OperationalError(
        f"{place}: could not {doing}, after {after:.1f} s: {text}. "
        "Is the broker up, and reachable from here? Connect anew to go on."
    )


def quoted(problem: BaseException) -> str:
    text = f"{type(problem).__name__}: {problem}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _refuse_what_cannot_be_written(payload: Mapping[str, Any], problem: Exception) -> None:
    """The caller's fault, unless it can be written after all."""
    try:
        dumps(payload)
    except Exception:  # noqa: BLE001  # json's hooks may raise anything
        raise BadCall(f"{shown(payload)} cannot be written as JSON: {quoted(problem)}") from problem


@lru_cache(maxsize=1000)
def say_once(line: str) -> None:
    LOG.warning(line)


def connect(url: str, options: Mapping[str, Any] | None = None, timeout: float = 4.0) -> KombuBroker:
    """Any URL that `kombu.Connection` takes; `options` are kombu's `transport_options` for it."""
    name = transports.known(url)
    place = transports.place(url)
    started = time.monotonic()
    connection = None
    try:
        connection = Connection(
            url, connect_timeout=timeout, transport_options=transports.options(url, options or {}, timeout)
        )
        connection.transport_cls = transports.class_of(name)
        connection.ensure_connection(
            max_retries=len(connection.alt), interval_start=0, interval_step=0, reraise_as_library_errors=False
        )
        broker = KombuBroker(connection, place)
        transports.touch(broker._channel)  # noqa: SLF001  # as much part of connecting as the rest here
    except BadCall:
        raise
    except ImportError as problem:
        raise BadCall(transports.missing_library(place, name, problem)) from problem
    except Exception as problem:
        if transports.says_misconfigured(problem):
            text = transports.without_password(quoted(problem), getattr(connection, "password", None))
            raise BadCall(f"{place}: its URL or transport options are not right: {text}") from problem
        raise failure(place, "connect", time.monotonic() - started, problem, connection) from problem
    return broker

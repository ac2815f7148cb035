"""The RabbitMQ broker: publish, deliver and settle in frames of our own, on a socket of our own.

Law: a send is over when the broker has confirmed every message of it. A delivery stays in our name at the broker until
its settlement is written; what goes behind its queue, or waits for a time, is published anew, and only when that is
confirmed is the old one acknowledged: in between there are two, never none.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil
from time import monotonic
from typing import Any

from ...protocol.errors import BadCall, BadMessage
from ...protocol.wire.amqp import delayed, topology
from ...protocol.wire.amqp.confirms import Confirms
from ...protocol.wire.amqp.contents import read_message, write_message
from ...protocol.wire.amqp.frames import publish_call, write_ack, write_publish, write_reject
from ...protocol.wire.amqp.headers import HeaderReader
from ...protocol.wire.amqp.inbox import Called, Confirmed, Event, Returned
from ...protocol.wire.amqp.inbox import Delivery as Arrived
from ...protocol.wire.amqp.properties import read_properties, write_properties
from ...protocol.wire.message import Message
from . import failover
from .amqp_address import flag, number, parse
from .amqp_channels import Call, Channels
from .amqp_declare import Declarer, parked_in
from .amqp_link import Link
from .base import Delivery, Parcel, Queue, Settlement, Verdict
from .bell import Bell

logger = logging.getLogger("celeriac.broker")

_PUBLISHING, _CONSUMING = 1, 2
_PIECE = 1 << 16  # bytes of publishes in one write
_WINDOW = 4096  # publishes without an answer: more are not sent before some have come
_QUIET = 0.5  # seconds without a word, after which we look whether the connection still stands
_PLACES = 256
_MOST_CREDIT = 0xFFFF
_FAREWELL = 1.0
_TIMEOUT = 10.0

# What RabbitMQ adds when a message has waited in a dead-letter queue. It drops a message that comes to such a queue
# again with them, taking it for a loop.
_TRACES = ("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason", "x-last-death-exchange",
           "x-last-death-queue", "x-last-death-reason")  # fmt: skip
_DELIVERY_EXCHANGE = delayed.delivery_exchange()
_REDELIVERED = "redelivered"  # a header, as kombu writes it on Redis: publishing anew loses the broker's own mark
_OWN_TO_A_DELIVERY = ("x-delivery-count", "CC", "BCC")  # the last two would send copies elsewhere once more


class _Held:
    """A delivery in our name. Its identity is the tag: no other connection's delivery is ever equal to it."""

    __slots__ = ("arrived", "settled")

    def __init__(self, arrived: Arrived, settled: bool) -> None:
        self.arrived = arrived
        self.settled = settled


class _Line:
    """One consumer, and what has come for it and was not handed out yet."""

    __slots__ = ("acks", "credit", "queue", "waiting")

    def __init__(self, queue: str, acks: bool, credit: int) -> None:
        self.queue = queue
        self.acks = acks
        self.credit = credit  # its own; 0 where the channel has it
        self.waiting: deque[_Held] = deque()


class AmqpBroker:
    """One connection to one RabbitMQ."""

    def __init__(self, link: Link, options: Mapping[str, Any]) -> None:
        self._link = link
        self._channels = Channels(link)
        self._confirming = flag(options, "confirm_publish", default=True)
        self._mandatory = flag(options, "mandatory", default=True)
        self._confirm_timeout = number(options, "confirm_timeout", link.timeout)
        queue_type = options.get("delayed_delivery", "quorum") or None
        self._declarer = Declarer(self._channels, queue_type)
        self.can = frozenset({"priority", "fanout", "dead-letter", "descriptor"})
        if queue_type is not None:
            self.can |= {"park"}
        if self._confirming:
            self.can |= {"confirm"}
        self.dropped = 0  # settlements of deliveries that are no longer ours: the broker has them back already
        self._bell: Bell | None = None

        self._publishing = False
        self._places: dict[tuple[str, str], bytes] = {}
        self._confirms = Confirms()
        self._asked = 0.0
        self._refused = 0
        self._returned: list[Returned] = []
        self._moving: dict[int, _Held] = {}  # by publish: deliveries that are settled when it is confirmed
        self._to_move: list[tuple[_Held, str, str, bytes]] = []

        self._consuming = False
        self._lines: dict[str, _Line] = {}  # by consumer tag
        self._consumers = 0
        self._global_credit = 0
        self._turns: deque[_Line] = deque()  # the next to be served first
        self._acks = True
        self._credit = 0
        self._out = 0  # handed out and not settled
        self._owed: dict[int, _Held] = {}  # by delivery tag, which only grows
        self._acked: list[int] = []
        self._rejected: list[tuple[int, bytes]] = []
        self._headers = HeaderReader()

    # -- queues --

    def declare(self, queues: Sequence[Queue]) -> None:
        self._declarer.declare(queues)
        self._tell()

    def size(self, queue: str) -> int:
        try:
            return self._declarer.size(queue)
        finally:
            self._tell()

    def purge(self, queue: str) -> int:
        try:
            return self._declarer.purge(queue)
        finally:
            self._tell()

    # -- sending --

    def send(self, parcels: Sequence[Parcel]) -> None:
        if not parcels:
            return
        if not self._publishing or self._link.blocked is not None or monotonic() - self._link.heard > _QUIET:
            self._get_ready()
        frame_max, places, mandatory = self._link.frame_max, self._places, self._mandatory
        pieces: list[bytes] = []
        size = 0
        for parcel in parcels:
            message = parcel.message
            where = parcel.exchange, parcel.routing_key
            call = places.get(where) or self._place(where, mandatory=mandatory and not parcel.exchange)
            piece = write_publish(call, _PUBLISHING, write_message(message), message.body, frame_max)
            pieces.append(piece)
            size += len(piece)
            if size >= _PIECE:
                self._publish(pieces)
                self._await(_WINDOW)
                pieces, size = [], 0
        if pieces:
            self._publish(pieces)
        if self._confirming:
            self._await(0)
        self._tell()

    def _get_ready(self) -> None:
        """The channel is open, the connection stands, and the broker wants messages: so far nothing was sent."""
        self._channels.pump()
        self._open_publishing()
        deadline = monotonic() + self._confirm_timeout
        while self._link.blocked is not None:
            left = deadline - monotonic()
            if left <= 0:
                raise self._link.lose(
                    f"it has blocked publishers for {self._confirm_timeout:.1f} s ({self._link.blocked}): "
                    "free its memory or disk; nothing was sent"
                )
            self._channels.pump(left)

    def _open_publishing(self) -> None:
        if not self._publishing:
            first: list[Call] = [("confirm.select", {})] if self._confirming else []
            self._channels.open(_PUBLISHING, "publishing", self._hear_publishing, first)
            self._publishing = True

    def _place(self, where: tuple[str, str], *, mandatory: bool) -> bytes:
        if len(self._places) >= _PLACES:
            self._places.clear()
        call = self._places[where] = publish_call(_PUBLISHING, *where, mandatory=mandatory)
        return call

    def _publish(self, pieces: Sequence[bytes]) -> None:
        if self._confirming:
            self._asked = monotonic()
            for _ in pieces:
                self._confirms.published()
        self._link.write(pieces[0] if len(pieces) == 1 else b"".join(pieces), self._confirm_timeout)

    def _await(self, window: int) -> None:
        """Until at most so many publishes are without an answer. Each answer gives the rest the full time again."""
        confirms = self._confirms
        if len(confirms) > window:
            deadline = monotonic() + self._confirm_timeout
            while (missing := len(confirms)) > window:
                left = deadline - monotonic()
                if left <= 0:
                    raise self._link.lose(self._unanswered())
                self._channels.pump(left)
                if len(confirms) < missing:
                    deadline = monotonic() + self._confirm_timeout
        if self._returned:
            queues = sorted({each.routing_key for each in self._returned})
            raise self._link.lose(
                f"there is no queue named {', '.join(queues)}: {len(self._returned)} messages had nowhere to go; "
                "start a worker that declares it, or mend the name"
            )
        if self._refused:
            raise self._link.lose(
                f"it refused {self._refused} messages (basic.nack): a full queue with reject-publish, "
                "a quorum queue without its majority, or an internal error; its log says which"
            )

    def _unanswered(self) -> str:
        blocked = self._link.blocked
        why = "; the broker is frozen or overloaded, or the network is gone" if blocked is None else ""
        if blocked is not None:
            why = f"; it has blocked publishers meanwhile: {blocked}"
        return f"{len(self._confirms)} messages were not confirmed within {self._confirm_timeout:.1f} s{why}"

    def _hear_publishing(self, event: Event) -> None:
        if isinstance(event, Confirmed):
            for place, accepted in self._confirms.settle(event):
                held = self._moving.pop(place, None) if self._moving else None
                if held is not None:
                    self._moved(held, accepted)
                elif not accepted:
                    self._refused += 1
        elif isinstance(event, Returned):
            self._returned.append(event)

    # -- listening --

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        self._declarer.declare(queues)
        if acks:
            self._declarer.follow_stock(queues)
        self._credit, self._acks = credit, acks
        wanted = {queue.name: queue for queue in queues} if credit > 0 or not acks else {}
        if not self._consuming:
            self._channels.open(_CONSUMING, "consuming", self._hear_consuming)
            self._consuming = True
        own_credit = self._grant(list(wanted.values()), acks)
        leaving = {
            tag: line
            for tag, line in self._lines.items()
            if line.queue not in wanted or (line.acks, line.credit) != (acks, own_credit)
        }
        staying = {line.queue for tag, line in self._lines.items() if tag not in leaving}
        # New consumers first: a queue that deletes itself without consumers must not be without.
        self._consume([name for name in wanted if name not in staying], acks, own_credit)
        self._leave(leaving)
        self._turns = deque(self._lines.values())
        self._tell()

    def _grant(self, queues: Sequence[Queue], acks: bool) -> int:
        """Tell the broker the credit. Returns what each consumer has of its own, 0 where the channel has it."""
        credit = min(max(self._credit, 1), _MOST_CREDIT) if acks else 0
        wire = [topology.Queue(queue.name, arguments=queue.arguments) for queue in queues]
        shared = topology.qos_is_global(self._link.server, wire)
        calls: list[Call] = []
        if shared and credit != self._global_credit:
            calls.append(topology.qos_call(credit, is_global=True))
        elif not shared:
            if self._global_credit:
                calls.append(topology.qos_call(0, is_global=True))
            calls.append(topology.qos_call(credit, is_global=False))
        self._global_credit = credit if shared else 0
        if calls:
            self._channels.ask(_CONSUMING, calls)
        return 0 if shared else credit

    def _consume(self, names: Sequence[str], acks: bool, credit: int) -> None:
        calls: list[Call] = []
        for name in names:
            self._consumers += 1
            tag = f"celeriac-{self._consumers}"
            self._lines[tag] = _Line(name, acks, credit)
            calls.append(("basic.consume", {"queue": name, "consumer_tag": tag, "no_ack": not acks}))
        if calls:
            self._channels.ask(_CONSUMING, calls)

    def _leave(self, leaving: Mapping[str, _Line]) -> None:
        if not leaving:
            return
        self._channels.ask(_CONSUMING, [("basic.cancel", {"consumer_tag": tag}) for tag in leaving])
        heirs = {line.queue: line for tag, line in self._lines.items() if tag not in leaving}
        for tag, line in leaving.items():
            del self._lines[tag]
            heir = heirs.get(line.queue)
            if heir is not None and (heir.acks or not line.acks):
                heir.waiting.extendleft(reversed(line.waiting))
            elif line.acks:
                for held in line.waiting:
                    self._reject(held, requeue=True)
        self._flush()

    def _hear_consuming(self, event: Event) -> None:
        if isinstance(event, Arrived):
            line = self._lines[event.consumer_tag]
            held = _Held(event, settled=not line.acks)
            if line.acks:
                self._owed[event.delivery_tag] = held
            if event.body is None:
                logger.error(
                    "%s: a message of %d bytes is too large for us and was rejected", line.queue, event.body_size
                )
                self._reject(held, requeue=False)
            else:
                line.waiting.append(held)
        elif isinstance(event, Called) and event.name == "basic.cancel":
            gone = self._lines.get(event.args["consumer_tag"])
            name = gone.queue if gone is not None else event.args["consumer_tag"]
            raise self._link.lose(
                f"queue {name} was deleted, or its node failed, while we listened to it: connect again"
            )

    # -- taking --

    def take(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = monotonic() + timeout
        link = self._link
        self._flush()
        self._channels.pump()
        while True:
            taken = self._hand_out(limit)
            left = deadline - monotonic()
            if taken or left <= 0 or limit < 1:
                self._tell()
                return taken
            self._flush()
            self._channels.pump(min(left, link.beat()))

    def _hand_out(self, limit: int) -> list[Delivery]:
        """In turn from each queue, so that a long one starves nobody."""
        taken: list[Delivery] = []
        turns = self._turns
        if self._acks:
            limit = min(limit, self._credit - self._out)
        idle = 0
        while len(taken) < limit and idle < len(turns):
            line = turns[0]
            turns.rotate(-1)
            if line.waiting:
                taken.append(self._deliver(line.queue, line.waiting.popleft()))
                idle = 0
            else:
                idle += 1
        if self._acks:
            self._out += len(taken)
        return taken

    def _deliver(self, queue: str, held: _Held) -> Delivery:
        arrived = held.arrived
        body = arrived.body or b""
        try:
            message = read_message(arrived.properties, body, self._headers.read)
        except BadMessage as why:
            logger.warning("%s: a message's properties cannot be read, only its body is handed on: %s", queue, why)
            message = Message(body)
        exchange, routing_key = arrived.exchange, arrived.routing_key
        if exchange == _DELIVERY_EXCHANGE:
            if parked_in(exchange, routing_key):
                exchange, routing_key = "", queue
            for name in _TRACES:
                message.headers.pop(name, None)
        redelivered = arrived.redelivered
        if message.headers.get(_REDELIVERED) is True:
            redelivered = message.headers.pop(_REDELIVERED)
        priority = message.properties.get("priority", 0)
        tag = None if held.settled else held
        return Delivery(tag, message, queue, exchange, routing_key, redelivered, priority)

    # -- settling --

    def settle(self, settlements: Sequence[Settlement]) -> None:
        owed, over = self._owed, self._link.over
        impossible: BadCall | None = None
        for delivery, verdict in settlements:
            held: Any = delivery.tag
            if held is None or held.settled:
                continue
            number = held.arrived.delivery_tag
            if over or owed.get(number) is not held:
                self.dropped += 1
                continue
            if verdict is Verdict.ACK:
                del owed[number]
                self._acked.append(number)
            elif verdict is Verdict.DROP:
                self._reject(held, requeue=False)
            elif verdict is Verdict.RESTORE:
                self._reject(held, requeue=True)
            elif verdict is Verdict.REQUEUE:
                self._to_move.append((held, "", delivery.queue, _anew(held.arrived.properties, redelivered=True)))
            else:
                try:
                    where = self._parking(delivery.queue, verdict.until)
                except BadCall as why:
                    impossible = why
                    continue
                self._to_move.append((held, *where, _anew(held.arrived.properties, redelivered=False)))
            held.settled = True
            self._out -= 1
        self._tell()
        if impossible is not None:
            raise impossible

    def _reject(self, held: _Held, *, requeue: bool) -> None:
        number = held.arrived.delivery_tag
        self._owed.pop(number, None)
        self._rejected.append((number, write_reject(_CONSUMING, number, requeue=requeue)))

    def _flush(self) -> None:
        """Write what was settled: rejections first, since an acknowledgement may speak for all before it, and the
        oldest first: the broker puts each where it was, and may serve it again before it reads of the next."""
        if self._to_move and self._link.blocked is None:
            self._move()
        frames = [frame for _, frame in sorted(self._rejected)] if self._rejected else []
        if self._acked:
            acked, lowest = self._acked, next(iter(self._owed), None)
            acked.sort()
            covered = len(acked) if lowest is None else bisect_left(acked, lowest)
            if covered:
                frames.append(write_ack(_CONSUMING, acked[covered - 1], multiple=covered > 1))
            frames += [write_ack(_CONSUMING, number) for number in acked[covered:]]
            self._acked = []
        if frames:
            self._rejected.clear()
            self._link.write(b"".join(frames))

    # -- settling by publishing anew --

    def _parking(self, queue: str, until: float) -> tuple[str, str]:
        if "park" not in self.can:
            raise BadCall(f"queue {queue}: this connection parks no messages (option delayed_delivery)")
        seconds = min(max(ceil(until - time.time()), 1), delayed.MAX_DELAY)
        key = delayed.delayed_routing_key(seconds, self._declarer.parking(queue))
        return delayed.entry_exchange(), key

    def _move(self) -> None:
        self._open_publishing()
        moves, self._to_move = self._to_move, []
        for held, exchange, routing_key, properties in moves:
            call = publish_call(_PUBLISHING, exchange, routing_key)
            body = held.arrived.body or b""
            self._publish([write_publish(call, _PUBLISHING, properties, body, self._link.frame_max)])
            if self._confirming:
                self._moving[self._confirms.sent] = held
            else:
                self._moved(held, accepted=True)

    def _moved(self, held: _Held, accepted: bool) -> None:
        if accepted:
            del self._owed[held.arrived.delivery_tag]
            self._acked.append(held.arrived.delivery_tag)
        else:
            logger.warning("the broker did not accept a message that was to go elsewhere: it goes back to its queue")
            self._reject(held, requeue=True)

    # -- by the clock --

    def tend(self, now: float) -> float:
        self._flush()
        self._channels.pump()
        self._flush()
        if len(self._confirms) and monotonic() - self._asked > self._confirm_timeout:
            raise self._link.lose(self._unanswered())
        wait = self._link.beat()
        self._tell()
        return now + (min(wait, 1.0) if self._moving or self._to_move else wait)

    def fileno(self) -> int:
        if self._bell is None:
            self._bell = Bell(self._link.fileno())
            self._tell()
        return self._bell.fileno()

    def _tell(self) -> None:
        """What waits in our memory must wake who sleeps on the descriptor."""
        if self._bell is not None:
            room = not self._acks or self._out < self._credit
            self._bell.ring(room and any(line.waiting for line in self._turns))

    def close(self) -> None:
        if not self._link.over:
            with suppress(Exception):  # what could not be written comes back to its queue: nothing is lost by it
                self._part()
            self._link.close()
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    def _part(self) -> None:
        deadline = monotonic() + _FAREWELL
        self._flush()
        while self._moving and (left := deadline - monotonic()) > 0:
            self._channels.pump(left)
        self._flush()


def _anew(raw: bytes, *, redelivered: bool) -> bytes:
    """The properties of a message that is published once more, by us."""
    try:
        properties = read_properties(raw)
        headers = properties.setdefault("application_headers", {})
        for name in (*_TRACES, *_OWN_TO_A_DELIVERY):
            headers.pop(name, None)
        properties.pop("user_id", None)  # the broker compares it with ours
        if redelivered:
            headers[_REDELIVERED] = True
        else:
            properties.pop("expiration", None)  # would end the wait; the task's own `expires` is what counts
        return write_properties(properties)
    except (BadMessage, BadCall):
        return raw


def connect(url: str, options: Mapping[str, Any] | None = None, timeout: float = 4.0) -> AmqpBroker:
    """`amqp://user:password@host:port/vhost`, `amqps://`, or several with `;` between them."""
    given = options or {}

    def one(each: str) -> AmqpBroker:
        address, every = parse(each, given)
        link = Link.connect(
            address,
            connect_timeout=number(every, "connect_timeout", timeout),
            timeout=number(every, "timeout", _TIMEOUT),
            properties={"connection_name": f"{os.getpid()}@{socket.gethostname()}"}
            | dict(every.get("client_properties") or {}),
            settings=every.get("socket_settings") or {},
        )
        return AmqpBroker(link, every)

    return failover.first_that_answers(failover.several(url), one, given.get("failover_strategy"))

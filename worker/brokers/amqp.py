"""The RabbitMQ broker: publish, deliver and settle in frames of our own, on a socket of our own.

Law: a send is over when the broker has confirmed every message of it. A delivery stays in our name at the broker until
its settlement is written; what goes behind its queue, or waits for a time, is published anew, and only when that is
confirmed is the old one acknowledged: in between there are two, never none.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from math import ceil
from time import monotonic

from ...protocol.errors import BadCall
from ...protocol.hints import TYPE_CHECKING, Any
from ...protocol.wire.amqp import delayed, topology
from ...protocol.wire.amqp.headers import HeaderReader
from ...protocol.wire.amqp.inbox import Called, Event
from ...protocol.wire.amqp.inbox import Delivery as Arrived
from ...protocol.wire.amqp.template import ContentTemplate
from ...protocol.wire.reprs import Shown
from ...protocol.wire.template import Particulars, Template
from .. import late, sockets
from . import failover
from .amqp_address import deadline, number, parse
from .amqp_channels import Call, Channels
from .amqp_declare import Declarer
from .amqp_ledger import CHANNEL, Held, Ledger
from .amqp_link import Link
from .amqp_messages import anew, read_delivery
from .amqp_outbox import PUBLISHING, Outbox, Piece
from .base import Again, Delivery, KinFill, Parcel, Queue, Settlement, Verdict
from .bell import Bell

if TYPE_CHECKING:
    import socket

    from .amqp_messages import Seal

logger = late.logger("celeriac.broker")

_MOST_CREDIT = 0xFFFF
_FAREWELL = 1.0
_TIMEOUT = 10.0


class _Line:
    """One consumer, and what has come for it and was not handed out yet."""

    __slots__ = ("acks", "credit", "queue", "waiting")

    def __init__(self, queue: str, acks: bool, credit: int) -> None:
        self.queue = queue
        self.acks = acks
        self.credit = credit  # its own; 0 where the channel alone has it
        self.waiting: deque[Held] = deque()


class AmqpForm:
    """One template to one place."""

    __slots__ = ("_alone", "_call", "_content", "_template", "place")

    def __init__(self, template: Template, where: tuple[str, str], call: bytes) -> None:
        self.place = where
        self._call = call
        self._content = ContentTemplate(template)
        self._template = template
        body = template.body

        def given_texts(given: Particulars, _kwargs: Any) -> tuple[bytes, str, str]:
            return body(given.args, given.kwargs), given.argsrepr, given.kwargsrepr

        self._alone = self._content.kin().publisher(call, PUBLISHING, given_texts)

    def fill(self, given: Particulars) -> Piece:
        """In its frames, or the properties and the body."""
        task_id, _, _, _, _, root_id, parent_id, eta, group, group_index = given
        if root_id is parent_id is eta is group is None:
            return self._alone(task_id, given, None, group_index)
        return self._content.fill(given), self._template.body(given.args, given.kwargs)

    def kin(
        self, shown: Shown, root_id: str | None = None, parent_id: str | None = None, group: str | None = None
    ) -> KinFill:
        """What fits into small frames is filled into these at once."""
        content = self._content.kin(root_id, parent_id, group)
        return content.publisher(self._call, PUBLISHING, self._template.writer(shown))


class AmqpBroker:
    """One connection to one RabbitMQ."""

    def __init__(self, link: Link, options: Mapping[str, Any]) -> None:
        self._link = link
        self._channels = Channels(link)
        self._outbox = Outbox(self._channels, options)
        queue_type = options.get("delayed_delivery", "quorum") or None
        self._declarer = Declarer(self._channels, queue_type)
        self.can = frozenset({"priority", "fanout", "dead-letter", "descriptor", "content", "form", "entrust", "share"})
        if queue_type is not None:
            self.can |= {"park"}
        if self._outbox.confirming:
            self.can |= {"confirm"}
        self.dropped = 0  # settlements of deliveries that are no longer ours: the broker has them back already
        self._bell: Bell | None = None
        self.send_filled: Callable[[AmqpForm, Sequence[Piece]], None] = self._outbox.send_filled
        """`send`, of what a form has filled. There is somebody to tell from the first `fileno` on."""
        self._to_move: list[tuple[Held, str, str, bytes]] = []
        self._consuming = False
        self._lines: dict[str, _Line] = {}  # by consumer tag
        self._consumers = 0
        self._global_credit = 0
        self._own_credit = 0  # as the broker was told, for consumers to come
        self._each = 0  # of a shared credit, for one queue; 0: all
        self._varies = False  # the credit of what is listened to
        self._turns: deque[_Line] = deque()  # the next to be served first
        self._acks = True
        self._credit = 0
        self._out = 0  # handed out and not settled
        self._ledger = Ledger()
        self._telling: Callable[[bytes], None] | None = None
        self._read_headers = HeaderReader().read
        self._seal: Seal

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
        if parcels:
            self._outbox.send(parcels)
            self._tell()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What is sent meanwhile is confirmed in so many seconds, whatever `confirm_timeout` is."""
        with self._outbox.within(seconds):
            yield

    def form(self, template: Template, routing_key: str, exchange: str, _exchange_type: str) -> AmqpForm:
        where = exchange, routing_key
        return AmqpForm(template, where, self._outbox.call(where))

    def _send_filled_and_tell(self, form: AmqpForm, pieces: Sequence[Piece]) -> None:
        self._outbox.send_filled(form, pieces)
        self._tell()

    # -- listening --

    def share(self, each: int) -> None:
        self._each = each

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        self._declarer.declare(queues)
        if acks:
            self._declarer.follow_stock(queues)
        self._credit, self._acks = credit, acks
        wanted = {queue.name: queue for queue in queues} if credit > 0 or not acks else {}
        if not self._consuming:
            from ...protocol.wire.amqp.sealing import seal

            self._seal = seal
            self._channels.open(CHANNEL, "consuming", self._hear_consuming)
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
        """Tell the broker the credit. Returns what each consumer has of its own, 0 where the channel alone has it."""
        # More than it has a number for is any number: then `take` alone counts.
        credit = max(self._credit, 1) if acks and self._credit <= _MOST_CREDIT else 0
        wire = [topology.Queue(queue.name, arguments=queue.arguments) for queue in queues]
        # With a shared credit RabbitMQ may serve the next message before it has put back the one that freed the place.
        # A credit of a consumer's own cannot be changed: another consumer takes its place, and does not count what the
        # first one was given. So one that changes is shared from then on.
        self._varies = self._varies or any(
            line.acks and line.credit not in (0, credit) for line in self._lines.values()
        )
        shared = (len(wire) > 1 or self._varies) and topology.qos_is_global(self._link.server, wire)
        # Without parts the first queue has all of a shared credit at first; then, whenever places become free, one that
        # RabbitMQ draws by lot may have them all.
        part = self._each if self._each < credit and len(wire) > 1 else 0
        own = part if shared else credit
        calls: list[Call] = []
        if not shared and self._global_credit:
            calls.append(topology.qos_call(0, is_global=True))
        if own != self._own_credit or not shared:
            calls.append(topology.qos_call(own, is_global=False))
        if shared and credit != self._global_credit:
            calls.append(topology.qos_call(credit, is_global=True))
        self._own_credit = own
        self._global_credit = credit if shared else 0
        if calls:
            self._channels.ask(CHANNEL, calls)
        return own

    def _consume(self, names: Sequence[str], acks: bool, credit: int) -> None:
        calls: list[Call] = []
        for name in names:
            self._consumers += 1
            tag = f"celeriac-{self._consumers}"
            self._lines[tag] = _Line(name, acks, credit)
            calls.append(("basic.consume", {"queue": name, "consumer_tag": tag, "no_ack": not acks}))
        if calls:
            self._channels.ask(CHANNEL, calls)

    def _leave(self, leaving: Mapping[str, _Line]) -> None:
        if not leaving:
            return
        self._channels.ask(CHANNEL, [("basic.cancel", {"consumer_tag": tag}) for tag in leaving])
        heirs = {line.queue: line for tag, line in self._lines.items() if tag not in leaving}
        for tag, line in leaving.items():
            del self._lines[tag]
            heir = heirs.get(line.queue)
            if heir is not None and (heir.acks or not line.acks):
                heir.waiting.extendleft(reversed(line.waiting))
            elif line.acks:
                for held in line.waiting:
                    self._ledger.reject(held, requeue=True)
        self._flush()

    def _hear_consuming(self, event: Event) -> None:
        if isinstance(event, Arrived):
            line = self._lines[event.consumer_tag]
            held = Held(event, settled=not line.acks)
            if line.acks:
                self._ledger.enter(held)
            if event.body is None:
                logger.error(
                    "%s: a message of %d bytes is too large for us and was rejected", line.queue, event.body_size
                )
                self._ledger.reject(held, requeue=False)
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
                taken.append(read_delivery(line.queue, line.waiting.popleft(), self._read_headers, self._seal))
                idle = 0
            else:
                idle += 1
        if self._acks:
            self._out += len(taken)
        return taken

    # -- settling --

    def entrust(self, keep: Callable[[socket.socket | None], None], telling: Callable[[bytes], None]) -> None:
        keep(self._link.share())
        self._telling = telling

    def settle(self, settlements: Sequence[Settlement]) -> None:
        ledger, over = self._ledger, self._link.over
        impossible: BadCall | None = None
        held: Any  # `Held`, unless it is some other broker's delivery
        for delivery, verdict in settlements:
            held = delivery.tag
            if held is None or (isinstance(held, Held) and held.settled):
                continue
            if over or not isinstance(held, Held) or not ledger.has(held):
                self.dropped += 1
                continue
            if verdict is Verdict.ACK:
                ledger.ack(held)
            elif verdict is Verdict.DROP:
                ledger.reject(held, requeue=False)
            elif verdict is Verdict.RESTORE:
                ledger.reject(held, requeue=True)
            elif verdict is Verdict.REQUEUE or isinstance(verdict, Again):
                losses = 0 if verdict is Verdict.REQUEUE else verdict.losses
                properties = anew(held.arrived.properties, redelivered=True, losses=losses)
                self._to_move.append((held, "", delivery.queue, properties))
            else:
                try:
                    where = self._parking(delivery.queue, verdict.until)
                except BadCall as why:
                    impossible = why
                    continue
                self._to_move.append((held, *where, anew(held.arrived.properties, redelivered=False)))
            held.settled = True
            self._out -= 1
        if not over:
            frames = self._ledger.frames()
            if frames:  # at once: somebody waits for it to begin a task
                if self._telling is not None:
                    self._telling(self._link.seen(frames))
                self._link.write(frames)
        self._tell()
        if impossible is not None:
            raise impossible

    def _flush(self) -> None:
        """Write what was settled."""
        if self._to_move and self._link.blocked is None:
            self._move()
        frames = self._ledger.frames()
        if frames:
            self._link.write(frames)

    # -- settling by publishing anew --

    def _parking(self, queue: str, until: float) -> tuple[str, str]:
        if "park" not in self.can:
            raise BadCall(f"queue {queue}: this connection parks no messages (option delayed_delivery)")
        seconds = min(max(ceil(until - time.time()), 1), delayed.MAX_DELAY)
        key = delayed.delayed_routing_key(seconds, self._declarer.parking(queue))
        return delayed.entry_exchange(), key

    def _move(self) -> None:
        moves, self._to_move = self._to_move, []
        for held, exchange, routing_key, properties in moves:
            self._outbox.post(exchange, routing_key, properties, held.arrived.body or b"", partial(self._moved, held))

    def _moved(self, held: Held, accepted: bool) -> None:
        if accepted:
            self._ledger.ack(held)
        else:
            logger.warning("the broker did not accept a message that was to go elsewhere: it goes back to its queue")
            self._ledger.reject(held, requeue=True)

    # -- by the clock --

    def tend(self, now: float) -> float:
        self._flush()
        self._channels.pump()
        self._flush()
        self._outbox.check()
        wait = self._link.beat()
        self._tell()
        return now + (min(wait, 1.0) if self._outbox.posted or self._to_move else wait)

    def fileno(self) -> int:
        if self._bell is None:
            self._bell = Bell(self._link.fileno())
            self.send_filled = self._send_filled_and_tell
            self._tell()
        return self._bell.fileno()

    def _tell(self) -> None:
        """What waits in our memory must wake who sleeps on the descriptor, and so must the end."""
        if self._bell is not None:
            room = not self._acks or self._out < self._credit
            self._bell.ring(self._link.over or (room and any(line.waiting for line in self._turns)))

    def abandon(self) -> None:
        """In a forked child: let go of what is the parent's, without a word to the broker."""
        self._link.abandon()
        self._hang_up()

    def close(self) -> None:
        if not self._link.over:
            with suppress(Exception):  # what could not be written comes back to its queue: nothing is lost by it
                self._part()
        self._link.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._bell is not None:
            self._bell.close()
            self._bell = None
            self.send_filled = self._outbox.send_filled

    def _part(self) -> None:
        deadline = monotonic() + _FAREWELL
        self._flush()
        while self._outbox.posted and (left := deadline - monotonic()) > 0:
            self._channels.pump(left)
        self._flush()


def connect(url: str, options: Mapping[str, Any] | None = None, timeout: float = 4.0) -> AmqpBroker:
    """`amqp://user:password@host:port/vhost`, `amqps://`, or several with `;` between them."""
    given = options or {}

    def one(each: str) -> AmqpBroker:
        address, every = parse(each, given)
        link = Link.connect(
            address,
            connect_timeout=number(every, "connect_timeout", timeout),
            timeout=deadline(every, _TIMEOUT),
            properties={"connection_name": f"{os.getpid()}@{sockets.hostname()}"}
            | dict(every.get("client_properties") or {}),
            settings=every.get("socket_settings") or {},
        )
        return AmqpBroker(link, every)

    return failover.first_that_answers(failover.several(url), one, given.get("failover_strategy"))

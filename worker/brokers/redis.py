"""The Redis broker: kombu's layout, so that stock workers and ours share queues, and nothing in nobody's hands.

Law: a message is taken, parked and put back in one step inside Redis. Three parts: this one talks (`redis_link`),
`redis_ear` waits, `redis_lease` does what the clock asks for. Sending waits for Redis' answer; settlements are kept
until the next `take`, `tend`, `send` or `close` and travel in the same write. What only a consumer needs is loaded by
the first `listen`.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from ...protocol.errors import BadCall, shown
from ...protocol.hints import TYPE_CHECKING, Any
from ...protocol.wire import redis
from ...protocol.wire.envelope import priority_of
from ...protocol.wire.envelope_template import EnvelopeTemplate
from ...protocol.wire.redis import Layout
from ...protocol.wire.redis_bindings import parse_members, reached
from ...protocol.wire.redis_order import ConsumeOrder
from ...protocol.wire.redis_scripts import (
    PARK,
    PUMP,
    PUT_BACK,
    RECLAIM,
    REFRESH_BINDING,
    SWEEP_BINDINGS,
    TAKE,
    UNLOCK,
)
from ...protocol.wire.reprs import Shown
from ...protocol.wire.resp import Command, ErrorReply
from ...protocol.wire.template import Particulars, Template
from ..ids import chance, new_tag
from ..late import logger
from ..redis_link import Link, advice, operational
from ..redis_link import connect as connect_link
from ..redis_place import Place
from ..redis_place import parse as parse_place
from . import redis_options
from .base import Again, Broker, Delivery, KinFill, Parcel, Park, Queue, Settlement, Verdict
from .redis_envelopes import Envelopes

if TYPE_CHECKING:
    import socket

    from ...protocol.wire.redis_held import Acking, Taken, Taking
    from .redis_ear import Ear
    from .redis_lease import Keeper

_SCRIPTS = (TAKE, PUT_BACK, RECLAIM, UNLOCK, PARK, PUMP, REFRESH_BINDING, SWEEP_BINDINGS)
_AT_ONCE = 1000  # envelopes in one write
_BYTES_AT_ONCE = 1 << 20
_PAUSE = 0.01  # per peer: how long who came too late stays away, so that the fleet's looks stay within bounds
_ORDERS = 100  # in which queues are asked, that are remembered
_FEW = 4  # peers, among whom nobody need step back
_CHECK = 10.0  # between two signs of life of the waiting connection; `health_check_interval` may shorten it

_LOG = logger(__name__)


class RedisForm:
    """One template to one list."""

    __slots__ = ("_template", "before_piece", "key", "place")

    def __init__(self, template: EnvelopeTemplate, key: str) -> None:
        self._template = template
        self.key = self.place = key
        named = key.encode()
        self.before_piece = b"*3\r\n$5\r\nLPUSH\r\n$%d\r\n%b\r\n$" % (len(named), named)

    def fill(self, given: Particulars) -> bytes:
        return self._template.fill(given, new_tag())

    def kin(
        self, shown: Shown, root_id: str | None = None, parent_id: str | None = None, group: str | None = None
    ) -> KinFill:
        template = self._template
        return template.kin(root_id, parent_id, group).filler(template.writer(shown), new_tag)


class RedisBroker:
    """A connection to a Redis, and a second one that waits, from the first `listen` on."""

    def __init__(self, link: Link, layout: Layout, options: Mapping[str, Any]) -> None:
        self.can = frozenset(
            {"priority", "fanout", "park", "confirm", "arm", "descriptor", "form", "texts", "entrust", "inherit"}
        )
        self.dropped = 0
        """Settlements that were lost with the connection: their messages come back."""
        self._link = link
        self.place = link.place
        self.layout = self._layout = layout
        self._options = options
        self._closed = False
        self._envelopes = Envelopes(options.get("body_encoding", "base64"))
        self._dead_letters: str | None = options.get("deadletter_queue") or None
        self._astray: set[tuple[str, str]] = set()
        self._expires: dict[str, int] = {}
        self._prefix = layout.global_keyprefix
        self._steps = tuple(map(layout.step, range(10)))
        self._held: dict[str, Taken] = {}
        self._acked: list[str] = []
        self._on_the_way = 0
        self._told = 0
        self._refused: ErrorReply | None = None
        self._telling: Callable[[bytes], None] | None = None
        self._moved: list[tuple[Taken, Verdict | Park | Again]] = []
        self.owner = os.urandom(8).hex()
        """By which Redis knows what this connection holds."""
        self._serial = 0
        self._keeper: Keeper | None = None
        self._ear: Ear | None = None
        self._takings: dict[tuple[str, ...], Taking] = {}
        self._acking: Acking
        self._most = 0  # messages in one take
        self._opened: Callable[[str | None, bytes, str], Delivery]
        self._asks = False  # a take asks what is left as well
        self._full = True  # the last take got all that it asked for
        self._check = min(float(options.get("health_check_interval") or _CHECK), _CHECK)
        self._checked = time.monotonic()
        self._listening: tuple[Queue, ...] = ()
        self._patterns: dict[str, Queue] = {}
        self._order = ConsumeOrder(())
        self._credit = 0
        self._acks = True
        self._ready: deque[Delivery] = deque()  # nothing is owed for these

    # --- queues

    def declare(self, queues: Sequence[Queue]) -> None:
        commands: list[Command] = []
        for queue in queues:
            if queue.expires is not None:
                self._expires[queue.name] = int(queue.expires * 1000)
            if queue.exchange and queue.name:
                commands += self._binding(queue)
        if commands:
            self._ask(*commands)

    def _binding(self, queue: Queue) -> list[Command]:
        expires = self._expires.get(queue.name)
        return redis.bind(
            self._layout, queue.exchange, queue.routing_key, queue.name, queue.exchange_type, expires=expires
        )

    def size(self, queue: str) -> int:
        *_, sizes = self._ask(*redis.size(self._layout, queue))
        return sum(sizes)

    def purge(self, queue: str) -> int:
        *_, done = self._ask(*redis.purge(self._layout, queue))
        return redis.purged(done)

    # --- sending

    def send(self, parcels: Sequence[Parcel]) -> None:
        if len(parcels) == 1 and not self._expires:
            parcel = parcels[0]
            if not parcel.exchange and parcel.routing_key:
                priority = priority_of(parcel.message.properties)
                step = self._steps[priority]
                key = self._layout.list_key(parcel.routing_key, step) if step else self._prefix + parcel.routing_key
                envelope = self._envelopes.seal(parcel, priority)
                self._ask(*self._unwritten(), ("LPUSH", key, envelope))
                return
        bindings = self._bindings(parcels)
        for part in _parts(parcels):
            commands = self._publishing(part, bindings)
            self._ask(*self._unwritten(), *commands)

    def form(self, template: Template, routing_key: str, exchange: str, _exchange_type: str) -> RedisForm | None:
        if exchange or not routing_key or routing_key in self._expires or not self._envelopes.in_base64:
            return None
        priority = priority_of(template.properties)
        step = self._steps[priority]
        key = self._layout.list_key(routing_key, step) if step else self._prefix + routing_key
        return RedisForm(EnvelopeTemplate(template, routing_key, priority), key)

    def send_filled(self, form: RedisForm, pieces: Sequence[bytes]) -> None:
        if len(pieces) > 1 or self._acked or self._moved:
            for part in _slices(pieces):
                self._ask(*self._unwritten(), ("LPUSH", form.key, *part))
            return
        (piece,) = pieces
        try:
            reply = self._link.exchange(b"%b%d\r\n%b\r\n" % (form.before_piece, len(piece), piece))
        except BaseException:
            self._lost()
            raise
        if type(reply) is ErrorReply:
            self._link.close()
            self._lost()
            raise operational(f"{self._link.place} answered LPUSH with an error: {advice().answer(reply)}")

    def _bindings(self, parcels: Sequence[Parcel]) -> Mapping[str, Any]:
        """Who is bound to the named exchanges now; asked anew for each send, since any peer may bind."""
        names = sorted({each.exchange for each in parcels if each.exchange and each.exchange_type != "fanout"})
        if not names:
            return {}
        found = self._ask(*(redis.members(self._layout, name) for name in names))
        return {name: parse_members(members, self._layout.sep) for name, members in zip(names, found, strict=True)}

    def _publishing(self, parcels: Sequence[Parcel], bindings: Mapping[str, Any]) -> list[Command]:
        lists: dict[tuple[str, int], list[bytes]] = {}
        commands: list[Command] = []
        for parcel in parcels:
            priority = priority_of(parcel.message.properties)
            envelope = self._envelopes.seal(parcel, priority)
            if parcel.exchange_type == "fanout" and parcel.exchange:
                commands += redis.publish(self._layout, parcel.exchange, parcel.routing_key, envelope)
                continue
            for queue in self._reached(parcel, bindings):
                lists.setdefault((queue, self._steps[priority]), []).append(envelope)
        for (queue, step), envelopes in lists.items():
            commands += redis.push(self._layout, queue, envelopes, step, self._expires.get(queue))
        return commands

    def _reached(self, parcel: Parcel, bindings: Mapping[str, Any]) -> Sequence[str]:
        """Where a message goes. One that would go nowhere goes to the dead letter queue, if there is any."""
        if parcel.exchange:
            found = reached(parcel.exchange_type, bindings[parcel.exchange], parcel.routing_key)
        else:
            found = [parcel.routing_key]
        if self._dead_letters is None or any(found):
            return found
        place = parcel.exchange, parcel.routing_key
        if place not in self._astray:
            self._astray.add(place)
            _LOG.warning(
                "%s: no queue is bound to exchange %s with the key %s: such messages go to %s (deadletter_queue)",
                *(self._link.place, shown(parcel.exchange), shown(parcel.routing_key), self._dead_letters),
            )
        return [self._dead_letters]

    # --- taking

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        self.declare(queues)
        gone = [queue for queue in self._listening if queue not in queues]
        self._leave(gone)
        self._listening, self._credit = tuple(queues), credit
        self._acks = acks and self._layout.ack_emulation
        self._patterns = {}
        for queue in queues:
            if queue.exchange_type == "fanout" and queue.exchange:
                _, *channels = redis.subscribe(self._layout, [(queue.exchange, queue.routing_key)])
                self._patterns.update((str(channel), queue) for channel in channels)
        # A fanout queue has a list as well: a stock producer that has not declared the exchange pushes there. Those
        # that expire are the private ones, of control and events, which nobody pushes to.
        named = (each.name for each in queues if each.exchange_type != "fanout" or each.expires is None)
        self._order = ConsumeOrder(tuple(dict.fromkeys(named)), self._layout.queue_order_strategy)
        if self._keeper is None:
            self._keeper = self._begin()
            self._keeper.live(time.time())
        if self._ear is None:
            from .redis_ear import Ear

            self._ear = Ear(self._link.place, self._layout)
            self._asks = self._ear.told_for(self._link)
        self._ear.follow(self._layout.list_keys(*self._order.queues), list(self._patterns))

    def _begin(self) -> Keeper:
        """What only a consumer needs, at its first `listen`."""
        from ...protocol.wire.redis_held import MOST, Acking
        from .redis_lease import Keeper
        from .redis_opening import opened

        self._acking, self._most, self._opened = Acking(self._layout), MOST, opened
        self._link.load(*_SCRIPTS)
        return Keeper(self._layout, self.owner, self._ask, self._held, self._options)

    def inherit(self, before: Broker) -> None:
        if isinstance(before, RedisBroker) and self._keeper is not None:
            self._keeper.bury_own(before.owner)
            if self._ear is not None:
                self._ear.served(more=True)

    def take(self, limit: int, timeout: float) -> list[Delivery]:
        ear = self._ear
        if ear is None:
            raise BadCall("take: nothing is listened to yet; call `listen` first")
        end = time.monotonic() + timeout
        if not ear.look or self._patterns:
            self._hear(ear, 0)
        while True:
            if self._ready:
                return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            room = min(limit, self._credit - len(self._held), self._most) if self._acks else limit
            if ear.look and room > 0 and self._order.queues:
                roused = ear.roused
                taken = self._take(ear, room) if self._acks else self._grab(limit)
                if taken:
                    return taken
                peers = self._keeper.peers if self._keeper is not None else 1
                # Who was roused and came too late lets others go first the next time.
                ear.look = False
                ear.arm(chance() * _PAUSE * peers if roused else 0)
            else:
                if self._acked or self._moved:
                    self._ask(*self._unwritten())
                if room > 0:
                    ear.arm()
            left = end - time.monotonic()
            if left <= 0:
                return []
            self._hear(ear, min(left, self._check))
            self._watch(ear)

    def _take(self, ear: Ear, count: int) -> list[Delivery]:
        asked = self._order.asked
        taking = self._takings.get(asked) or self._taking(asked)
        peers = self._keeper.peers if self._keeper is not None else 1
        # Who takes the last of it asks in the same write to be told of more; not who was roused with many others.
        ask = self._asks and not self._full and (peers <= _FEW or not ear.roused)
        question = ear.question if ask else ()
        command = taking.command(count, self._serial, time.time())
        replies = self._ask(*self._unwritten(), command, *question)
        taken = taking.taken(replies[-3] if ask else replies[-1])
        self._serial += len(taken)
        self._full = len(taken) == count
        deliveries = []
        for each in taken:
            self._held[each.tag] = each
            deliveries.append(self._opened(each.tag, each.envelope, each.queue))
        if len(asked) > 1:
            given = Counter(each.queue for each in taken)
            for queue in sorted(given, key=given.__getitem__):  # who has given most comes last
                self._order = self._order.served(queue)
        if ask:
            ear.asked(replies[-1])
        elif taken:
            # Fewer than asked for: the lists were empty then, and the next step is to ask to be told.
            ear.served(more=self._full)
        return deliveries

    def _taking(self, asked: tuple[str, ...]) -> Taking:
        if len(self._takings) > _ORDERS:
            self._takings.clear()
        from ...protocol.wire.redis_held import Taking

        found = self._takings[asked] = Taking(self._layout, asked, self.owner)
        return found

    def _grab(self, limit: int) -> list[Delivery]:
        """Without acknowledgements: out of the lists, and gone. What is more than the limit is kept for the next."""
        queues = self._order.asked
        keys = self._layout.list_keys(*queues)
        commands: list[Command] = [("MULTI",)]
        for key in keys:
            commands += [("LRANGE", key, -limit, -1), ("LTRIM", key, 0, -limit - 1)]
        *_, done = self._ask(*self._unwritten(), *commands, ("EXEC",))
        for row, found in enumerate(done[::2]):
            queue = queues[row % len(queues)]
            self._ready.extend(self._opened(None, envelope, queue) for envelope in reversed(found))
            if found:
                self._order = self._order.served(queue)
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def _hear(self, ear: Ear, timeout: float) -> None:
        try:
            ear.hear(timeout)
            while ear.news:
                pattern, _, envelope = ear.news.popleft()
                queue = self._patterns.get(pattern)
                if queue is not None:
                    self._ready.append(self._opened(None, envelope, queue.name))
        except BaseException:
            ear.close()
            self._lost()
            raise

    def _watch(self, ear: Ear) -> bool:
        """Whether it was time to see that the waiting connection still lives."""
        if time.monotonic() - self._checked < self._check:
            return False
        self._checked = time.monotonic()
        ear.check()
        return True

    def fileno(self) -> int:
        return -1 if self._ear is None else self._ear.fileno()

    # --- settling

    def entrust(self, keep: Callable[[socket.socket | None], None], telling: Callable[[bytes], None]) -> None:
        keep(self._link.share())
        self._telling = telling

    def settle(self, settlements: Sequence[Settlement]) -> None:
        for delivery, verdict in settlements:
            taken = self._held.pop(delivery.tag, None)
            if taken is None:
                continue
            if verdict is Verdict.ACK or verdict is Verdict.DROP:
                self._acked.append(taken.tag)
            else:
                self._moved.append((taken, verdict))
        if self._acked:
            self._tell_acked()

    def _tell_acked(self) -> None:
        """At once, and without waiting for what Redis says: whoever waits for an acknowledgement to begin a task must
        not be killed in between. What Redis has against it comes out of the next call that asks something."""
        acked, self._acked = self._acked, []
        self._told += len(acked)
        parts = [self._acking.command(acked[start : start + _AT_ONCE]) for start in range(0, len(acked), _AT_ONCE)]
        data = b"".join(parts)
        try:
            if self._telling is not None:
                self._telling(self._link.seen(data))
            self._link.post_packed(data, 4 * len(parts), self._hear_of_acked)
        except BaseException:
            self._lost()
            raise

    def _hear_of_acked(self, reply: Any) -> None:
        error = _error_in(reply)
        if error is not None:
            self._refused = self._refused or error

    def _unwritten(self) -> list[Command]:
        """The commands of what was settled since the last time."""
        if not self._acked and not self._moved:
            return []
        acked, self._acked = self._acked, []
        moved, self._moved = self._moved, []
        from ...protocol.wire import redis_held  # whoever held something has it

        self._on_the_way = len(acked) + len(moved)
        commands: list[Command] = []
        for start in range(0, len(acked), _AT_ONCE):
            commands += redis_held.ack(self._layout, *acked[start : start + _AT_ONCE])
        for verdict, run in groupby(moved, key=_manner):
            for part in _slices(list(run)):
                commands.append(self._moving(verdict, part))
        if moved and self._ear is not None:
            self._ear.served(more=True)
        return commands

    def arm(self) -> bool:
        ear = self._ear
        if ear is None or ear.look or self._moved:
            return True
        if not self._acks or len(self._held) < self._credit:
            ear.arm()
        return False

    def _moving(self, verdict: Any, run: Sequence[tuple[Taken, Any]]) -> Command:
        from ...protocol.wire import redis_held, redis_parked

        held = [taken for taken, _ in run]
        if verdict is Park:
            if self._keeper is not None:
                self._keeper.parked(min(park.until for _, park in run))
            return redis_parked.park(self._layout, [(taken, park.until) for taken, park in run])
        if verdict is Verdict.RESTORE:
            return redis_held.put_back(self._layout, held[::-1], front=True)
        losses = {taken.tag: again.losses for taken, again in run if isinstance(again, Again)}
        return redis_held.put_back(self._layout, held, front=False, losses=losses)

    # --- the clock

    def tend(self, now: float) -> float:
        if self._acked or self._moved:
            self._ask(*self._unwritten())
        if self._keeper is None or self._ear is None:
            return now + self._check
        self._hear(self._ear, 0)
        if self._watch(self._ear):
            for queue in self._listening:
                if queue.name in self._expires and queue.exchange:
                    self._ask(*self._binding(queue))
        return min(self._keeper.tend(now), now + self._check)

    # --- leaving

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        held = len(self._held)
        try:
            if self._link.open:
                self._put_all_back()
            else:
                self._lost()
        except (_error(), BadCall) as problem:
            if held:
                text = "%s: %d messages could not be put back, and come back by themselves: %s"
                _LOG.warning(text, self._link.place, held, problem)
            else:
                _LOG.debug("%s: left without a word: %s", self._link.place, problem)
        finally:
            if self._ear is not None:
                self._ear.close()
            self._link.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's connections without a word to Redis."""
        self._closed = True
        if self._ear is not None:
            self._ear.close()
        self._link.close()

    def _put_all_back(self) -> None:
        held = list(self._held.values())
        self._held.clear()
        self._moved += [(taken, Verdict.RESTORE) for taken in reversed(held)]
        commands = self._unwritten()
        if commands:
            self._ask(*commands)
        self._leave(self._listening)
        if self._keeper is not None:
            self._keeper.leave()

    def _leave(self, queues: Iterable[Queue]) -> None:
        """Private queues go with their listener: those of one listener, and copies of a fanout."""
        commands: list[Command] = []
        for queue in queues:
            if queue.exclusive or (queue.auto_delete and queue.exchange_type == "fanout"):
                commands += redis.delete(
                    self._layout, queue.exchange, queue.routing_key, queue.name, queue.exchange_type
                )
        if commands:
            self._ask(*commands)

    # --- asking

    def _ask(self, *commands: Command | bytes) -> list[Any]:
        """The replies. An error among them ends the connection, but for a script that the server has forgotten."""
        if not commands:
            return []
        link = self._link
        try:
            replies = link.ask(*commands)
        except BaseException:
            self._lost()
            raise
        for index, reply in enumerate(replies):
            error = _error_in(reply)
            if error is None:
                continue
            if error.code == "NOSCRIPT":
                link.load(*_SCRIPTS)
                (again,) = link.ask(commands[index])
                replies[index], error = again, _error_in(again)
            if error is None or _is_done_all_the_same(commands[index], error):
                continue
            link.close()
            self._lost()
            raise operational(f"{link.place} answered {_name(commands[index])} with an error: {advice().answer(error)}")
        self._on_the_way = 0
        if self._refused is not None:
            link.close()
            self._lost()
            raise operational(
                f"{link.place} answered an acknowledgement with an error: {advice().answer(self._refused)}"
            )
        self._told = 0
        return replies

    def _lost(self) -> None:
        self.dropped += self._told + self._on_the_way + len(self._acked) + len(self._moved)
        self._acked, self._moved, self._told, self._on_the_way = [], [], 0, 0


def _error_in(reply: Any) -> ErrorReply | None:
    if type(reply) is ErrorReply:
        return reply
    if type(reply) is list:
        for each in reply:
            if type(each) is ErrorReply:
                return each
    return None


def _name(command: Command | bytes) -> str:
    return str(command[0]) if isinstance(command, tuple) else command.split(b"\r\n", 3)[2].decode()


def _is_done_all_the_same(command: Command | bytes, error: ErrorReply) -> bool:
    """Redis before 6.2 has no deadlines for bindings; the binding itself is made before it finds that out."""
    return command[:2] == ("EVALSHA", REFRESH_BINDING.sha) and "syntax error" in error.text


def _manner(moved: tuple[Taken, Verdict | Park | Again]) -> Any:
    """Those that go the same way go together."""
    verdict = moved[1]
    return Verdict.REQUEUE if isinstance(verdict, Again) else Park if isinstance(verdict, Park) else verdict


def _slices(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _parts(parcels: Sequence[Parcel]) -> Iterator[Sequence[Parcel]]:
    """Pieces of bounded count and size: memory stays flat and no write is so long that its deadline is unfair."""
    start = size = 0
    for end, parcel in enumerate(parcels):
        if end > start and (end - start >= _AT_ONCE or size + len(parcel.message.body) > _BYTES_AT_ONCE):
            yield parcels[start:end]
            start, size = end, 0
        size += len(parcel.message.body)
    if start < len(parcels):
        yield parcels[start:]


def _error() -> type[Exception]:
    from kombu.exceptions import OperationalError

    error: type[Exception] = OperationalError
    return error


# --- connecting


def connect(url: str, options: Mapping[str, Any], timeout: float) -> Broker:
    """`redis://`, `rediss://`, `valkey://`, `redis+socket://`, `unix://`, `sentinel://`. See docs for the options."""
    redis_options.name_unknown(options, url)
    given = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **_said(options)}
    return connect_to(parse_place(url, given), given)


def connect_to(place: Place, options: Mapping[str, Any]) -> Broker:
    redis_options.check(options)
    layout = Layout.from_options(options, place.db)
    return RedisBroker(connect_link(place), layout, options)


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}

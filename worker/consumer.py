"""From the broker to the pool and back: takes messages, asks `rules.delivery` what must happen, and makes it happen.

Law: what is decided is decided there; here it is done. In one `turn` much is taken, handed over and settled at once.
An early acknowledgement is with the broker before its job is released. Nothing that arrives stops the worker: what is
no task message is buried with the reason, and the work goes on.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..protocol.errors import BadCall, BadMessage, shown
from ..protocol.rules import decisions as decided
from ..protocol.rules.decisions import Decision, How, Manner, Settle, Submit, Terms
from ..protocol.rules.delivery import Deliveries, Place, Stop
from ..protocol.rules.limits import read_rate
from ..protocol.rules.outcome import Fate
from ..protocol.rules.revokes import Revokes
from ..protocol.wire.message_reading import Reader
from .announcing import ANNOUNCED, Announcer, about
from .brokers.abilities import Arming, Entrusting, Inheriting
from .brokers.base import Again, Broker, Delivery, Park, Queue, Settlement, Verdict
from .dead_letters import DeadLetters
from .events import Dispatcher
from .guests import Guest, Host
from .kept import operational
from .options import Options
from .parts import Parts
from .pools.base import Begun, Ended, Happening, Job, Lost, Overdue, Pool, Promising, Returned
from .ports import Owner
from .request import Kind, Request, arrival, open_request

if TYPE_CHECKING:
    from .shared_limits import SharedLimits

request_log = logging.getLogger("celery.worker.request")
consumer_log = logging.getLogger("celery.worker.consumer.consumer")

_MOST = 1000  # taken in one turn
_WIDEST = 0xFFFF
_NEVER = float("inf")
_SUCCEEDED = 1000  # ids kept, of the tasks that succeeded last
_SELDOM = 1.0
_SOON = 0.05  # as long as a window may be one for others than those who wait aside now
_FEW = 16  # so many have a window to their measure, more are rounded up: each new one costs the broker a word
_VERDICTS = {how: Verdict[how.name] for how in How}
_OWN = Manner(late=True)


class Consumer:
    """`events` are told what happens. All methods are for the worker's one thread."""

    def __init__(
        self,
        owner: Owner,
        options: Options,
        pool: Pool,
        revokes: Revokes,
        events: Dispatcher,
        reader: Reader,
        hostname: str,
    ) -> None:
        taking = options.taking
        self.owner = owner
        self.options = options
        self.pool = pool
        self.events = events
        self.announcer = Announcer(owner, events, self)
        self.reader = reader
        self.hostname = hostname
        unknown = (taking.unknown_task_delay, taking.unknown_task_retries) if taking.unknown_task == "requeue" else None
        terms = Terms(
            horizon=float("inf") if taking.eta_horizon is None else taking.eta_horizon,
            aside=taking.eta_limit,
            losses=taking.max_deliveries,
            unknown=unknown,
            cancel_on_loss=taking.cancel_on_connection_loss,
        )
        self.deliveries = Deliveries(1, revokes, terms)
        self.requests: dict[int, Request] = {}
        self.outside: set[int] = set()
        """Deliveries that their tasks' own strategies have."""
        self.guests: dict[int, Guest] = {}
        self.queues: dict[str, Sequence[Queue]] = dict(owner.queues())
        self.done: Counter[str] = Counter()
        self.succeeded: deque[str] = deque(maxlen=_SUCCEEDED)
        """How many of each task were begun; `inspect stats` shows it."""
        self.accepted = 0
        self.broker: Broker | None = None
        self._before: Broker | None = None
        self.trouble: BaseException | None = None
        """What ended the connection, until somebody has seen to it."""
        self.controller: Any = None
        """Whose it is, as Celery's names have it."""
        self.app: Any = None
        self.prefetch = taking.prefetch
        self._kinds: dict[str, Kind] = {}
        self._rates: dict[str, Any] = {}
        self._common: SharedLimits | None = None
        if taking.common_rate_limits and taking.rate_limits:
            from .shared_limits import SharedLimits

            self._common = SharedLimits(owner.shown_url(options.broker.urls[0]))
        self._dead = DeadLetters(taking.dead_queue)
        self._arm: Callable[[], bool] | None = None
        self._entrusted = self._told = False
        self._promising = pool if "promise" in pool.can and isinstance(pool, Promising) else None
        self._number = 0
        self._window, self._parts = 0, Parts()
        self._more = self._hushed = False
        self._widened = self._looked = self._roomed = self._tend_at = self._wake_at = 0.0
        self._sized: tuple[int, int | None] = (0, None)
        self.soonest_limit = self._room_at = _NEVER
        """Of what was handed over since the pool was last looked after."""
        self._aside = 0  # those whom the window was made for
        self._settlements: list[Settlement] = []
        self._submits: list[Job] = []
        self._releases: list[int] = []
        self._recalls: list[int] = []

    # --- the connection

    def connected(self, broker: Broker, now: float) -> None:
        """Take from this broker from now on."""
        self.deliveries.reconnected(parks="park" in broker.can)
        self._window = 0
        if self._common is not None:
            self._common.connected(broker)
        self._parts.connected(broker)
        self._listen(broker, now)
        if self._before is not None and isinstance(broker, Inheriting):
            broker.inherit(self._before)
        self._before = None
        self.broker = broker
        self._entrusted = "entrust" in broker.can and isinstance(broker, Entrusting) and self._promising is not None
        if self._promising is not None and isinstance(broker, Entrusting):
            broker.entrust(self._promising.keep, self._promising.telling)
        self._arm = broker.arm if "arm" in broker.can and isinstance(broker, Arming) else None
        self._told = self._arm is None and "descriptor" in broker.can
        self._more, self._tend_at = True, 0.0

    def disconnected(self, now: float) -> None:
        self._before, self.broker = self.broker or self._before, None
        if self._entrusted and self._promising is not None:
            self._promising.keep(None)
        self._settlements.clear()
        self._do(self.deliveries.disconnected(now), now)

    def fileno(self) -> int:
        """What to wait on; -1 where it is not worth it or cannot be."""
        broker = self.broker
        if broker is None or "descriptor" not in broker.can or not self.deliveries.credit():
            return -1
        return broker.fileno()

    @property
    def blind(self) -> bool:
        """The broker cannot tell when it has something: it must be asked."""
        return self.broker is not None and "descriptor" not in self.broker.can

    def add_queue(self, name: str, now: float, **options: Any) -> None:
        """Take from this one as well. Raises what makes that impossible, and then goes on without it."""
        if name in self.queues:
            return
        if self.broker is None and self._before is not None:
            raise ConnectionError("there is no connection to the broker just now: ask again")
        try:
            self.queues[name] = self.owner.add_queue(name, **options)
            self.listen(now)
            if self.trouble is not None:  # a broker that refuses ends the connection: not the next one too
                raise self.trouble  # noqa: TRY301 - as if `listen` had raised it
        except BaseException:
            self.queues.pop(name, None)
            self.owner.forget_queue(name)
            raise
        consumer_log.info("Started consuming from %s", name)

    def drop_queue(self, name: str, now: float) -> None:
        consumer_log.info("Canceling queue %s", name)
        self.owner.drop_queue(name)
        if self.queues.pop(name, None) is not None:
            self.listen(now)

    def listen(self, now: float) -> None:
        """The queues have changed."""
        if self.broker is not None:
            try:
                self._listen(self.broker, now)
            except operational() as problem:
                self.trouble = problem
            self._more = True

    def _listen(self, broker: Broker, now: float) -> None:
        self._window = self._wanted_window()
        self._widened = now
        queues = [queue for group in self.queues.values() for queue in group]
        late = any(task.acks_late for task in self.owner.tasks.values())
        self._parts.give(self._window, len(queues), self.pool.size, late=late)
        broker.listen(queues if not self.deliveries.stopping else [], credit=self._window)

    def _wanted_window(self) -> int:
        """What the broker may give us at once: the slots, and the places of those who wait aside."""
        aside = self._aside = self.deliveries.aside
        most = self.options.taking.eta_limit
        room = aside if aside <= _FEW else 1 << aside.bit_length()
        return min(self._slots() + (room if most is None else min(room, most)), _WIDEST)

    def _slots(self) -> int:
        size, taking = self.pool.size, self.options.taking
        if taking.only_what_runs:
            return size
        return size * self.prefetch if self.prefetch else _WIDEST

    # --- one turn

    def turn(self, now: float, *, readable: bool) -> bool:
        """What happened is heard, what is due is done, what waits is taken. Whether there is more to do at once."""
        happened = self.pool.collect()
        if happened:
            self.heard(happened, now)
            self._roomed = 0.0
        if now >= self._wake_at:
            self._do(self.deliveries.wake(now), now)
        if self.outside and self.deliveries.stopping:
            self._give_back(now)
        self._make_room(now)
        self._exchange(now, readable)
        if self._common is not None:
            self._ask_limits(self._common, now)
        self._hand_over()
        self._wake_at = self.deliveries.next(now)
        self._room_at = _NEVER if self.deliveries.aside == self._aside else self._widened + _SOON
        return bool(self._settlements) or (self._more and self.broker is not None and self.deliveries.credit() > 0)

    def next(self) -> float:
        return min(self._wake_at, self._tend_at, self._room_at) if self.broker is not None else self._wake_at

    def _make_room(self, now: float) -> None:
        """As many slots as the settings say; more where tasks are so quick that the pool runs dry."""
        deliveries = self.deliveries
        size = self.pool.size, self.prefetch
        others = deliveries.aside != self._aside  # those who wait aside are more now, or fewer
        if now < self._roomed + _SELDOM and size == self._sized and not others:
            return
        self._roomed, self._sized = now, size
        room = max(0, self.pool.room() - len(self._submits))
        slots = max(self._slots(), deliveries.busy - len(self.outside) + room)
        if slots != deliveries.slots:
            self._do(deliveries.resize(slots, now), now)
        if self.broker is not None and now >= self._widened + (_SOON if others else _SELDOM):
            told = self._wanted_window()
            wanted = max(told, min(slots, _WIDEST))
            # No task is quick: what the settings say, and who waits aside, is again what the broker may give us.
            usual = wanted == told < self._window and self._aside <= _FEW
            held_up = self._parts.hold_up(deliveries.busy, room, self.pool.size)
            if wanted > self._window or wanted * 4 < self._window or usual or held_up:
                self._window = wanted if wanted == told else min(1 << wanted.bit_length(), _WIDEST)
                self._widened = now
                try:
                    self._relisten(self.broker)
                except operational() as problem:
                    self.trouble = problem

    def _relisten(self, broker: Broker) -> None:
        if not self.deliveries.stopping:
            self._parts.end()
            broker.listen([queue for group in self.queues.values() for queue in group], credit=self._window)

    def _exchange(self, now: float, readable: bool) -> None:
        broker = self.broker
        if broker is None:
            return
        try:
            settled = bool(self._settlements)
            if settled:
                settlements = self._settle_all(broker)
                self._more = self._more or any(verdict is not Verdict.ACK for _, verdict in settlements)
            credit = min(self.deliveries.credit(), _MOST)
            if credit and (readable or self._more or now - self._looked > _SELDOM):
                taken = broker.take(credit, 0)
                # Who must ask to be told of more, or is never told, asks until there is nothing.
                self._more, self._looked = len(taken) == credit if self._told else bool(taken), now
                self._hear(taken, now)
            elif settled:
                self._tend_at = 0.0
            if now >= self._tend_at:
                self._tend_at = broker.tend(now)
                self._more = True  # it may have heard what nobody will hear again
        except operational() as problem:
            self.trouble = problem

    def _hear(self, taken: Sequence[Delivery], now: float) -> None:
        """Whether anybody wants to hear of what arrives is asked once."""
        self._hushed = self.announcer.hushed
        try:
            for delivery in taken:
                self.arrived(delivery, now)
        finally:
            self._hushed = False

    def _settle_all(self, broker: Broker) -> Sequence[Settlement]:
        """What is acknowledged here begins here. Who is killed in between has lost it, unless the pool promises."""
        settlements, self._settlements = self._settlements, []
        promising = self._promising
        if promising is None:
            broker.settle(settlements)
            self._release()
            return settlements
        promising.promise(self._releases)
        if not self._entrusted:
            promising.telling(b"")
        try:
            broker.settle(settlements)
            self._release()
        finally:
            promising.told()
        return settlements

    def _release(self) -> None:
        if self._releases:
            releases, self._releases = self._releases, []
            self.pool.release(releases)

    def _hand_over(self) -> None:
        """What the pool is to do, now that the broker knows."""
        pool = self.pool
        self._release()
        self._take_back()
        if self._submits:
            submits, self._submits = self._submits, []
            pool.submit(submits)
            self._begin_at_once()

    def _begin_at_once(self) -> None:
        """What the pool has taken at once is acknowledged and released in the same turn."""
        broker, now = self.broker, time.time()
        happened = self.pool.collect()
        if happened:
            self.heard(happened, now)
        if broker is None:
            return
        try:
            if self._settlements:
                self._settle_all(broker)
            self._release()
            if self._arm is not None:
                self._more = self._arm()
        except operational() as problem:
            self.trouble = problem

    def _take_back(self) -> None:
        if self._recalls:
            recalls, self._recalls = self._recalls, []
            self.pool.recall(recalls)

    # --- from the broker

    def arrived(self, delivery: Delivery, now: float) -> None:
        self._number = number = self._number + 1
        try:
            request = open_request(number, delivery, self.reader)
        except BadMessage as bad:
            self._quarantine(delivery, bad)
            return
        except Exception as problem:  # noqa: BLE001 - nothing that arrives stops the worker
            consumer_log.exception("A message that nobody has thought of")
            self._quarantine(delivery, BadMessage("task message", repr(problem)))
            return
        kind = self._kinds.get(request.name) or self._kind(request.name, now)
        self.requests[number] = request
        if kind is None:
            self._unknown(request, now)
            return
        request.kind = kind
        if kind.strategy is None:
            self._receive(request, kind, now)
        else:
            self._to_strategy(request, kind.strategy, now)

    def _receive(self, request: Request, kind: Kind, now: float) -> None:
        deliveries, hushed = self.deliveries, self._hushed
        if not hushed and not deliveries.stopping:
            self.announcer.arrived(request)
        number, came = request.number, arrival(request, kind.manner)
        if not deliveries.takes(number, came, now):
            self._do(deliveries.received(number, came, now), now)
            return
        if not hushed:
            self._announce(decided.Received(number))
        self._submit(request)

    def _kind(self, name: str, now: float) -> Kind | None:
        try:
            task = self.owner.tasks[name]
        except KeyError:
            return None
        limits = self.options.pool
        kind = self._kinds[name] = Kind(task, soft=limits.soft_limit, hard=limits.hard_limit)
        kind.strategy, kind.runner = self.owner.own_ways(task)
        if self.options.taking.rate_limits and self._rates.get(name) != kind.rate:
            self._rates[name] = kind.rate
            self.deliveries.limit(name, _rate(kind), now, common=self._limits_are_common)
        return kind

    def changed(self, name: str, now: float) -> None:
        """Something about this task is not as it was: its rate, its limits."""
        self._kinds.pop(name, None)
        kind = self._kind(name, now)
        if kind is not None and self.options.taking.rate_limits:
            self._rates[name] = kind.rate
            self._do(self.deliveries.limit(name, _rate(kind), now, common=self._limits_are_common), now)

    @property
    def _limits_are_common(self) -> bool:
        return self._common is not None and self._common.there

    def _ask_limits(self, common: SharedLimits, now: float) -> None:
        for name, rate, wanted in self.deliveries.asking(now):
            given = common.ask(name, rate, wanted)
            if given is None:
                self.deliveries.ungranted(name, common.AGAIN, now)
            else:
                self._do(self.deliveries.granted(name, *given, now), now)

    def _unknown(self, request: Request, now: float) -> None:
        decisions = self.deliveries.unknown(request.number, arrival(request, decided.EARLY), now)
        if not self.deliveries.stopping and not any(type(each) is decided.Unregistered for each in decisions):
            consumer_log.warning(
                "Task %s[%s] is not registered here: it goes back to its queue in %g seconds, for who knows it",
                request.name,
                request.id,
                self.options.taking.unknown_task_delay,
                extra=about(request),
            )
        self._do(decisions, now)

    def _quarantine(self, delivery: Delivery, bad: BadMessage) -> None:
        message = delivery.message
        consumer_log.critical(
            "Can't decode message body: %r [type:%r encoding:%r headers:%s]\n\nbody: %s",
            bad,
            message.content_type,
            message.content_encoding,
            shown(message.headers),
            shown(message.body),
        )
        if self.owner.listens("task_rejected"):
            self.owner.signal("task_rejected", message=message, exc=bad)
        self._bury(delivery, str(bad), settle=True)

    def _bury(self, delivery: Delivery, why: str, *, settle: bool) -> bool:
        """To its queue's dead letters. False: there is nowhere to put it."""
        verdict = None
        if self.broker is not None:
            try:
                verdict = self._dead.bury(self.broker, self.queues.get(delivery.queue, ()), delivery, why, time.time())
            except operational() as problem:
                self.trouble = problem
                return False
        self.announcer.buried(delivery.queue)
        if settle:
            self._settlements.append((delivery, verdict or Verdict.DROP))
        return verdict is not None

    # --- tasks that are received in ways of their own

    def _to_strategy(self, request: Request, strategy: Callable[[Request], None], now: float) -> None:
        """It may keep it (`own_over` ends that), or have it taken as any other (`take_in`)."""
        number = request.number
        self._do(self.deliveries.outside(number, arrival(request, _OWN), now), now)
        if number not in self.deliveries:
            return
        self.outside.add(number)
        if self._parts.end():
            self.listen(now)
        try:
            strategy(request)
        except Exception:  # noqa: BLE001 - whatever a user's code raises
            consumer_log.exception("The strategy of %s[%s] failed", request.name, request.id)
            self.own_over(number, Fate.REJECTED, now)

    def take_in(self, number: int, now: float) -> None:
        request = self.requests.get(number)
        if request is not None and request.kind is not None and number in self.outside:
            self.outside.discard(number)
            self.deliveries.inside(number)
            self._receive(request, request.kind, now)

    def own_over(self, number: int, fate: Fate, now: float) -> None:
        if number in self.outside:
            self.outside.discard(number)
            self._do(self.deliveries.ended(number, fate, now), now)
            self._forget(number)

    def _give_back(self, now: float) -> None:
        """What strategies still keep when the worker leaves; those that have something in the pool may end it."""
        if not self.guests or self.deliveries.stopping is Stop.COLD:
            for number in tuple(self.outside):
                self.outside.discard(number)
                self._do(self.deliveries.returned(number, now), now)
                self._forget(number)

    def invite(self, job: Job, host: Host) -> int:
        """Have this job run for somebody. Its number: the one that it has, or a new one if it has none."""
        if not job.number:
            self._number += 1
            job = job._replace(number=self._number)
        self.guests[job.number] = Guest(job, host)
        self._submits.append(job)
        return job.number

    def _guest_over(self, number: int, tell: Callable[[Any], Fate], what: Any, now: float) -> None:
        fate = Fate.FAILED
        try:
            fate = tell(what)
        except Exception:  # noqa: BLE001 - whatever a user's code raises
            consumer_log.exception("What became of a call in the pool could not be told")
        if number in self.requests:
            self._do(self.deliveries.ended(number, fate, now), now)
            self._forget(number)

    # --- from the pool

    @property
    def idle(self) -> bool:
        """Nothing is held, and nobody has anything in the pool."""
        return self.deliveries.idle and not self.guests

    def heard(self, happened: Sequence[Happening], now: float) -> None:
        for each in happened:
            _HEAR[type(each)](self, each, now)

    def _begun(self, begun: Begun, now: float) -> None:
        guest = self.guests.get(begun.number) if self.guests else None
        if guest is not None:
            guest.host.begun(begun)
        request = self.requests.get(begun.number)
        if request is None:
            self._releases.append(begun.number)
            return
        request.begun, request.pid = begun.at, begun.pid
        self.accepted += 1
        self.done[request.name] += 1
        if self.deliveries.begins(begun.number, now):
            self._settlements.append((request.delivery, Verdict.ACK))
        else:
            self._do(self.deliveries.begun(begun.number, now), now)
        kind = request.kind
        if kind is None or kind.held:
            self._releases.append(begun.number)
        self.announcer.started(request)

    def _ended(self, ended: Ended, now: float) -> None:
        number, report = ended
        guest = self.guests.pop(number, None) if self.guests else None
        if guest is not None:
            self._guest_over(number, guest.host.ended, report, now)
            return
        request = self.requests.get(number)
        if request is None:
            return
        if report.internal and report.fate is Fate.REJECTED:
            request.buried = self._bury(request.delivery, report.error or "unreadable", settle=False)
        if report.state == "SUCCESS":
            self.succeeded.append(request.id)
        if self.deliveries.ends(number):
            self.announcer.ended(request, report)
            del self.requests[number]
            return
        told_last = report.fate is Fate.FAILED  # as stock workers do: whether its message was rejected comes first
        if not told_last:
            self.announcer.ended(request, report)
        self._do(self.deliveries.ended(number, report.fate, now), now)
        if told_last:
            self.announcer.ended(request, report)
        self._forget(number)

    def _overdue(self, overdue: Overdue, _now: float) -> None:
        guest = self.guests.get(overdue.number)
        if guest is not None:
            guest.host.overdue(overdue.seconds)
            return
        request = self.requests.get(overdue.number)
        if request is not None:
            self.announcer.overdue(request, overdue.seconds)

    def _lost(self, lost: Lost, now: float) -> None:
        guest = self.guests.pop(lost.number, None)
        if guest is not None:
            self._guest_over(lost.number, guest.host.lost, lost, now)
            return
        out = self.deliveries.lost(lost.number, lost.why, now, begun=lost.begun, limit=lost.limit)
        self._do(out, now)
        self._forget(lost.number)

    def _returned(self, returned: Returned, now: float) -> None:
        guest = self.guests.pop(returned.number, None)
        if guest is not None and returned.number not in self.requests:
            guest.host.lost(Lost(returned.number, "it was never begun", begun=False))
            return
        self._do(self.deliveries.returned(returned.number, now), now)
        self._forget(returned.number)

    def _forget(self, number: int) -> None:
        if number not in self.deliveries:
            self.requests.pop(number, None)

    # --- from people

    def revoke(self, ids: Sequence[str], stamps: Mapping[str, Any], now: float, signum: int | None = None) -> None:
        self._do(self.deliveries.revoke(ids, stamps, now, signum), now)

    def stop(self, how: Stop, now: float) -> None:
        self._do(self.deliveries.stop(how, now), now)
        self._take_back()  # before the pool is asked what happened: it might begin one more
        if self.broker is not None:
            try:
                self.broker.listen([], credit=self._window)
            except (operational(), BadCall) as problem:
                consumer_log.debug("while leaving the queues: %r", problem)

    def close(self) -> None:
        if self._common is not None:
            self._common.close()

    def at(self, place: Place) -> list[Request]:
        return [self.requests[number] for number in self.deliveries.at(place)]

    # --- decisions

    def _do(self, decisions: Sequence[Decision], now: float) -> None:
        for each in decisions:
            kind = type(each)
            if kind is Submit:
                self._submit(self.requests[each.number])
            elif kind is Settle:
                self._settle(each.number, each.how, each.losses)  # type: ignore[union-attr]  # told by its type
            elif kind in ANNOUNCED:
                self._announce(each)
            else:
                _DO[kind](self, each, now)

    def _announce(self, each: Decision) -> None:
        """A user's receiver or backend may fail; the delivery must not."""
        try:
            self.announcer.announced[type(each)](self.requests[each.number], each)
        except Exception:  # noqa: BLE001 - whatever theirs raises
            consumer_log.exception("While telling of %r", each)

    def _submit(self, request: Request) -> None:
        delivery, kind = request.delivery, request.kind
        assert kind is not None  # noqa: S101 - only what has a kind is received
        if kind.runner is not None:
            self._run_own(request, kind.runner)
            return
        soft, hard = request.soft or kind.soft, request.hard or kind.hard
        if soft or hard:
            self.soonest_limit = min(self.soonest_limit, soft or hard or 0.0, hard or soft or 0.0)
        # As `Job(...)` makes it, without its dozen of arguments.
        self._submits.append(
            tuple.__new__(
                Job,
                (
                    *(request.number, request.name, request.id, delivery.message),
                    *(delivery.queue, delivery.exchange, delivery.routing_key, delivery.redelivered, delivery.priority),
                    *(soft, hard, kind.held),
                ),
            )
        )

    def _run_own(self, request: Request, runner: Callable[[Request], None]) -> None:
        fate = Fate.FAILED
        try:
            runner(request)
        except BadMessage as bad:
            fate = Fate.REJECTED
            request_log.error("The message of %s[%s] cannot be read: %s", request.name, request.id, bad)
            request.buried = self._bury(request.delivery, str(bad), settle=False)
        except Exception:  # noqa: BLE001 - whatever a user's code raises
            request_log.exception("The request of %s[%s] could not be run", request.name, request.id)
        if request.number not in self.guests:
            now = time.time()
            self._do(self.deliveries.begun(request.number, now), now)
            self._do(self.deliveries.ended(request.number, fate, now), now)
            self._forget(request.number)

    def _settle(self, number: int, how: How, losses: int) -> None:
        request = self.requests[number]
        if request.buried and how is How.DROP:
            how = How.ACK
        self._settlements.append((request.delivery, Again(losses) if losses else _VERDICTS[how]))
        if number not in self.deliveries:
            del self.requests[number]
        if how is How.DROP or how is How.REQUEUE:
            self.announcer.rejected(request, requeue=how is How.REQUEUE)

    def _recall(self, each: decided.Recall, _now: float) -> None:
        self._recalls.append(each.number)

    def _kill(self, each: decided.Kill, _now: float) -> None:
        request = self.requests[each.number]
        if each.cancelled:
            consumer_log.warning(
                "Task %s cannot be acknowledged after a connection loss and is ended", request.id, extra=about(request)
            )
        if "kill" not in self.pool.can:
            request_log.warning(
                "This pool cannot end a running task: %s[%s] goes on", request.name, request.id, extra=about(request)
            )
            return
        self.pool.kill(each.number, each.signum)

    def _park(self, each: decided.Park, _now: float) -> None:
        request = self.requests.pop(each.number)
        self._settlements.append((request.delivery, Park(each.until)))

    def _bury_request(self, each: decided.Bury, _now: float) -> None:
        request = self.requests.pop(each.number)
        request_log.error("Task %s[%s] is given up: %s", request.name, request.id, each.why, extra=about(request))
        self._bury(request.delivery, each.why, settle=True)

    def _resend(self, each: decided.Resend, now: float) -> None:
        request = self.requests[each.number]
        sent = self.owner.resend(request, each.why)
        if sent:
            self.announcer.resent(request, each.why)
        self._do(self.deliveries.resent(each.number, each.why, now, sent=sent), now)

    def _adopted(self, each: decided.Adopted, _now: float) -> None:
        """The same message, over a connection that lives."""
        self.requests[each.by].delivery = self.requests.pop(each.number).delivery

    def _forgotten(self, each: decided.Forgotten, _now: float) -> None:
        self.requests.pop(each.number, None)


def _rate(kind: Kind) -> float:
    try:
        return read_rate(kind.rate)
    except BadCall as bad:
        consumer_log.error("Task %s: %s", kind.name, bad)
        return 0.0


_HEAR: Mapping[type, Callable[[Consumer, Any, float], None]] = {
    Begun: Consumer._begun,  # noqa: SLF001 - the table of this class
    Ended: Consumer._ended,  # noqa: SLF001 - a table of its own methods
    Overdue: Consumer._overdue,  # noqa: SLF001 - a table of its own methods
    Lost: Consumer._lost,  # noqa: SLF001 - a table of its own methods
    Returned: Consumer._returned,  # noqa: SLF001 - a table of its own methods
}

_DO: Mapping[type, Callable[[Consumer, Any, float], None]] = {
    decided.Recall: Consumer._recall,  # noqa: SLF001 - a table of its own methods
    decided.Kill: Consumer._kill,  # noqa: SLF001 - a table of its own methods
    decided.Park: Consumer._park,  # noqa: SLF001 - a table of its own methods
    decided.Bury: Consumer._bury_request,  # noqa: SLF001 - a table of its own methods
    decided.Resend: Consumer._resend,  # noqa: SLF001 - a table of its own methods
    decided.Adopted: Consumer._adopted,  # noqa: SLF001 - a table of its own methods
    decided.Forgotten: Consumer._forgotten,  # noqa: SLF001 - a table of its own methods
}

"""Every interleaving: a worker's deliveries against a broker and a pool that do whatever their contracts allow.

Promised: a delivery is settled at most once and in the end exactly once; nothing is forgotten; credit never exceeds
the free slots; what is revoked is never started after that; an early acknowledgement comes after the start; nothing
that ran to its end runs again, however often the connection is lost.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from celeriac.protocol.rules.decisions import (
    Adopted,
    Arrival,
    Bury,
    Cancelled,
    Decision,
    Forgotten,
    How,
    Kill,
    Manner,
    Park,
    Recall,
    Received,
    Resend,
    Revoked,
    Settle,
    Submit,
    Terms,
    TimedOut,
    Unregistered,
    WorkerLost,
)
from celeriac.protocol.rules.delivery import Deliveries, Place, Stop
from celeriac.protocol.rules.outcome import Fate
from celeriac.protocol.rules.revokes import Revokes

MANNERS = st.builds(
    Manner,
    late=st.booleans(),
    ack_failures=st.booleans(),
    ack_timeouts=st.booleans(),
    requeue_lost=st.booleans(),
    retry_lost=st.booleans(),
    max_retries=st.sampled_from([None, 0, 3]),
)
TIMES = st.sampled_from([*[None] * 12, -1.0, 0.5, 3.0, 100.0])
IDS = [f"task{n}" for n in range(6)]


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1e6
        self.number = 0
        self.queue: list[Arrival] = []  # with the broker
        self.parked: list[tuple[float, Arrival]] = []
        self.ours: dict[int, Arrival] = {}  # with us, by the number under which we settle it
        self.void: dict[int, Arrival] = {}  # was with us; the broker has it again
        self.pool: dict[int, bool] = {}  # submitted -> begun
        self.guests: set[int] = set()
        self.recalled: set[int] = set()
        self.revoked: set[str] = set()
        self.mourned: list[tuple[int, str]] = []
        self.sent = 0
        self.settled = 0
        self.resends = 0
        self.ends: Counter[str] = Counter()
        self.all: dict[int, Arrival] = {}  # whatever was taken, by its number
        self.acked: list[tuple[float, Arrival]] = []

    @initialize(
        slots=st.integers(1, 4),
        parks=st.booleans(),
        losses=st.sampled_from([None, 1, 2]),
        aside=st.sampled_from([None, 2]),
        unknown=st.sampled_from([None, (2.0, 1)]),
        cancel=st.booleans(),
    )
    def begin(
        self,
        slots: int,
        parks: bool,
        losses: int | None,
        aside: int | None,
        unknown: tuple[float, int] | None,
        cancel: bool,
    ) -> None:
        self.parks = parks
        terms = Terms(aside=aside, losses=losses, unknown=unknown, cancel_on_loss=cancel)
        self.most = slots
        self.m = Deliveries(slots, Revokes(), terms, parks=parks)

    # --- the world that obeys

    def do(self, decisions: list[Decision]) -> None:
        for each in decisions:
            number = each.number
            match each:
                case Submit():
                    assert number not in self.pool
                    assert self._arrival(number).id not in self.revoked, "revoked work is never started"
                    assert not self.m.stopping
                    self.pool[number] = False
                case Recall():
                    self.recalled.add(number)
                case Settle(how=how):
                    gone = self.ours.pop(number)
                    self.settled += 1
                    if how in (How.REQUEUE, How.RESTORE):
                        self.settled -= 1
                        self.queue.append(gone._replace(redelivered=True))
                    elif number in self.pool and not gone.manner.late:
                        assert self.pool[number], "an early acknowledgement comes after the start"
                    if how is How.ACK:
                        self.acked.append((self.now, gone._replace(redelivered=True)))
                case Park(until=until):
                    assert self.parks
                    self.parked.append((until, self.ours.pop(number)))
                case Bury():
                    self.ours.pop(number)
                    self.settled += 1
                case Adopted(by=by):
                    assert by in self.pool
                    self.void.pop(by)
                    self.ours[by] = self.ours.pop(number)
                case Forgotten():
                    assert number not in self.ours, "nothing that is owed is forgotten"
                    self.void.pop(number, None)
                case Resend(why=why):
                    self.mourned.append((number, why))
                case Kill():
                    assert self.pool[number]
                case Cancelled():
                    self.void.pop(number)
                case Received() | Revoked() | TimedOut() | WorkerLost() | Unregistered():
                    pass

    def _arrival(self, number: int) -> Arrival:
        found = self.ours.get(number) or self.void.get(number)
        assert found is not None
        return found

    # --- what happens

    @initialize(manners=st.lists(MANNERS, min_size=1, max_size=4))
    def have_some(self, manners: list[Manner]) -> None:
        for place, manner in enumerate(manners):
            self.publish_one(IDS[place], manner)

    @rule(name=st.sampled_from(IDS), manner=MANNERS, eta=TIMES, expires=TIMES, task=st.sampled_from(["fast", "slow"]))
    def publish(self, name: str, manner: Manner, eta: float | None, expires: float | None, task: str) -> None:
        self.publish_one(name, manner, eta, expires, task)

    def publish_one(
        self, name: str, manner: Manner, eta: float | None = None, expires: float | None = None, task: str = "fast"
    ) -> None:
        if name in self.revoked:
            return
        arrival = Arrival(
            f"{name}-{self.sent}",
            task,
            manner,
            eta=None if eta is None else self.now + eta,
            expires=None if expires is None else self.now + expires,
            stamps={"from": name},
        )
        self.sent += 1
        self.queue.append(arrival)

    @precondition(lambda self: self.queue and self.m.connected)
    @rule(
        stranger=st.sampled_from([*[False] * 9, True]),
        over=st.booleans(),
        outside=st.sampled_from([*[False] * 5, True]),
        data=st.data(),
    )
    def take(self, stranger: bool, over: bool, outside: bool, data: st.DataObject) -> None:
        if not self.m.credit() and not over:
            return
        outside = outside and not stranger and self.m.credit() > 0
        arrival = self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1)))
        self.number += 1
        if outside:
            arrival = arrival._replace(manner=Manner(late=True))
            self.ours[self.number] = self.all[self.number] = arrival
            self.do(self.m.outside(self.number, arrival, self.now))
            if self.number in self.m:
                self.pool[self.number] = True
                self.guests.add(self.number)
            return
        self.ours[self.number] = self.all[self.number] = arrival
        receive = self.m.unknown if stranger and not arrival.redelivered else self.m.received
        self.do(receive(self.number, arrival, self.now))

    @precondition(lambda self: self.guests & set(self.pool) & set(self.ours))
    @rule(data=st.data())
    def take_in(self, data: st.DataObject) -> None:
        """Who has rules of his own does not want it."""
        number = data.draw(st.sampled_from(sorted(self.guests & set(self.pool) & set(self.ours))))
        self.guests.discard(number)
        del self.pool[number]
        self.m.inside(number)
        self.do(self.m.received(number, self.ours[number], self.now))

    def _waiting(self) -> list[int]:
        return [number for number, begun in self.pool.items() if not begun]

    def _running(self) -> list[int]:
        return [number for number, begun in self.pool.items() if begun]

    @precondition(lambda self: [n for n in self._waiting() if n not in self.recalled])
    @rule(data=st.data())
    def begin_one(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([n for n in self._waiting() if n not in self.recalled]))
        self.pool[number] = True
        self.do(self.m.begun(number, self.now))

    @precondition(lambda self: self.recalled & set(self.pool))
    @rule(data=st.data(), quicker=st.booleans())
    def answer_recall(self, data: st.DataObject, quicker: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.recalled & set(self.pool))))
        self.recalled.discard(number)
        if self.pool[number]:
            return
        if quicker:
            self.pool[number] = True
            self.do(self.m.begun(number, self.now))
        else:
            del self.pool[number]
            self.do(self.m.returned(number, self.now))

    def _end(self, number: int) -> None:
        self.ends[self.all[number].id] += 1
        assert self.ends[self.all[number].id] == 1, "what ran to its end is not run again"
        del self.pool[number]
        self.recalled.discard(number)

    @precondition(lambda self: self._running())
    @rule(data=st.data(), fate=st.sampled_from([Fate.DONE, Fate.FAILED, Fate.RETRIED]))
    def end(self, data: st.DataObject, fate: Fate) -> None:
        number = data.draw(st.sampled_from(self._running()))
        self._end(number)
        self.do(self.m.ended(number, fate, self.now))

    @precondition(lambda self: self._running())
    @rule(data=st.data(), fate=st.sampled_from([Fate.REJECTED, Fate.REQUEUED]))
    def refuse(self, data: st.DataObject, fate: Fate) -> None:
        number = data.draw(st.sampled_from(self._running()))
        del self.pool[number]
        self.recalled.discard(number)
        self.do(self.m.ended(number, fate, self.now))

    @precondition(lambda self: self.pool)
    @rule(data=st.data(), limit=st.sampled_from([None, 3.0]))
    def lose(self, data: st.DataObject, limit: float | None) -> None:
        number = data.draw(st.sampled_from(sorted(self.pool)))
        begun = self.pool.pop(number)
        self.recalled.discard(number)
        self.do(self.m.lost(number, "died", self.now, begun=begun, limit=limit if begun else None))

    @precondition(lambda self: self.mourned)
    @rule(sent=st.booleans())
    def resend(self, sent: bool) -> None:
        number, why = self.mourned.pop()
        self.resends += sent
        self.do(self.m.resent(number, why, self.now, sent=sent))

    @rule(name=st.sampled_from(IDS), signum=st.sampled_from([None, 9]), by_stamp=st.booleans())
    def revoke(self, name: str, signum: int | None, by_stamp: bool) -> None:
        ids = [f"{name}-{n}" for n in range(self.sent)]
        self.revoked |= {name, *ids}
        self.do(self.m.revoke([] if by_stamp else ids, {"from": name} if by_stamp else {}, self.now, signum))

    @rule(rate=st.sampled_from([0.0, 0.2, 5.0]), common=st.booleans())
    def limit(self, rate: float, common: bool) -> None:
        self.do(self.m.limit("slow", rate, self.now, common=common))

    @precondition(lambda self: self.m.asking(self.now))
    @rule(count=st.integers(0, 3), wait=st.sampled_from([None, 0.0, 0.1, 3.0]))
    def grant(self, count: int, wait: float | None) -> None:
        for name, _, wanted in self.m.asking(self.now):
            if wait is None:
                self.m.ungranted(name, 5.0, self.now)
            else:
                self.do(self.m.granted(name, min(count, wanted), wait, self.now))

    @rule(slots=st.integers(0, 5))
    def resize(self, slots: int) -> None:
        self.most = max(slots, len(self.pool))
        self.do(self.m.resize(slots, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 200.0, -50.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for entry in [entry for entry in self.parked if entry[0] <= self.now]:
            self.parked.remove(entry)
            self.queue.append(entry[1])
        self.do(self.m.wake(self.now))

    @precondition(lambda self: self.m.connected and not self.m.stopping)
    @rule(unwritten=st.integers(0, 3))
    def disconnect(self, unwritten: int) -> None:
        # Some of the last acknowledgements had not arrived.
        for when, arrival in self.acked[len(self.acked) - min(unwritten, len(self.acked)) :]:
            if self.now - 30 <= when <= self.now:
                self.queue.append(arrival)
                self.settled -= 1
        self.acked.clear()
        # Whatever was not settled is the broker's again; those in the pool are known there under their number.
        self.queue += [arrival._replace(redelivered=True) for arrival in self.ours.values()]
        self.void.update(self.ours)
        self.ours.clear()
        self.do(self.m.disconnected(self.now))
        busy = set(self.pool) | {number for number, _ in self.mourned}
        assert set(self.void) <= busy, "what has not begun is forgotten"

    @precondition(lambda self: not self.m.connected)
    @rule()
    def reconnect(self) -> None:
        self.m.reconnected(parks=self.parks)

    @precondition(lambda self: self.m.stopping is not Stop.COLD)
    @rule(how=st.sampled_from([Stop.WARM, Stop.COLD]), rarely=st.integers(0, 19))
    def stop(self, how: Stop, rarely: int) -> None:
        """A soft one is a warm one, and cold when its time is over."""
        if how > self.m.stopping and (rarely == 0 or self.m.stopping):
            self.do(self.m.stop(how, self.now))

    # --- what always holds

    @invariant()
    def credit_is_never_above_the_free_slots(self) -> None:
        if hasattr(self, "m"):
            ready = len(list(self.m.at(Place.READY)))
            assert self.most >= len(self.pool), "no more in the pool than there were slots"
            assert 0 <= self.m.credit() <= max(0, self.m.slots - len(self.pool) - ready)
            assert self.m.busy == len(self.pool)
            assert self.m.aside == len(list(self.m.at(Place.ASIDE)))

    @invariant()
    def nothing_is_forgotten(self) -> None:
        if hasattr(self, "m"):
            mourned = {number for number, _ in self.mourned}
            for number in self.ours:
                assert number in self.m or number in mourned, f"{number} is ours, and nobody remembers it"
            assert self.sent == self.settled + len(self.queue) + len(self.parked) + len(self.ours)

    def teardown(self) -> None:
        """Let everything end: then every message was settled, or is the broker's."""
        if not hasattr(self, "m"):
            return
        if not self.m.stopping:
            self.do(self.m.stop(Stop.WARM, self.now))
        while self.pool or self.mourned:
            for number in list(self.pool):
                if self.pool[number]:
                    del self.pool[number]
                    self.do(self.m.ended(number, Fate.DONE, self.now))
                else:
                    del self.pool[number]
                    self.do(self.m.returned(number, self.now))
            for number, why in self.mourned:
                self.do(self.m.resent(number, why, self.now, sent=True))
            self.mourned.clear()
        assert self.m.idle
        assert not self.ours
        assert self.sent == self.settled + len(self.queue) + len(self.parked)


Life.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestLife = Life.TestCase

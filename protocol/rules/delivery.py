"""The life of every delivery in a worker, from its arrival until it is settled.

    received -> aside (eta, rate) -> ready -> submitted -> begun -> ended | lost
    outside  ->                                            begun -> ended | returned
                     parked              <- returned

Law: no I/O and no clock; what happens is told by a method, and what must be done about it is the list of decisions
that it returns, to be done in order. Every delivery that is owed is settled exactly once, by its task's manner of
acknowledging: early, once it has begun, or late, by what it came to. No more is submitted than there are slots, and
`credit` never exceeds the free ones. What is revoked before it is submitted never runs.

When a connection is lost its deliveries are void: what has not begun is forgotten, since the broker delivers it again.
What runs goes on, and when its message comes again it is taken for the same job, not run a second time.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from .aside import Alarms, CommonLine, Line
from .decisions import (
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
from .outcome import Fate
from .revokes import Revokes

SIGTERM = 15
_REMEMBERED = 10_000
_IN_DOUBT = 1_000
_DOUBT = 30.0  # seconds before a connection is lost, in which what was written may not have arrived


class Place(IntEnum):
    ASIDE = 0
    READY = 1
    SUBMITTED = 2
    BEGUN = 3


class Stop(IntEnum):
    """How a worker leaves. Soft is warm, and cold when its time is over."""

    NOT = 0
    WARM = 1
    COLD = 2


class Held:
    """One delivery that we have not done with."""

    __slots__ = ("arrival", "cancelled", "kill", "number", "place", "settled", "unknown", "void")

    def __init__(self, number: int, arrival: Arrival) -> None:
        self.number = number
        self.arrival = arrival
        self.place = Place.ASIDE
        self.settled = not arrival.owed
        self.void = False
        self.kill: int | None = None
        self.cancelled = False
        self.unknown = False

    @property
    def key(self) -> tuple[str, int]:
        return self.arrival.id, self.arrival.retries


class Deliveries:
    """All that one worker holds. `slots` is how many may be in the pool, begun or not."""

    def __init__(self, slots: int, revokes: Revokes, terms: Terms = Terms(), *, parks: bool = False) -> None:  # noqa: B008 - frozen
        self.slots = slots
        self.revokes = revokes
        self.terms = terms
        self.parks = parks
        self.connected = True
        self.stopping = Stop.NOT
        self._held: dict[int, Held] = {}
        self._ready: deque[int] = deque()
        self._busy = 0  # submitted or begun
        self._etas = Alarms()
        self._expiries = Alarms()
        self._lines: dict[str, Line] = {}
        self._mourned: dict[int, Held] = {}
        self._orphans: dict[tuple[str, int], int] = {}
        self._acked: deque[tuple[Held, float]] = deque(maxlen=_IN_DOUBT)
        self._done: OrderedDict[tuple[str, int], How] = OrderedDict()
        self._losses: OrderedDict[str, int] = OrderedDict()
        self._strangers: OrderedDict[str, int] = OrderedDict()

    # --- what it knows

    def credit(self) -> int:
        """How many more to take now."""
        if self.stopping or not self.connected:
            return 0
        free = max(0, self.slots - self._busy - len(self._ready))
        # Whatever is taken may be for later.
        return free if self.terms.aside is None else max(0, min(free, self.terms.aside - self.aside))

    @property
    def aside(self) -> int:
        """How many are held without a slot."""
        return len(self._held) - self._busy - len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing is held: a worker may leave."""
        return not self._held and not self._mourned

    @property
    def busy(self) -> int:
        return self._busy

    def __contains__(self, number: int) -> bool:
        return number in self._held

    def at(self, place: Place) -> Iterator[int]:
        return (held.number for held in self._held.values() if held.place is place)

    def settled(self, number: int) -> bool:
        return self._held[number].settled

    def next(self, now: float) -> float:
        """When `wake` has something to do."""
        first = min(self._etas.next(), self._expiries.next())
        return min([first, *(line.next(now) for line in self._lines.values())]) if self._lines else first

    # --- from the broker

    def takes(self, number: int, arrival: Arrival, now: float) -> bool:
        """The usual way in one step: nobody is before it, and there is nothing to wait for. True: it is received and to
        be submitted. False: nothing has happened yet, and `received` says what is to be done."""
        if (
            self._ready
            or self._busy >= self.slots
            or self.stopping
            or arrival.eta is not None
            or arrival.expires is not None
            or arrival.stamps
            or (arrival.redelivered and (self._orphans or self._done))
            or arrival.name in self._lines
            or self.revokes.revoked(arrival.id, now)
        ):
            return False
        held = self._held[number] = Held(number, arrival)
        held.place = Place.SUBMITTED
        self._busy += 1
        return True

    def received(self, number: int, arrival: Arrival, now: float) -> list[Decision]:
        """A task message that was taken."""
        if self.takes(number, arrival, now):
            return [Received(number), Submit(number)]
        if self.stopping:
            return self._settled(Held(number, arrival), How.RESTORE, now)
        if arrival.redelivered and (self._orphans or self._done):
            known = self._known(number, arrival)
            if known:
                return known
        held = Held(number, arrival)
        refusal = self._refusal(held, now, stamps=False)
        if refusal is not None:
            return [refusal, *self._settled(held, How.ACK, now)]
        out: list[Decision] = [Received(number)]
        self._held[number] = held
        eta = arrival.eta
        if eta is not None and eta > now:
            if self._may_park(held) and eta - now > self.terms.horizon:
                self._drop(held)
                out.append(Park(number, eta - self.terms.lead))
            else:
                self._etas.set(eta, number)
            return out
        self._admit(held, now, out)
        self._fill(now, out)
        return out

    def unknown(self, number: int, arrival: Arrival, now: float) -> list[Decision]:
        """A message whose task we do not know: refused, or given back for somebody who may."""
        held = Held(number, arrival)
        if self.stopping:
            return self._settled(held, How.RESTORE, now)
        if self.terms.unknown is not None and arrival.owed:
            delay, times = self.terms.unknown
            seen = _count(self._strangers, arrival.id)
            if seen <= times:
                if self.parks:
                    return [Park(number, now + delay)]
                held.unknown = True
                self._held[number] = held
                self._etas.set(now + delay, number)
                return []
            return [Unregistered(number), Bury(number, f"unknown task {arrival.name}, {times} times given back")]
        return [Unregistered(number), *self._settled(held, How.DROP, now)]

    def outside(self, number: int, arrival: Arrival, now: float) -> list[Decision]:
        """A message that somebody takes who has rules of his own; he says by `ended` when it is over."""
        held = Held(number, arrival)
        if self.stopping:
            return self._settled(held, How.RESTORE, now)
        if arrival.redelivered and (self._orphans or self._done):
            known = self._known(number, arrival)
            if known:
                return known
        refusal = self._refusal(held, now)
        if refusal is not None:
            return [refusal, *self._settled(held, How.ACK, now)]
        held.place = Place.BEGUN
        self._held[number] = held
        self._busy += 1
        return []

    def inside(self, number: int) -> None:
        """He does not want it: it is as if it had not come yet, and `received` takes it."""
        self._leave(number)

    def disconnected(self, now: float) -> list[Decision]:
        """The connection is lost, and with it everything that was owed on it."""
        out: list[Decision] = []
        self.connected = False
        for held, acked in self._acked:
            if acked >= now - _DOUBT:
                self._remember(held.key, How.ACK)
        self._acked.clear()
        for held in self._mourned.values():
            held.void = not held.settled
        for held in list(self._held.values()):
            if held.settled or held.void:
                continue
            if held.place <= Place.READY:
                self._drop(held)
                out.append(Forgotten(held.number))
                continue
            held.void = True
            if held.place is Place.SUBMITTED:
                self._orphans[held.key] = held.number
                out.append(Recall(held.number))
            elif held.arrival.manner.late and self.terms.cancel_on_loss:
                held.cancelled = True
                out.append(Kill(held.number, SIGTERM, cancelled=True))
            else:
                self._orphans[held.key] = held.number
        return out

    def reconnected(self, *, parks: bool) -> None:
        self.connected = True
        self.parks = parks

    def _known(self, number: int, arrival: Arrival) -> list[Decision]:
        """What to do with the message of something that ran over a connection now lost."""
        key = arrival.id, arrival.retries
        job = self._orphans.pop(key, None)
        if job is not None:
            held = self._held[job]
            held.void = False
            out: list[Decision] = [Adopted(number, job)]
            if held.place is Place.BEGUN and not held.arrival.manner.late:
                held.settled = True
                out.append(Settle(job, How.ACK))
            return out
        how = self._done.pop(key, None)
        return [] if how is None else [Settle(number, how)]

    # --- from the pool

    def begins(self, number: int, now: float) -> bool:
        """The usual way in one step. True: it has begun, and is to be acknowledged now. False: nothing has happened
        yet, and `begun` says what is to be done."""
        held = self._held.get(number)
        if (
            held is None
            or held.place is not Place.SUBMITTED
            or held.settled
            or held.void
            or held.kill is not None
            or held.arrival.manner.late
        ):
            return False
        held.place = Place.BEGUN
        held.settled = True
        self._acknowledged(held, now)
        return True

    def begun(self, number: int, now: float) -> list[Decision]:
        if self.begins(number, now):
            return [Settle(number, How.ACK)]
        held = self._held.get(number)
        if held is None or held.place is not Place.SUBMITTED:
            return []
        held.place = Place.BEGUN
        out: list[Decision] = []
        if not held.arrival.manner.late and not held.settled and not held.void:
            out = self._settled(held, How.ACK, now)
            held.settled = True
        if held.kill is not None:
            out.append(Kill(number, held.kill))
        return out

    def ends(self, number: int) -> bool:
        """The usual way in one step. True: it has ended, nothing is owed for it, and nobody waits for its place. False:
        nothing has happened yet, and `ended` says what is to be done."""
        held = self._held.get(number)
        if held is None or not held.settled or held.void or held.place < Place.SUBMITTED or self._ready:
            return False
        del self._held[number]
        self._busy -= 1
        return True

    def ended(self, number: int, fate: Fate, now: float) -> list[Decision]:
        """It ran to its end, and what it had to store and send is stored and sent."""
        if self.ends(number):
            return []
        held = self._leave(number)
        if held is None:
            return []
        out = [] if held.settled else self._settled(held, _by_fate(held.arrival.manner, fate), now)
        if self._ready:
            self._fill(now, out)
        return out

    def lost(
        self, number: int, why: str, now: float, *, begun: bool = True, limit: float | None = None
    ) -> list[Decision]:
        """What ran it is gone. `limit`: it was ended for its hard limit."""
        if not begun:
            return self.returned(number, now)
        held = self._leave(number)
        if held is None:
            return []
        out = self._mourn(held, why, limit, now)
        self._fill(now, out)
        return out

    def returned(self, number: int, now: float) -> list[Decision]:
        """The pool gave it back; it had not begun."""
        held = self._leave(number)
        if held is None:
            return []
        if held.void:
            return [Forgotten(number)]
        out: list[Decision] = []
        if self.stopping:
            return self._settled(held, How.RESTORE, now)
        self._held[number] = held
        if not self._refused(held, now, out):
            held.place = Place.READY
            held.kill = None
            self._ready.appendleft(number)
        self._fill(now, out)
        return out

    def _leave(self, number: int) -> Held | None:
        held = self._held.get(number)
        if held is None or held.place < Place.SUBMITTED:
            return None
        del self._held[number]
        self._busy -= 1
        if held.void and self._orphans.get(held.key) == number:
            del self._orphans[held.key]
        return held

    def _mourn(self, held: Held, why: str, limit: float | None, now: float) -> list[Decision]:
        number, manner = held.number, held.arrival.manner
        if held.cancelled:
            return [Cancelled(number)]
        if limit is not None:
            again = manner.late and not manner.ack_timeouts and not held.settled
            then = self._requeued(held, why, now, ()) if again else self._settled(held, How.ACK, now)
            return [TimedOut(number, limit), *then]
        if held.kill is not None:
            return [Revoked(number, terminated=True, signum=held.kill), *self._settled(held, How.ACK, now)]
        if self.stopping is Stop.COLD and not held.settled:
            return self._settled(held, How.RESTORE, now)
        if manner.retry_lost and self._may_retry(held):
            self._mourned[number] = held
            return [Resend(number, why)]
        return self._given_up(held, why, now)

    def resent(self, number: int, why: str, now: float, *, sent: bool) -> list[Decision]:
        """What became of a `Resend`."""
        held = self._mourned.pop(number)
        return self._settled(held, How.ACK, now) if sent else self._given_up(held, why, now)

    def _may_retry(self, held: Held) -> bool:
        most = held.arrival.manner.max_retries
        return most is None or held.arrival.retries < most

    def _given_up(self, held: Held, why: str, now: float) -> list[Decision]:
        """It is lost, and not sent again by us."""
        manner, lost = held.arrival.manner, WorkerLost(held.number, why)
        spent = manner.retry_lost and not self._may_retry(held)
        if manner.requeue_lost and manner.late and not held.settled and not spent:
            return self._requeued(held, why, now, (lost,))
        how = How.ACK if manner.ack_failures else How.DROP
        return [lost, *self._settled(held, how, now)]

    def _requeued(self, held: Held, why: str, now: float, told: Sequence[Decision]) -> list[Decision]:
        """Back to its queue, unless that was once too often: then it is buried, and `told` is told."""
        # The message knows of losses at other workers and before our start, where those have told it.
        losses = max(_count(self._losses, held.arrival.id), held.arrival.losses + 1)
        if self.terms.losses is None or losses < self.terms.losses:
            return self._settled(held, How.REQUEUE, now, losses)
        self._losses.pop(held.arrival.id, None)
        if held.void:
            return [*told, *self._settled(held, How.DROP, now)]
        return [*told, Bury(held.number, f"{losses} times lost: {why}")]

    # --- from people

    def revoke(
        self, ids: Collection[str], stamps: Mapping[str, Any], now: float, signum: int | None = None
    ) -> list[Decision]:
        """From now on these do not run. With a signal, those that run are ended by it."""
        self.revokes.revoke(ids, now)
        self.revokes.revoke_stamps(stamps, now)
        out: list[Decision] = []
        wanted = frozenset(ids)
        these = Revokes()
        these.revoke_stamps(stamps, now)
        for held in list(self._held.values()):
            arrival = held.arrival
            if arrival.id not in wanted and not these.revoking_stamp(arrival.stamps, now):
                continue
            if held.place is Place.BEGUN:
                if signum is None:
                    out.append(Recall(held.number))  # its child may have something else to do first
                elif not held.cancelled:
                    held.kill = signum
                    out.append(Kill(held.number, signum))
            elif held.place is Place.SUBMITTED:
                held.kill = signum
                out.append(Recall(held.number))
            else:
                self._refused(held, now, out)
        return out

    def limit(self, name: str, rate: float, now: float, *, common: bool = False) -> list[Decision]:
        """The rate of a task from now on, in tasks a second; 0 for none. `common`: tokens come by `granted` alone."""
        old = self._lines.pop(name, None)
        if rate > 0:
            line = self._lines[name] = (CommonLine if common else Line).at(rate, now)
            if old is not None:
                line.waiting = old.waiting
        elif old is not None:
            for number in old.waiting:
                self._make_ready(number)
        return self.wake(now)

    def asking(self, now: float) -> list[tuple[str, float, int]]:
        """Tasks with a common limit whose turn depends on others: name, rate, and how many tokens are wanted."""
        lines = ((name, line) for name, line in self._lines.items() if isinstance(line, CommonLine))
        return [(name, line.bucket.rate, wanted) for name, line in lines if (wanted := line.wants(now))]

    def granted(self, name: str, count: int, wait: float, now: float) -> list[Decision]:
        """So many may run, the first of them in `wait` seconds, the others at their rate after it."""
        line = self._lines.get(name)
        if isinstance(line, CommonLine):
            line.given(count, wait, now)
        return self.wake(now)

    def ungranted(self, name: str, seconds: float, now: float) -> None:
        """Nobody could be asked: not before so many seconds again."""
        line = self._lines.get(name)
        if isinstance(line, CommonLine):
            line.later(seconds, now)

    def resize(self, slots: int, now: float) -> list[Decision]:
        self.slots = slots
        out: list[Decision] = []
        self._fill(now, out)
        return out

    def stop(self, how: Stop, now: float) -> list[Decision]:
        """Nothing more is begun: what has not begun goes back."""
        self.stopping = how
        out: list[Decision] = []
        for held in list(self._held.values()):
            if held.place is Place.SUBMITTED:
                out.append(Recall(held.number))
            elif held.place < Place.SUBMITTED:
                self._drop(held)
                out += self._settled(held, How.RESTORE, now)
        return out

    # --- from the clock

    def wake(self, now: float) -> list[Decision]:
        """What is due by now."""
        out: list[Decision] = []
        for number in self._etas.due(now):
            held = self._held.get(number)
            if held is not None and held.place is Place.ASIDE:
                if held.unknown:
                    self._drop(held)
                    out += self._settled(held, How.REQUEUE, now)
                else:
                    self._admit(held, now, out)
        for number in self._expiries.due(now):
            held = self._held.get(number)
            if held is not None and held.place is Place.SUBMITTED:
                out.append(Recall(number))
        for line in self._lines.values():
            self._serve(line, now, out)
        self._fill(now, out)
        return out

    def _serve(self, line: Line, now: float, out: list[Decision]) -> None:
        while line.waiting:
            held = self._held.get(line.waiting[0])
            if held is None or self._refused(held, now, out):
                line.waiting.popleft()
            elif line.take(now):
                self._make_ready(line.waiting.popleft())
            else:
                return
        line.rest()

    # --- the way to the pool

    def _admit(self, held: Held, now: float, out: list[Decision]) -> None:
        """Its time has come: to its task's line, if there is one."""
        if self._refused(held, now, out):
            return
        line = self._lines.get(held.arrival.name)
        if line is None or (not line.waiting and line.take(now)):
            self._make_ready(held.number)
        elif self._may_park(held) and line.wait(now) > self.terms.horizon:
            self._drop(held)
            out.append(Park(held.number, line.book(now, self.terms.horizon)))
        else:
            line.waiting.append(held.number)

    def _make_ready(self, number: int) -> None:
        held = self._held.get(number)
        if held is not None:
            held.place = Place.READY
            self._ready.append(number)

    def _fill(self, now: float, out: list[Decision]) -> None:
        """Submit what is ready, as far as there are slots. Revoked at the last moment is revoked in time."""
        while self._ready and self._busy < self.slots and not self.stopping:
            held = self._held[self._ready.popleft()]
            held.place = Place.ASIDE
            if self._refused(held, now, out):
                continue
            self._submit(held, out)

    def _submit(self, held: Held, out: list[Decision]) -> None:
        held.place = Place.SUBMITTED
        self._busy += 1
        if held.arrival.expires is not None:
            self._expiries.set(math.nextafter(held.arrival.expires, math.inf), held.number)
        out.append(Submit(held.number))

    # --- refusing

    def _refused(self, held: Held, now: float, out: list[Decision]) -> bool:
        refusal = self._refusal(held, now)
        if refusal is None:
            return False
        self._drop(held)
        out.append(refusal)
        out += self._settled(held, How.ACK, now)
        return True

    def _refusal(self, held: Held, now: float, *, stamps: bool = True) -> Revoked | None:
        arrival = held.arrival
        if arrival.expires is not None and now > arrival.expires:
            return Revoked(held.number, expired=True)
        if self.revokes.revoked(arrival.id, now):
            return Revoked(held.number)
        stamp = self.revokes.revoking_stamp(arrival.stamps, now) if stamps and arrival.stamps else None
        return Revoked(held.number, stamp=stamp) if stamp else None

    def _may_park(self, held: Held) -> bool:
        return self.parks and held.arrival.owed

    # --- settling

    def _drop(self, held: Held) -> None:
        """Ours no more; it had not been submitted."""
        if held.place is Place.READY:
            self._ready.remove(held.number)
        self._held.pop(held.number, None)

    def _settled(self, held: Held, how: How, now: float, losses: int = 0) -> list[Decision]:
        """The settlement, if one is owed and still can be made."""
        if held.settled:
            return [] if held.place is Place.BEGUN else [Forgotten(held.number)]
        if held.void:
            if how in (How.ACK, How.DROP):
                self._remember(held.key, how)
            return [Forgotten(held.number)]
        if how is How.ACK:
            self._acknowledged(held, now)
        return [Settle(held.number, how, losses)]

    def _acknowledged(self, held: Held, now: float) -> None:
        self._acked.append((held, now))
        if self._losses:
            self._losses.pop(held.arrival.id, None)

    def _remember(self, key: tuple[str, int], how: How) -> None:
        self._done[key] = how
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)


_LATE: Mapping[Fate, How] = {
    Fate.DONE: How.ACK,
    Fate.RETRIED: How.ACK,
    Fate.REJECTED: How.DROP,
    Fate.REQUEUED: How.REQUEUE,
}


def _by_fate(manner: Manner, fate: Fate) -> How:
    if fate is Fate.FAILED:
        return How.ACK if manner.ack_failures else How.DROP
    return _LATE[fate]


def _count(seen: OrderedDict[str, int], name: str) -> int:
    seen[name] = times = seen.pop(name, 0) + 1
    if len(seen) > _REMEMBERED:
        seen.popitem(last=False)
    return times

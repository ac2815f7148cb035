"""What beat decides: which entry is next, when to look again, what is made up for, who leads.

Law: no clock. `now` is an argument everywhere: seconds for the heap, for saving and for the lease, an aware datetime
for last runs. An entry is whatever has an order of its own; its schedule has answered before anything is asked here.

The heap holds `(time, priority, entry)`. An event stands for the moment at which its entry is to be asked, not for a
promise that it will run: an entry that says "later" when it is asked goes back to that later moment, so that it never
hides those behind it.

A lease makes one of several beats the leader. Whoever gets it gets a token that is higher than every one before; what
a leader writes down carries its token, and is refused as soon as a higher one was given (`accepts`). So it does no
harm that a leader who was suspended wakes up and still takes itself for one: the clock decides who tries, the token
decides who may.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from ..errors import BadCall, shown

DRIFT = -0.010
"""What a delay is shortened by, so that the look at an entry does not come a turn too late."""

RENEWALS = 3
"""A leader renews its lease so many times before it would end; a spare asks as often."""

E = TypeVar("E", bound="tuple[float, Any, Any]")


# --- the heap


def adjusted(delay: float | None, drift: float = DRIFT) -> float | None:
    """A delay that is not over, shortened; anything else as it is."""
    return delay + drift if delay and delay > 0 else delay


def wait(at: float, now: float, longest: float) -> float:
    """How long to sleep until then, but never longer than beat may."""
    return min(at - now, longest)


class Look(NamedTuple):
    """The event whose time has come, or None; then how long to sleep."""

    event: Any
    wait: float


def look(heap: list[E], now: float, longest: float) -> Look:
    """At the top of the heap. One event a look: whoever is served looks again."""
    if not heap:
        return Look(None, longest)
    top = heap[0]
    if top[0] > now:
        return Look(None, wait(top[0], now, longest))
    return Look(top, 0.0)


def take(
    heap: list[E],
    event: E,
    pop: Callable[[list[E]], E] = heapq.heappop,
    push: Callable[[list[E], E], None] = heapq.heappush,
) -> bool:
    """Take this event off the top; False when another one has come there meanwhile, which stays."""
    top = pop(heap)
    if top is event:
        return True
    push(heap, top)
    return False


def put_off(heap: list[E], entry: object, delay: float, longest: float) -> float:
    """How long to sleep after an entry that was not due yet has gone back: not at all if another one is next."""
    if heap and heap[0][2] is not entry:
        return 0.0
    return min(adjusted(delay) or 0.0, longest)


# --- the schedule


def same(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> bool:
    """Whether two schedules hold equal entries under the same names."""
    if old is None or new is None:
        return old is new
    if old.keys() != new.keys():
        return False
    return all(new[name] is not None and new[name] == entry for name, entry in old.items())


class Merge(NamedTuple):
    """What becomes of a kept schedule when the configured one is another."""

    gone: frozenset[str]
    """Kept, and configured no more."""
    stay: tuple[str, ...]
    """In both: the last run is the kept one's, everything else the configured one's."""
    new: tuple[str, ...]


def merge(kept: Collection[str], configured: Iterable[str]) -> Merge:
    names = tuple(dict.fromkeys(configured))
    return Merge(
        frozenset(kept) - frozenset(names),
        tuple(name for name in names if name in kept),
        tuple(name for name in names if name not in kept),
    )


def is_sync_due(now: float, last: float | None, every: float, sent: int, most: int | None) -> bool:
    """Whether the schedule is to be saved: never was, not for `every` seconds, or after `most` sends (0: no matter)."""
    return not last or now - last > every or bool(most and sent >= most)


# --- last runs


class Run(NamedTuple):
    """Whether to send, and what is written down as the last run."""

    send: bool
    last_run_at: datetime


def catch_up(
    due_at: datetime,
    now: datetime,
    *,
    each: bool = False,
    deadline: float | None = None,
    every: timedelta | None = None,
) -> Run:
    """What becomes of an entry that was to run at `due_at`, where one leader may have taken over from another.

    Missed ticks are made up for by one run now, which is what beat does after any pause; or, with `each`, one by one:
    then the last run is the tick's own time, and the entry is due again until it has caught up. A tick that is older
    than the deadline (seconds) is left out; with `each`, all that are. What counts from its last run, `every` so long,
    keeps its rhythm over those.
    """
    due_at = min(due_at, now)
    if deadline is None:
        return Run(send=True, last_run_at=due_at if each else now)
    if math.isnan(deadline) or deadline < 0:
        raise BadCall(f"deadline: expected seconds, got {shown(deadline)}")
    if (now - due_at).total_seconds() <= deadline:
        return Run(send=True, last_run_at=due_at if each else now)
    if not each:
        return Run(send=False, last_run_at=now)
    limit = now - timedelta(seconds=deadline)
    if every is None or every <= timedelta(0):
        return Run(send=False, last_run_at=limit - timedelta.resolution)
    left_out = -((due_at - limit) // every)
    return Run(send=False, last_run_at=due_at + (left_out - 1) * every)


# --- the lease


def accepts(newest: int, token: int) -> bool:
    """Whether who holds this token may write, where `newest` is the highest that was given."""
    return token >= newest > 0


@dataclass(slots=True)
class Lease:
    """What one beat knows of the lease. Its own clock counts, from the moment it asked: it stops leading too early
    rather than too late."""

    ttl: float
    token: int = 0
    until: float = -math.inf
    ask_at: float = -math.inf

    def __post_init__(self) -> None:
        if not 0 < self.ttl < math.inf:
            raise BadCall(f"lease: expected how many seconds it lasts, got {shown(self.ttl)}")

    @property
    def pause(self) -> float:
        """Between two times of asking."""
        return self.ttl / RENEWALS

    def leads(self, now: float) -> bool:
        return bool(self.token) and now < self.until

    def asks(self, now: float) -> bool:
        """Whether it is time to ask for the lease, or to renew it."""
        return now >= self.ask_at

    def wait(self, now: float) -> float:
        return max(0.0, self.ask_at - now)

    def granted(self, token: int, asked_at: float) -> None:
        """It is ours, since we asked; also the answer to a renewal."""
        if token < self.token:
            raise BadCall(f"lease: the token {shown(token)} is older than ours, {self.token}")
        self.token, self.until, self.ask_at = token, asked_at + self.ttl, asked_at + self.pause

    def refused(self, asked_at: float, free_in: float | None = None) -> None:
        """Somebody else has it, for so much longer if that is known; or nobody answered."""
        self.until = -math.inf
        pause = self.pause if free_in is None else min(self.pause, max(free_in, self.pause / 10))
        self.ask_at = asked_at + pause

    def ended(self, now: float) -> None:
        """What it wrote was refused, or nobody knows whether it was written: ask at once, and read what is there."""
        self.until, self.ask_at = -math.inf, now

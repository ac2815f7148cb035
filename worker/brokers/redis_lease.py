"""What a Redis consumer does by the clock: it says that it lives, keeps what it holds, gives back what the dead held.

Law: whoever holds a broker tends it well within its lease. A message goes back at most once: Redis compares, in one
step, that the entry is still there, that its owner is still gone, that nobody has renewed it. A stock worker's
messages go back as a stock worker would send them, and only after the visibility timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...protocol.errors import BadMessage
from ...protocol.values import dataclass, replace
from ...protocol.wire import redis, redis_held, redis_owners, redis_parked
from ...protocol.wire.redis import Layout
from ...protocol.wire.redis_bindings import parse_members
from ...protocol.wire.resp import Command
from ..ids import chance

LEASE = 10.0
"""So long after its last sign of life an owner is dead (transport option `lease`)."""

_PART = 500  # messages given back in one round trip
_PUMPED = 1000
_LOOK = 3.0  # for the dead, and for what was parked by others
_RENEW = 30.0
_SWEEPING = 30.0  # a sweeper that dies keeps the others away no longer; kombu's own lock lasts 300 s
_SWEEP = 100.0  # kombu's: every tenth of its attempts, which are ten seconds apart

Ask = Callable[..., list[Any]]


@dataclass(slots=True)
class _Duty:
    """Something that is to be done again and again; `run` may say when next."""

    run: Callable[[float], float | None]
    every: float
    due: float = 0.0

    def perform(self, now: float) -> None:
        if self.due - self.every <= now < self.due:  # a clock that was set back makes it due
            return
        self.due = now + self.every
        sooner = self.run(now)
        if sooner is not None:
            self.due = min(max(sooner, now), self.due)


class Keeper:
    """The clockwork of one consuming connection. `ask` sends commands and raises what is wrong."""

    def __init__(
        self, layout: Layout, owner: str, ask: Ask, held: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self._layout = layout
        self._owner = owner
        self._ask = ask
        self._held = held
        self._token = owner
        self._lease = float(options.get("lease") or LEASE)
        self.peers = 1
        timeout = layout.visibility_timeout
        interval = float(options.get("unacked_restore_interval", 10)) * int(options.get("unacked_restore_throttle", 10))
        self._pump = _Duty(self.pump, _LOOK)
        self._duties = (
            _Duty(self.live, self._lease / 4),
            _Duty(self.renew, min(_RENEW, timeout / 4)),
            _Duty(self.bury, min(_LOOK, self._lease)),
            self._pump,
            _Duty(self.sweep, min(interval or _SWEEP, timeout)),
            _Duty(self.sweep_bindings, 60.0),
        )

    def tend(self, now: float) -> float:
        for duty in self._duties:
            duty.perform(now)
        return min(duty.due for duty in self._duties)

    def parked(self, until: float) -> None:
        """By ourselves: not to be forgotten until the next look."""
        self._pump.due = min(self._pump.due, until)

    # --- being alive

    def live(self, now: float) -> None:
        *_, self.peers = self._ask(
            *redis_owners.enroll(self._layout, self._owner, self._lease, now), redis_owners.count(self._layout)
        )

    def leave(self) -> None:
        self._ask(*redis_owners.dismiss(self._layout, self._owner))

    def bury_own(self, owner: str) -> None:
        """Another connection of ours, that is over. It stays on the roll, for who looks next: something that it had
        sent may arrive yet."""
        self._ask(redis_held.release(self._layout, owner))
        self._give_back_of(owner)

    def renew(self, now: float) -> None:
        tags = list(self._held)
        for start in range(0, len(tags), 1000):
            self._ask(redis_held.renew(self._layout, tags[start : start + 1000], now))

    # --- the dead

    def bury(self, _now: float) -> None:
        """Give back what dead owners held. One peer at a time looks, so that a large fleet costs no more."""
        (mine,) = self._ask(redis_owners.take_watch(self._layout, _LOOK))
        if mine is None:
            return
        (found,) = self._ask(redis_owners.owners(self._layout))
        owners = [name.decode(errors="replace") for name in found]
        if not owners:
            return
        (leases,) = self._ask(redis_held.leases(self._layout, owners))
        for owner, lease in zip(owners, leases, strict=True):
            if lease is None and self._give_back_of(owner):
                self._ask(*redis_owners.dismiss(self._layout, owner))

    def _give_back_of(self, owner: str) -> bool:
        """Whether nothing of it is left."""
        tags: set[str] = set()
        cursor: bytes | None = b"0"
        while cursor is not None:
            (part,) = self._ask(redis_owners.held_by(self._layout, owner, cursor))
            more, cursor = redis_owners.parse_held(part)
            tags.update(more)
        # The latest first: each is served next, so the first one comes out first.
        ordered = sorted(tags, key=_serial, reverse=True)
        back = self._reclaim(ordered, dead_owner=owner)
        return back == len(ordered)

    # --- the overdue

    def sweep(self, now: float) -> None:
        """What nobody has renewed in the visibility timeout, whoever held it. One sweeper at a time, as in kombu."""
        brief = replace(self._layout, unacked_mutex_expire=min(self._layout.unacked_mutex_expire, _SWEEPING))
        (locked,) = self._ask(redis_held.lock(brief, self._token))
        if locked is None:
            return
        try:
            (rows,) = self._ask(redis_held.overdue_before_6_2(self._layout, now))
            tags = [tag.decode(errors="surrogateescape") for tag in rows[::2]]
            self._reclaim(tags, latest=now - self._layout.visibility_timeout)
        finally:
            self._ask(redis_held.unlock(self._layout, self._token))

    def _reclaim(self, tags: Sequence[str], latest: float = float("inf"), dead_owner: str | None = None) -> int:
        back = 0
        for start in range(0, len(tags), _PART):
            part = tags[start : start + _PART]
            (entries,) = self._ask(redis_held.entries(self._layout, part))
            commands: list[Command] = []
            for tag, entry in zip(part, entries, strict=True):
                queues = self._destinations(entry)
                if len(queues) > 1:
                    back += self._restore_to_all(tag, entry, queues, latest)
                else:
                    commands.append(
                        redis_held.reclaim(self._layout, tag, entry, queues[0], latest=latest, dead_owner=dead_owner)
                    )
            back += sum(self._ask(*commands)) if commands else 0
        return back

    def _destinations(self, entry: bytes | None) -> list[str]:
        """Ours name their queue. Kombu's name an exchange; which type it has, its bindings tell."""
        try:
            found = redis_held.parse_entry(entry or b"")
        except BadMessage:
            return [_STRANDED]
        if not found.exchange:
            return [found.routing_key or _STRANDED]
        (members,) = self._ask(redis.members(self._layout, found.exchange))
        bindings = parse_members(members, self._layout.sep)
        kind = "topic" if any(each.pattern for each in bindings) else "direct"
        return redis_held.destinations(found, kind, bindings) or [_STRANDED]

    def _restore_to_all(self, tag: str, entry: bytes, queues: Sequence[str], latest: float) -> int:
        """Kombu's way: a transaction that runs only if nobody was quicker."""
        layout = self._layout
        watch: Command = ("WATCH", layout.unacked, layout.unacked_index)
        _, now_held, score = self._ask(watch, ("HGET", layout.unacked, tag), ("ZSCORE", layout.unacked_index, tag))
        if now_held != entry or score is None or float(score) > latest:
            self._ask(("UNWATCH",))
            return 0
        *_, done = self._ask(*redis_held.restore(layout, tag, redis_held.parse_entry(entry), queues, front=True))
        return int(done is not None)

    # --- the parked and the bound

    def pump(self, now: float) -> float | None:
        while True:
            moved, first = self._ask(redis_parked.pump(self._layout, now, _PUMPED), redis_parked.next_due(self._layout))
            if moved < _PUMPED:
                break
        # Everybody pumps; not all in the same instant.
        return float(first[1]) + chance() * 0.002 * self.peers if first else None

    def sweep_bindings(self, _now: float) -> None:
        self._ask(redis.sweep_bindings(self._layout))


_STRANDED = "celeriac.stranded"  # the list of what names no queue to go back to; for a person to look at


def _serial(tag: str) -> int:
    serial = tag.rpartition(":")[2]
    return int(serial) if serial.isdigit() else 0

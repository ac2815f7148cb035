"""Revokes that outlive all workers (`worker_lasting_revokes`): kept in the Redis that is the broker.

Law: what is revoked is written before who asked is answered, and read before messages are taken, whenever a
connection to the broker was made: so a worker that starts, or that was cut off, knows what it has missed. A Redis that
fails costs a line in the log, and is tried again; the worker goes on with what it knows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from ..protocol.errors import BadMessage
from ..protocol.rules.revokes import Revokes
from ..protocol.wire import redis_revoked
from ..protocol.wire.redis import Layout
from . import brokers
from .broker_options import BrokerOptions
from .brokers import failover
from .kept import operational
from .redis_link import Link, connect
from .redis_place import Place

log = logging.getLogger("celery.worker.state")

_AGAIN = 5.0
_NEVER = float("inf")
_AT_ONCE = 5_000
_OF_REDIS = (".redis", ".embedded")
NOT_THERE = (
    "worker_lasting_revokes has no effect: %s is no Redis. Workers tell each other what was revoked as long as one of "
    "them runs; worker_state_db keeps it over a restart of this one"
)

Dumped = Mapping[str, Sequence[Sequence[Any]]]


class Shelf:
    """The place where they are kept, of one Redis. Raises kombu's OperationalError; the next call connects anew."""

    def __init__(self, place: Place, layout: Layout) -> None:
        self.place = place
        self._layout = layout
        self._link: Link | None = None

    @property
    def _open(self) -> Link:
        if self._link is None or not self._link.open:
            self._link = connect(self.place)
        return self._link

    def write(self, dumped: Dumped, now: float) -> None:
        for part in _parts(dumped):
            commands = redis_revoked.keep(self._layout, part, now)
            if commands:
                self._open.transaction(*commands)

    def read(self, now: float) -> dict[str, list[Any]]:
        return redis_revoked.parse(self._open.call(*redis_revoked.kept(self._layout, now)))

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class Lasting:
    """One worker's. `connected` with the broker that messages come from; `keep` what was just revoked."""

    def __init__(self, revokes: Revokes, shown_url: str) -> None:
        self._revokes = revokes
        self._shown = shown_url
        self._shelf: Shelf | None = None
        self._owed: list[Dumped] = []
        self._at = _NEVER
        self._told = False

    def connected(self, broker: Any, now: float) -> None:
        place, layout = getattr(broker, "place", None), getattr(broker, "layout", None)
        if place is None or layout is None:
            if not self._told:
                log.warning(NOT_THERE, self._shown)
            self._told = True
            return
        if self._shelf is None or self._shelf.place != place:
            self.close()
            self._shelf = Shelf(place, layout)
        self._owed = [self._revokes.dump(now)]  # what a file or other workers know, and this Redis may not
        self.look(now)

    def look(self, now: float) -> None:
        shelf = self._shelf
        if shelf is None:
            return
        try:
            self._revokes.load(shelf.read(now), now)
        except (operational(), BadMessage) as problem:
            log.error("What was revoked cannot be read from %s: %s. Trying again.", self._shown, problem)  # noqa: TRY400 - the text says it all
            self._at = now + _AGAIN
            return
        self._pay(now)

    def keep(self, ids: Sequence[str], stamps: Mapping[str, Any], now: float) -> None:
        if self._shelf is not None:
            self._owed.append(dumped(ids, stamps, now))
            self._pay(now)

    def _pay(self, now: float) -> None:
        shelf, self._at = self._shelf, _NEVER
        try:
            while self._owed and shelf is not None:
                shelf.write(self._owed[0], now)
                del self._owed[0]
        except operational() as problem:
            log.error("What was revoked cannot be kept in %s: %s. Trying again.", self._shown, problem)  # noqa: TRY400 - the text says it all
            self._at = now + _AGAIN

    def tend(self, now: float) -> float:
        if now >= self._at:
            self.look(now)
        return self._at

    def close(self) -> None:
        if self._shelf is not None:
            self._shelf.close()
            self._shelf = None


def _parts(dumped: Dumped) -> list[Dumped]:
    """In transactions that do not hold up a Redis."""
    return [
        {kind: entries[start : start + _AT_ONCE]}
        for kind, entries in dumped.items()
        for start in range(0, len(entries), _AT_ONCE)
    ]


def dumped(ids: Sequence[str], stamps: Mapping[str, Any], now: float) -> Dumped:
    """What is to be kept of one revoke."""
    these = Revokes()
    these.revoke(ids, now)
    these.revoke_stamps(stamps, now)
    return these.dump(now)


def keep_at(told: BrokerOptions, what: Dumped, now: float) -> None:
    """By somebody who is no worker. Where the broker is no Redis there is nothing to keep it in."""
    kind = brokers.TABLE.get(told.urls[0].partition("://")[0].partition("+")[0])
    if kind not in _OF_REDIS:
        return
    broker: Any = failover.first_that_answers(
        told.urls,
        lambda url: brokers.connect(url, told.options, told.timeout),
        told.options.get("failover_strategy"),
    )
    with closing(broker), closing(Shelf(broker.place, broker.layout)) as shelf:
        shelf.write(what, now)

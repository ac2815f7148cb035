"""A run: every pair on every broker, many side by side on lanes of their own, since most of the time is waiting.

Law: what comes out worse than with stock, or than was promised, is tried again with patience before it is said.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial

from interop import brokers, fleet, promises, recorded, rolling
from interop.capabilities import CALM, QUICK, Patience
from interop.matrix import Cells, How, Place, pairs, try_pair, worse_than_promised, worse_than_stock
from interop.peers import CELERIAC, CELERY_57, EVERY, Peer
from interop.processes import SILENT, STOP, PeerFailed, stop_all

Trial = Callable[[brokers.Broker, Sequence[str], Patience], Cells]
Work = Callable[[brokers.Lane], None]
LANES = 6 * (os.cpu_count() or 1)
AGAIN = 2  # lanes, where a busy machine may have been the reason
ROLLED = ("redis", "rabbitmq")


@dataclass(frozen=True)
class Job:
    """One producer and one worker, or two, at one broker."""

    broker: str
    producer: str
    worker: str
    trial: Trial = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.producer} -> {self.worker} on {self.broker}"

    @property
    def who(self) -> frozenset[str]:
        return frozenset({self.producer, *self.worker.split(" + ")})

    def has(self, place: Place) -> bool:
        return (self.broker, self.producer, self.worker) == (place.broker, place.producer, place.worker)

    @property
    def waits(self) -> int:
        """How much of its time is spent in waiting for what will not come."""
        foreign = [name for name in self.worker.split(" + ") if not EVERY[name].python]
        return 3 * bool(foreign) + 2 * (self.producer == recorded.RECORDED or self.broker == "rpc")


@dataclass
class Seen:
    """What a run has seen: its cells, and of each rolling replacement what became of it, and whether that is well."""

    cells: Cells = field(default_factory=dict)
    rolled: dict[str, tuple[str, bool]] = field(default_factory=dict)

    @property
    def titles(self) -> dict[str, str]:
        """Of the brokers that were there, in their order."""
        there = {place.broker for place in self.cells}
        return {name: title for name, title in brokers.TITLES.items() if name in there}

    @property
    def sound(self) -> bool:
        return all(balanced for _, balanced in self.rolled.values())

    def wrong(self, promised: Mapping[Place, How]) -> dict[Place, str]:
        return worse_than_promised(self.cells, promised) | worse_than_stock(self.cells)


def jobs(family: Sequence[Peer], names: Iterable[str] = brokers.TITLES) -> list[Job]:
    """All of this family at these brokers; what will wait longest goes first."""
    found = [Job(name, *each) for name in names for each in _trials(family) if _is_asked(name, each[0], each[1])]
    return sorted(found, key=lambda job: -job.waits)


def promised(asked: Sequence[Job]) -> dict[Place, How]:
    """What docs/interop.md says of these."""
    names = {(job.producer, job.worker, job.broker) for job in asked}
    return {
        place: how
        for place, how in promises.promised().items()
        if (place.producer, place.worker, place.broker) in names
    }


def _trials(family: Sequence[Peer]) -> Iterator[tuple[str, str, Trial]]:
    for producer, worker in pairs(family):
        yield producer.name, worker.name, partial(try_pair, producer, worker)
    for worker in (peer for peer in family if peer in (CELERY_57, CELERIAC)):
        yield recorded.RECORDED, worker.name, partial(recorded.trial, worker)
    for producer, first, second in fleet.fleets(family):
        yield producer.name, f"{first.name} + {second.name}", partial(fleet.try_fleet, producer, first, second)


def _is_asked(broker: str, producer: str, worker: str) -> bool:
    if producer == recorded.RECORDED:
        return broker in recorded.BROKERS
    if " + " in worker and broker in brokers.NO_FLEETS:
        return False
    return {producer, *worker.split(" + ")} <= brokers.KNOWN_TO.get(broker, EVERY.keys())


def run(
    asked: Sequence[Job],
    *,
    only: Sequence[str] = (),
    promised: Mapping[Place, How] | None = None,
    roll: int = 0,
    patience: Patience = QUICK,
    lanes: int = LANES,
    say: Callable[[str], None] = print,
) -> Seen:
    """All of these, and a rolling replacement of so many tasks on each broker."""
    seen = Seen()
    promised = promised or {}

    def tried(job: Job, lane: brokers.Lane, only: Sequence[str] = only, patience: Patience = patience) -> None:
        began = time.monotonic()
        broker = lane.broker(job.broker).among(job.who)
        found = job.trial(broker, only, patience)
        if STOP.is_set() or not found:
            return
        seen.cells |= found
        good = sum(cell.how is not How.cannot for cell in found.values())
        spent = time.monotonic() - began
        say(f"{broker.title}: {job.producer} -> {job.worker}: {good} of {len(found)} work ({spent:.1f} s)")

    def rolled(name: str, lane: brokers.Lane) -> None:
        seen.rolled[name] = rolling.tried(lane.broker(name), roll, say)

    with brokers.Servers(lanes) as here:
        _side_by_side(here, lanes, [partial(tried, job) for job in asked])
        SILENT.clear()
        again = [(job, [place.capability for place in seen.wrong(promised) if job.has(place)]) for job in asked]
        _side_by_side(here, AGAIN, [partial(tried, job, only=names, patience=CALM) for job, names in again if names])
        _side_by_side(here, AGAIN, [partial(rolled, name) for name in ROLLED if roll])
    return seen


def _side_by_side(here: brokers.Servers, lanes: int, works: Sequence[Work]) -> None:
    todo = deque(works)

    def serve(number: int) -> None:
        with here.lane(number) as lane:
            while todo and not STOP.is_set():
                try:
                    work = todo.popleft()
                except IndexError:  # another lane was faster
                    return
                work(lane)

    with ThreadPoolExecutor(lanes) as pool:
        try:
            for each in as_completed([pool.submit(serve, number) for number in range(min(lanes, len(works)))]):
                each.result()
        except PeerFailed:  # of what was stopped
            if not STOP.is_set():
                raise
        except BaseException:
            stop_all()
            raise

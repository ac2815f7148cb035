"""`celeriac.compat.beat:LeasedScheduler`: of several beats one leads, and the others take over when it is gone.

Law: the state is in a Redis (`worker.beat_lease`) or a database (`worker.beat_lease_database`), and this process' copy
of it counts only from one `_load` to the first doubt: a write that was refused or whose answer was lost ends the
leading, and what is there is read anew. Where the queue is in the same Redis, or in any with the lease in a database,
each tick is queued once, whoever dies when. Elsewhere the run is written down first: who dies in between loses the tick
in his hands, and nothing is doubled.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timezone
from functools import cached_property
from typing import Any

from kombu.exceptions import OperationalError

from ..protocol.rules import beat as rules
from ..protocol.wire.json import dumps
from ..worker.beat_lease import pushed
from ..worker.brokers.base import Parcel, Queue
from . import beat_entries
from .app.producing import Outlet
from .beat import Scheduler, SchedulingError, logger
from .schedules import schedule
from .utils.time import maybe_make_aware

__all__ = ("LeasedScheduler",)


class Outbox(Outlet):
    """Takes what would be sent, for somebody who sends it later."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.held: list[tuple[Sequence[Parcel], Sequence[Queue], Any]] = []

    @cached_property
    def producer(self) -> Any:
        return self

    def send(
        self,
        parcels: Sequence[Parcel],
        queues: Sequence[Queue] = (),
        patience: Any = None,
        within: float | None = None,  # a deadline begins with the sending, which is later
    ) -> None:
        self.held.append((parcels, queues, patience))

    def close(self) -> None:
        self.held.clear()


class LeasedScheduler(Scheduler):
    """See the settings `beat_lease_url`, `beat_lease_name`, `beat_lease_ttl`, `beat_missed`, `beat_missed_deadline`."""

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        self.store = beat_entries.lease_of(app)
        self.lease = rules.Lease(float(app.conf.beat_lease_ttl))
        self._configured: dict[str, Any] = {}
        self._version: int | None = None  # None: what we have cannot be trusted
        self._skips = False
        super().__init__(app, *args, **kwargs)

    def setup_schedule(self) -> None:
        super().setup_schedule()
        self._configured = dict(self.data)

    # --- leading

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if not self._lead():
            return min(self.lease.wait(time.monotonic()), self.max_interval)
        seconds = super().tick(*args, **kwargs)
        return min(seconds, self.lease.wait(time.monotonic()))

    def _lead(self) -> bool:
        now = time.monotonic()
        if not self.lease.asks(now):
            return self.lease.leads(now)
        led = self.lease.leads(now)
        try:
            asked = self.store.acquire(self.lease.ttl, self.lease.token)
            if asked.token and (asked.token != self.lease.token or asked.version != self._version):
                self._load()
                self._version = asked.version
        except OperationalError as problem:
            self._doubt()
            self.lease.refused(now)
            logger.error("beat: The lease cannot be asked for: %s. Trying again in %.1f s", problem, self.lease.pause)
            return False
        if not asked.token:
            self.lease.refused(now, asked.free_in)
            if led:
                logger.warning("beat: Another beat leads now, this one is a spare")
            return False
        if asked.token != self.lease.token:
            self.lease = rules.Lease(self.lease.ttl)  # in a Redis that forgot, tokens begin anew
            logger.info("beat: Leading, with token %s", asked.token)
        self.lease.granted(asked.token, now)
        return self.lease.leads(time.monotonic())

    def _doubt(self) -> None:
        self._version = None
        self.lease.ended(time.monotonic())

    def _load(self) -> None:
        """Take up what any leader before left."""
        self.store.finish()
        kept = self.store.load()
        entries = dict(self._configured)
        for name, text in kept.entries.items():
            try:
                entries[name] = beat_entries.entry_of(name, text, self.app, self.Entry)
            except Exception:  # noqa: BLE001, PERF203 - one that cannot be read must not stop the others
                logger.exception("beat: The entry %r cannot be read, and is left out", name)
        fresh = {}
        for name, entry in entries.items():
            last, count = beat_entries.ran(kept.state.get(name))
            if last is None:
                fresh[name] = _state(entry)
            else:
                entry = entries[name] = _copied(entry)  # noqa: PLW2901 - the configured one stays as it is
                entry.last_run_at, entry.total_run_count = last.astimezone(self.app.timezone), count
        self.store.begin(fresh)
        self.store.forget(*(name for name in kept.state if name not in entries))
        self.data = {name: entry for name, entry in entries.items() if name not in kept.paused}
        self._heap = None

    # --- one run

    def reserve(self, entry: Any) -> Any:
        """As it is after this run: what was missed is made up for as `beat_missed` says."""
        now = maybe_make_aware(entry.default_now())
        when = _copied(entry.schedule)
        when.nowfun = lambda: now
        conf = self.app.conf
        run = rules.catch_up(
            now + when.remaining_estimate(entry.last_run_at),
            now,
            each=conf.beat_missed == "each",
            deadline=conf.beat_missed_deadline,
            every=when.run_every if isinstance(when, schedule) and not when.relative else None,
        )
        self._skips = not run.send
        following = self.schedule[entry.name] = entry._next_instance(last_run_at=run.last_run_at)
        return following

    def _delay(self, following: Any, delay: Any) -> Any:
        is_due, later = following.is_due()
        return 0 if is_due else later

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        if not self._skips:
            super().apply_entry(entry, producer=producer)
            return
        logger.warning("beat: %s is too late, and is left out", entry.name)
        try:
            self._commit(entry)
        except (SchedulingError, OperationalError) as problem:
            logger.error("beat: %s", problem)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        if advance:
            self.reserve(entry)
        outbox = self.producer
        outbox.held.clear()
        result = super().apply_async(entry, producer=outbox, advance=False)
        self._commit(entry)
        return result

    def _commit(self, entry: Any) -> None:
        """The run and its message in one step; then whatever else was to be sent."""
        outbox = self.producer
        held, outbox.held = outbox.held, []
        message = self._message(held[0]) if held else None
        try:
            if message is not None and held[0][1]:
                self.app.amqp.outlet.producer.send((), held[0][1])
            mine = self.store.commit(self.lease.token, entry.name, _state(self.schedule[entry.name]), message)
        except OperationalError:
            self._doubt()
            raise
        if not mine:
            self._doubt()
            raise SchedulingError(f"{entry.name} was not sent: another beat leads now")
        for parcels, queues, patience in held if message is None else held[1:]:
            self.app.amqp.outlet.producer.send(parcels, queues, patience)

    def _message(self, held: tuple[Sequence[Parcel], Sequence[Queue], Any]) -> tuple[str, bytes] | None:
        parcels, queues, _ = held
        place = self.store.queues_at
        if place is None or not self._shares_redis or len(parcels) != 1:
            return None
        return pushed(parcels[0], queues, place, self.app.amqp.outlet.told.options)

    @cached_property
    def _shares_redis(self) -> bool:
        """Whether the lease can put messages where the queues are."""
        there, here = beat_entries.place_of(self.app), self.store.queues_at
        if there is None:
            return False
        same = ("host", "port", "path", "db", "sentinels")
        return all(getattr(there, name) == getattr(here, name) for name in same)

    @cached_property
    def producer(self) -> Any:
        self._await_broker()
        return Outbox(self.app)

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self.lease.leads(time.monotonic()):
                try:
                    self.store.release(self.lease.token)
                except OperationalError:
                    logger.debug("beat: The lease could not be given back, and will end", exc_info=True)
            self.lease.ended(time.monotonic())
            self.store.close()

    @property
    def info(self) -> str:
        return f"    . lease -> {self.store.name} ({self.lease.ttl:g}s) in {self.store.where}"


def _copied(value: Any) -> Any:
    """Attribute by attribute: copied as a pickle is, entries and schedules would lose their app."""
    made = object.__new__(type(value))
    made.__dict__.update(vars(value))
    return made


def _state(entry: Any) -> str:
    last = maybe_make_aware(entry.last_run_at).astimezone(timezone.utc)
    return dumps({"last_run_at": last.isoformat(), "total_run_count": entry.total_run_count})

"""What goes on in the cluster: one thread hears events, one writes them down and asks queues and workers.

Law: the broker may be away, workers may be old, events may be anything: what is known is shown, with what is wrong
beside it, and everything is tried again. `stop` ends both threads, what was heard being written first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...worker.brokers.redis_ages import Ages
from ..bin.queues import look
from ..utils.log import get_logger
from .acts import Act, Acting
from .records import ENDED, Record, Records
from .series import Series
from .store import Store

logger = get_logger("celery.web")

_FLUSH = 0.5  # seconds until what was heard can be seen
_STATS = 10.0
_PRUNE = 30.0
_ASKED = 10_000
_AGES, _PAUSED = "ages", "paused"
"""Notes in the store: what outlives a restart beside tasks, workers and charts."""


class Watch:
    """The cluster, kept up. `on_change` is called from another thread when there is something new."""

    def __init__(self, app: Any, store: Store, interval: float = 2.0, *, enable: bool = True) -> None:
        self.app = app
        self.store = store
        self.series = Series()
        self.records = Records(self.series, store.record)
        self.on_change: Callable[[], None] = lambda: None
        self.version = 1
        self.problem = ""
        self.queues: list[dict[str, Any]] = []
        self.unknown: dict[str, str] = {}
        """What of the queues is not known, and why."""
        self.stats: dict[str, Any] = {}
        self.taken: dict[str, list[str]] = {}
        """Worker -> the queues it takes from."""
        self.acting = Acting(app, store.record, self.takers, lambda: len(self.taken))
        self.acting.paused = dict(store.remembered(_PAUSED) or {})
        self._asked: set[str] = set()
        """Whose group the result store was asked for."""
        self._ages = _remembered(store)
        self._interval = max(interval, 0.2)
        self._enable = enable
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._due = {"look": 0.0, "stats": 0.0, "prune": 0.0}
        self._receiver = app.events.Receiver(None, handlers={"*": self._heard})
        self._threads = [
            threading.Thread(target=target, name=f"web-{name}", daemon=True)
            for name, target in (("events", self._hear), ("keep", self._keep))
        ]
        for node in store.restore(self.series):
            self.records.nodes[node.name] = node

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._receiver.should_stop = True
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(5)
        self._flush()
        self.store.remember(_AGES, self._ages.document())

    # --- hearing and writing down

    def _hear(self) -> None:
        while not self._over.is_set():
            try:
                self._receiver.run()
            except Exception as problem:  # noqa: BLE001, PERF203 - it is shown, and tried again
                self._tell(f"No events are heard: {type(problem).__name__}: {problem}")
                self._over.wait(self._interval)

    def _heard(self, event: Any) -> None:
        with self._lock:
            self.records.hear(event, time.time())

    def _keep(self) -> None:
        while not self._over.wait(_FLUSH):
            try:
                self._flush()
                self._when_due("look", self._interval, self._look)
                self._when_due("stats", _STATS, self._ask_stats)
                self._when_due("prune", _PRUNE, self._prune)
            except Exception as problem:  # noqa: BLE001, PERF203 - it is shown, and tried again
                self._tell(f"{type(problem).__name__}: {problem}")

    def _flush(self) -> None:
        with self._lock:
            records, nodes = self.records.flushed()
        if records or nodes or self.series.changed:
            with self._lock:  # a bucket must not change while it is written down
                self.store.write(records, nodes, self.series)
            self._changed()

    def _prune(self) -> None:
        with self._lock:
            self.series.forget(time.time())
        self.store.prune(self.series, time.time())
        self.store.remember(_AGES, self._ages.document())  # one of half a minute ago serves as well after a kill

    def _when_due(self, what: str, every: float, do: Callable[[], None]) -> None:
        now = time.monotonic()
        if now >= self._due[what]:
            self._due[what] = now + every
            do()

    def _look(self) -> None:
        """Ask queues and workers once."""
        timeout = min(1.0, self._interval)
        replies = self.app.control.inspect(timeout=timeout).active_queues() or {}
        self.taken = {
            node: [str(queue.get("name")) for queue in queues if isinstance(queue, dict)]
            for node, queues in replies.items()
            if isinstance(queues, list)
        }
        found = look(self.app, timeout, replies, self._ages, self._sent)
        self.queues, self.unknown = found["queues"], found["unknown"]
        self.problem = ""
        self._changed()

    def _sent(self, uuid: str) -> float | None:
        """When a task was sent that no worker has received yet, as its sender's event said."""
        with self._lock:
            record = self.records.known(uuid)
        return record.sent or None if record is not None and record.state == "PENDING" else None

    def _ask_stats(self) -> None:
        if self._enable:
            self.app.control.enable_events()
        self.stats = self.app.control.inspect(timeout=1.0).stats() or {}

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("%s", problem)
            self.problem = problem
            self._changed()

    def _changed(self) -> None:
        self.version += 1
        self.on_change()

    # --- what is known

    def takers(self, queue: str) -> list[str]:
        return [node for node, queues in self.taken.items() if queue in queues]

    def overview(self, now: float) -> dict[str, Any]:
        with self._lock:
            nodes = [
                {**node.document(), "alive": node.alive(now), "queues": self.taken.get(name, []), **self._pool(name)}
                for name, node in sorted(self.records.nodes.items())
            ]
            heard = {"events": self.records.heard, "senseless": self.records.senseless}
        queues = [{**row, "paused": row["queue"] in self.acting.paused} for row in self.queues]
        totals = self.store.totals()
        known = {"queues": queues, "unknown": self.unknown, "workers": nodes, "totals": totals, "heard": heard}
        return {**known, "problem": self.problem, "version": self.version, "now": now}

    def _pool(self, name: str) -> dict[str, Any]:
        stats = self.stats.get(name)
        pool = stats.get("pool") if isinstance(stats, Mapping) else None
        size = pool.get("max-concurrency") if isinstance(pool, Mapping) else None
        kind = pool.get("implementation") if isinstance(pool, Mapping) else None
        shown = str(kind or "").replace(":", ".").split(".")
        return {"pool_size": size if isinstance(size, int) else None, "pool_kind": shown[-2] if len(shown) > 1 else ""}

    def points(self, span: str, now: float) -> list[dict[str, Any]]:
        with self._lock:
            return self.series.points(span, now)

    def family(self, record: Record) -> list[Record]:
        """The family as events tell it, and what the result store adds of groups: stock workers tell nobody of them."""
        found = self.store.family(record)
        if not any(each.group_id for each in found) and self._learn_groups(found):
            found = self.store.family(self.store.record(record.id) or record)
        return found

    def _learn_groups(self, records: list[Record]) -> bool:
        if type(self.app.backend).__name__ == "DisabledBackend":
            return False
        if len(self._asked) > _ASKED:
            self._asked.clear()
        learned: dict[str, str] = {}
        for record in records[:20]:
            if record.state not in ENDED or record.id in self._asked:
                continue
            self._asked.add(record.id)
            try:
                meta = self.app.backend.get_task_meta(record.id)
            except Exception as problem:  # noqa: BLE001 - the drawing is less without it, and no more
                logger.debug("The result of %s cannot be had: %r", record.id, problem)
                return False
            group = meta.get("group_id") if isinstance(meta, dict) else None
            if isinstance(group, str) and group:
                learned[record.id] = group
        with self._lock:
            for uuid, group in learned.items():
                self.records.learn_group(uuid, group)
        self._flush()
        return bool(learned)

    # --- what is to be done

    def perform(self, act: Act, fields: dict[str, Any], who: str) -> str:
        logger.warning("%s asks for %s %s", who, act.do.__name__, fields)
        try:
            done = act.do(self.acting, **fields)
        finally:
            self.store.remember(_PAUSED, self.acting.paused)
        self._due["look"] = self._due["stats"] = 0.0
        return done


def _remembered(store: Store) -> Ages:
    """What was seen of the queues before a restart, so that their messages do not grow young."""
    try:
        return Ages(store.remembered(_AGES))
    except (TypeError, ValueError, AttributeError):
        return Ages()

"""/livez, /readyz and /metrics of one worker (`worker_health`, `--health`).

    livez    200 while the worker's thread turns; 503 when it has not for `WEDGED` seconds: it should be restarted
    readyz   200 while it takes messages; 503 until it is connected, while its broker is away, and once it leaves
    metrics  what `metrics` counts, and the pool as it was at the last look

Law: the pages are answered by a thread of their own, which only reads what the worker's thread has left for it, so a
worker that is wedged still says so. What `tend` costs is all that the worker pays for it, and counting.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .metrics import KIND, Counts, Gauge, Labels, Meter, process_gauges
from .pages import Page, Pages, address

if TYPE_CHECKING:
    from .worker import Worker

log = logging.getLogger("celery.worker")

WEDGED = 30.0
_EVERY = 2.0
_AGAIN = 5.0


class Health:
    """Made with its worker; `open` once the pool has been started."""

    def __init__(self, worker: Worker, where: str) -> None:
        self.worker = worker
        self.pages = Pages(address(where), self._answer)
        self.counts = Counts(worker.hostname.partition("@")[2] or worker.hostname)
        meter = Meter(worker.owner, worker.events, worker.consumer)
        meter.counts = self.counts
        worker.consumer.announcer = meter
        self._open = False
        self._turned = time.monotonic()
        self._open_at = self._look_at = 0.0
        self._gauges: list[Gauge] = []
        self._told = False

    def open(self, now: float) -> None:
        """An address that is taken, as by the worker before us, is tried again: tasks are done all the same."""
        self._open_at = now + _AGAIN
        try:
            self.pages.open()
        except OSError as problem:
            if not self._told:
                log.error("The worker's health cannot be shown at %s: %s. Trying again.", self.pages.where, problem)  # noqa: TRY400 - the text says it all
            self._told = True
            return
        self._open = True
        log.info("Health at %s: /livez, /readyz, /metrics", self.pages.where)

    def tend(self, now: float) -> float:
        """In the worker's thread."""
        self._turned = time.monotonic()
        if not self._open and now >= self._open_at:
            self.open(now)
        if now >= self._look_at:
            self._look_at = now + _EVERY
            self._gauges = list(self._measured())
        return self._look_at

    def close(self) -> None:
        self.pages.close()

    # --- in the thread of the pages

    def _answer(self, path: str) -> Page | None:
        if path in {"/livez", "/healthz"}:
            return _page(self._wedged())
        if path == "/readyz":
            return _page(self._wedged() or self._away())
        if path == "/metrics":
            return Page(200, self.counts.text(self._gauges), KIND)
        return None

    def _wedged(self) -> str:
        still = time.monotonic() - self._turned
        if still < WEDGED or getattr(self.worker.pool, "occupied", False):  # solo runs tasks in the worker's thread
            return ""
        return f"the worker's thread has not turned for {still:.0f} s"

    def _away(self) -> str:
        worker = self.worker
        if worker.stopping:
            return "it is shutting down"
        if worker.consumer.broker is None:  # not `tasks.broker`: a connection is one once the broker has answered
            return f"it is not connected to {worker.shown_url}"
        return ""

    # --- in the worker's thread

    def _measured(self) -> Iterator[Gauge]:
        worker, consumer = self.worker, self.worker.consumer
        members = worker.pool.members()
        node = worker.hostname.partition("@")[0]
        yield "celery_worker_up", "gauge", "The worker runs.", {(): 1}
        active, aside = worker.counts()[0], consumer.deliveries.aside
        yield "celery_worker_tasks_active", "gauge", "Tasks that run now.", {(): active}
        yield "celeriac_worker_info", "gauge", "Who it is.", {(("node", node), ("pid", str(worker.pid))): 1}
        connected = worker.consumer.broker is not None
        yield "celeriac_worker_connected", "gauge", "It is connected to its broker.", {(): int(connected)}
        yield "celeriac_worker_stopping", "gauge", "It is shutting down.", {(): int(bool(worker.stopping))}
        yield "celeriac_worker_tasks_scheduled", "gauge", "Tasks that wait for their time or a rate limit.", {(): aside}
        reserved = max(0, len(consumer.requests) - active - aside)
        yield "celeriac_worker_tasks_reserved", "gauge", "Other tasks received and not begun.", {(): reserved}
        yield "celeriac_worker_places", "gauge", "How many tasks may run at once.", {(): worker.pool.size}
        yield "celeriac_worker_processes", "gauge", "Members of the pool.", {(): len(members)}
        memory: dict[Labels, float] = {
            (("pid", str(each["pid"])),): each["memory"] * 1024 for each in members if each.get("memory")
        }
        frozen = sum(bool(each.get("frozen")) for each in members)
        yield "celeriac_worker_processes_frozen", "gauge", "Child processes that are stopped.", {(): frozen}
        deaths = getattr(worker.pool, "deaths", 0)
        yield "celeriac_worker_process_deaths_total", "counter", "Child processes that died untold.", {(): deaths}
        yield "celeriac_worker_child_memory_bytes", "gauge", "Resident memory of each process.", memory
        yield from process_gauges(worker.started)


def _page(wrong: str) -> Page:
    return Page(503, f"{wrong}\n") if wrong else Page(200, "ok\n")


__all__ = ("Health",)

"""The number of places in the pool follows the load: `Autoscaler`, or what `worker_autoscaler` names."""

from __future__ import annotations

import logging
import os
import threading
from time import monotonic, sleep
from typing import Any

from .. import bootsteps
from ..utils.threads import bgThread
from . import state
from .components import Pool

__all__ = ("Autoscaler", "WorkerComponent")

logger = logging.getLogger("celery.worker.autoscale")

AUTOSCALE_KEEPALIVE = float(os.environ.get("AUTOSCALE_KEEPALIVE", "30"))
_EVERY = 1.0


class WorkerComponent(bootsteps.StartStopStep):
    """Has the autoscaler looked at once a second, by the worker's timer."""

    label = "Autoscaler"
    conditional = True
    requires: Any = (Pool,)

    def __init__(self, w: Any, **kwargs: Any) -> None:
        self.enabled = w.autoscale
        w.autoscaler = None

    def create(self, w: Any) -> None:
        w.autoscaler = self.instantiate(w.autoscaler_cls, w.pool, w.max_concurrency, w.min_concurrency, worker=w)

    def start(self, w: Any) -> None:
        w.timer.call_repeatedly(_EVERY, w.autoscaler.maybe_scale)

    def register_with_event_loop(self, w: Any, hub: Any) -> None:
        """There is no event loop of kombu's."""

    def info(self, w: Any) -> dict[str, Any]:
        return {"autoscaler": w.autoscaler.info()}


class Autoscaler(bgThread):
    """Grows at once, and shrinks when nothing has come for `keepalive` seconds."""

    def __init__(
        self,
        pool: Any,
        max_concurrency: int,
        min_concurrency: int = 0,
        worker: Any = None,
        keepalive: float = AUTOSCALE_KEEPALIVE,
        mutex: Any = None,
    ) -> None:
        super().__init__()
        if not keepalive:
            raise ValueError("cannot scale down too fast.")
        self.pool = pool
        self.mutex = mutex or threading.Lock()
        self.max_concurrency = max_concurrency
        self.min_concurrency = min_concurrency
        self.keepalive = keepalive
        self.worker = worker
        self._last_scale_up: float | None = None
        self._last_task_received: float | None = None
        self._seen = 0

    def body(self) -> None:
        """Where it is run as a thread."""
        with self.mutex:
            self.maybe_scale()
        sleep(_EVERY)

    def _maybe_scale(self, req: Any = None) -> bool | None:
        places = self.processes
        wanted = min(self.qty, self.max_concurrency)
        if wanted > places:
            self.scale_up(wanted - places)
            return True
        wanted = max(self.qty, self.min_concurrency)
        if wanted < places:
            self.scale_down(places - wanted)
            return True
        return None

    def maybe_scale(self, req: Any = None) -> None:
        seen = state.all_total_count[0]
        if req is not None or seen != self._seen:
            self._seen = seen
            self.on_task_received(req)
        if self._maybe_scale(req):
            self.pool.maintain_pool()

    def on_task_received(self, req: Any) -> None:
        self._last_task_received = monotonic()

    def update(self, max: int | None = None, min: int | None = None) -> tuple[int, int]:
        """New bounds."""
        with self.mutex:
            if max is not None:
                if max < self.processes:
                    self._shrink(self.processes - max)
                self.max_concurrency = max
            if min is not None:
                if min > self.processes:
                    self._grow(min - self.processes)
                self.min_concurrency = min
            return self.max_concurrency, self.min_concurrency

    def scale_up(self, n: int) -> Any:
        self._last_scale_up = monotonic()
        return self._grow(n)

    def scale_down(self, n: int) -> Any:
        last = max((at for at in (self._last_scale_up, self._last_task_received) if at is not None), default=None)
        if last is not None and monotonic() - last > self.keepalive:
            return self._shrink(n)
        return None

    def _grow(self, n: int) -> None:
        logger.info("Scaling up %s processes.", n)
        self.pool.grow(n)

    def _shrink(self, n: int) -> None:
        logger.info("Scaling down %s processes.", n)
        try:
            self.pool.shrink(n)
        except ValueError:
            logger.debug("Autoscaler won't scale down: all processes busy.")
        except Exception as exc:
            logger.exception("Autoscaler: scale_down: %r", exc)  # noqa: TRY401 - people grep for it

    def info(self) -> dict[str, Any]:
        return {
            "max": self.max_concurrency,
            "min": self.min_concurrency,
            "current": self.processes,
            "qty": self.qty,
        }

    @property
    def qty(self) -> int:
        """How many tasks there are to do."""
        return len(state.reserved_requests)

    @property
    def processes(self) -> int:
        return int(self.pool.num_processes)

"""A pool of somebody's own, a subclass of `BasePool`, as the worker's pool.

Law: as `worker.pools.base` has it. A job is given to it in `collect`, where solo's jobs run too: a pool that runs what
it is given at once may do so. It may call back from any thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ...protocol.rules.outcome import Fate, Report
from ...worker.pools.base import Begun, Ended, Happening, Job, Lost, Overdue, Program, Returned, taken_out
from ...worker.pools.bell import Bell
from ..exceptions import Ignore, Reject, Retry
from ..utils.saferepr import saferepr

log = logging.getLogger("celery.pool")

_SELDOM = 5.0
_STEP = 0.02


class Adapted:
    """`pool` is the user's, made and not started."""

    def __init__(self, pool: Any, program: Program) -> None:
        self.pool = pool
        self._program = program
        self._bell = Bell()
        self._waiting: deque[Job] = deque()
        self._held: dict[int, Job] = {}
        self._released: deque[Job] = deque()
        self._running: dict[int, tuple[Job, int]] = {}
        self._happened: deque[Happening] = deque()
        self._done = 0
        self._begun = False
        can = set()
        if hasattr(pool, "grow") and hasattr(pool, "shrink"):
            can.add("resize")
        self.can = frozenset(can)

    # --- the contract

    @property
    def size(self) -> int:
        return max(1, int(self.pool.num_processes or 1))

    def start(self) -> None:
        if not self._begun:
            self._begun = True
            self._program.begin(0)
            if not self.pool.active:
                self.pool.start()

    def room(self) -> int:
        taken = len(self._waiting) + len(self._held) + len(self._released) + len(self._running)
        return max(0, self.size - taken)

    def submit(self, jobs: Sequence[Job]) -> None:
        self._waiting.extend(jobs)
        self._bell.ring()

    def release(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            job = self._held.pop(number, None)
            if job is not None:
                self._released.append(job)
        self._bell.ring()

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        for job in taken_out(self._waiting, numbers):
            self._happened.append(Returned(job.number))
        self._bell.ring()

    def collect(self) -> list[Happening]:
        self._bell.hear()
        if self._released:
            self._apply(self._released.popleft())
        elif self._waiting and len(self._held) + len(self._running) < self.size:
            job = self._waiting.popleft()
            self._happened.append(Begun(job.number, os.getpid(), time.time()))
            if job.held:
                self._held[job.number] = job
            else:
                self._released.append(job)
        if self._released or (self._waiting and len(self._held) + len(self._running) < self.size):
            self._bell.ring()
        happened = []
        while self._happened:
            happened.append(self._happened.popleft())
        return happened

    def fileno(self) -> int:
        return self._bell.fileno()

    def tend(self, now: float) -> float:
        self.pool.maintain_pool()
        return now + _SELDOM

    def kill(self, number: int, signal: int) -> bool:
        found = self._running.get(number)
        if found is None:
            return False
        try:
            self.pool.terminate_job(found[1], signal)
        except NotImplementedError:
            return False
        return True

    def resize(self, size: int) -> None:
        more = size - self.size
        if more and "resize" in self.can:
            (self.pool.grow if more > 0 else self.pool.shrink)(abs(more))

    def restart(self) -> None:
        self.pool.restart()

    def members(self) -> Sequence[Mapping[str, Any]]:
        running = next(iter(self._running), None)
        return [{"place": 0, "pid": os.getpid(), "done": self._done, "running": running}]

    def close(self, timeout: float) -> None:
        self.recall()
        until = time.monotonic() + timeout
        while self._running and time.monotonic() < until:
            time.sleep(_STEP)
        for job in (*self._held.values(), *self._released):
            self._happened.append(Lost(job.number, "the worker stopped before it ran"))
        for job, _ in list(self._running.values()):
            self._over(job, Lost(job.number, "the worker stopped"))
        self._held.clear()
        self._released.clear()
        self.pool.close()
        self.pool.stop()
        self._program.end(0)

    # --- running

    def _apply(self, job: Job) -> None:
        self._running[job.number] = (job, os.getpid())

        def accepted(pid: int, _at: float) -> None:
            self._running[job.number] = (job, pid)

        def returned(value: Any) -> None:
            if type(value) is _Value:
                self._over(job, Ended(job.number, value.reports[0]))
            elif isinstance(value, tuple):
                self._over(job, Ended(job.number, _traced(*value)))
            else:
                failed(value)

        def failed(info: Any) -> None:
            self._over(job, Lost(job.number, str(getattr(info, "exception", info))))

        def timed_out(soft: bool, timeout: float) -> None:
            if soft:
                self._happened.append(Overdue(job.number, timeout))
            else:
                self._over(job, Lost(job.number, "it was over its hard limit", limit=timeout))

        try:
            self.pool.apply_async(
                _Run(self._program, job),
                args=_arguments(job),
                accept_callback=accepted,
                callback=returned,
                error_callback=failed,
                timeout_callback=timed_out,
                soft_timeout=job.soft,
                timeout=job.hard,
                correlation_id=job.id,
            )
        except BaseException as problem:
            log.exception("The pool could not run %s[%s]", job.task, job.id)
            self._over(job, Lost(job.number, f"{type(problem).__name__}: {problem}"))

    def _over(self, job: Job, happening: Happening) -> None:
        if self._running.pop(job.number, None) is not None:
            self._done += 1
            self._happened.append(happening)
            self._bell.ring()


def _arguments(job: Job) -> tuple[Any, ...]:
    """Those of `trace_task_ret`: a pool may have a tracer of its own that reads them."""
    message = job.message
    properties = message.properties or {}
    request = {
        **(message.headers or {}),
        "properties": properties,
        "reply_to": properties.get("reply_to"),
        "correlation_id": properties.get("correlation_id"),
        "delivery_info": {
            "exchange": job.exchange,
            "routing_key": job.routing_key,
            "priority": properties.get("priority"),
            "redelivered": job.redelivered,
        },
    }
    return job.task, job.id, request, message.body, message.content_type, message.content_encoding


class _Run:
    """What the pool is given to call: the job, whatever the arguments."""

    __name__ = "trace_task_ret"

    def __init__(self, program: Program, job: Job) -> None:
        self._program = program
        self._job = job

    def __call__(self, *_: Any, **_options: Any) -> _Value:
        return _Value(self._program.flush([self._program.run(self._job)]))


class _Value:
    """What it returns."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self.reports = reports


def _traced(failed: Any, value: Any, runtime: float = 0.0, *_: Any) -> Report:
    """What a tracer of the pool's own came to, as Celery's tracers tell it."""
    if not failed:
        return Report("SUCCESS", Fate.DONE, runtime, value if isinstance(value, str) else saferepr(value))
    exc = getattr(value, "exception", value)
    if isinstance(exc, Retry):
        return Report("RETRY", Fate.RETRIED, runtime, error=saferepr(exc))
    if isinstance(exc, Reject):
        return Report("REJECTED", Fate.REQUEUED if exc.requeue else Fate.REJECTED, runtime, error=saferepr(exc))
    if isinstance(exc, Ignore):
        return Report("IGNORED", Fate.DONE, runtime)
    return Report("FAILURE", Fate.FAILED, runtime, error=saferepr(exc), traceback=getattr(value, "traceback", None))

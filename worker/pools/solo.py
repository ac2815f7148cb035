"""The solo pool: jobs run in the worker's own thread, one after the other, while nothing else is done.

Law: one job runs in one `collect`, the one after its `Begun` was said and, if it is held, after its release. So the
worker acknowledges, answers and takes between any two jobs. A job that leaves by SystemExit is lost, the worker is not.
Time limits strike by the alarm of the process, in the task's own code: where this is the main thread, and there is one.
"""

from __future__ import annotations

import logging
import os
import signal as signals
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from .. import limit
from ..limit import GivenUp
from .base import Begun, Ended, Happening, Job, Lost, Overdue, Program, Returned, taken_out
from .bell import Bell

_log = logging.getLogger("celery.concurrency.solo")
_SELDOM = 60.0
_AGAIN = 0.05
_SLOW = 0.02
"""Seconds a job may take for another to be begun before the worker was heard: it may be told to stop, meanwhile."""


class Solo:
    """See `base.Pool`."""

    def __init__(self, program: Program, size: int = 1) -> None:
        self.size = 1
        self.can: frozenset[str] = frozenset()
        self._program = program
        self._bell = Bell()
        self._waiting: deque[Job] = deque()
        self._held: Job | None = None
        self._next: Job | None = None
        self._happened: list[Happening] = []
        self._running: int | None = None
        self._done = 0

    # --- the contract

    def start(self) -> None:
        if hasattr(signals, "setitimer") and threading.current_thread() is threading.main_thread():
            self.can = frozenset({"soft", "hard"})
        self._program.begin(0)

    def room(self) -> int:
        return max(0, 1 - len(self._waiting) - (self._held is not None) - (self._next is not None))

    def submit(self, jobs: Sequence[Job]) -> None:
        self._waiting.extend(jobs)
        self._bell.ring()

    def release(self, numbers: Sequence[int]) -> None:
        if self._held is not None and self._held.number in numbers:
            self._next, self._held = self._held, None
            self._bell.ring()

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        for job in taken_out(self._waiting, numbers):
            self._happened.append(Returned(job.number))
        self._bell.ring()

    def collect(self) -> list[Happening]:
        self._bell.hear()
        job, self._next = self._next, None
        quick = True
        if job is not None:
            began = time.monotonic()
            self._happened.append(self._run(job))
            quick = time.monotonic() - began < _SLOW
        if self._waiting and not quick:
            self._bell.ring()
        elif self._waiting and self._held is None:
            job = self._waiting.popleft()
            self._happened.append(Begun(job.number, os.getpid(), time.time()))
            if job.held:
                self._held = job
            else:
                self._next = job
                self._bell.ring()
        happened, self._happened = self._happened, []
        return happened

    @property
    def occupied(self) -> bool:
        """A job runs, and nothing else is done."""
        return self._running is not None

    def fileno(self) -> int:
        return self._bell.fileno()

    def tend(self, now: float) -> float:
        return now + _SELDOM

    def kill(self, number: int, signal: int) -> bool:
        return False

    def resize(self, size: int) -> None:
        """One it is."""

    def restart(self) -> None:
        """There is nothing to replace."""

    def members(self) -> Sequence[Mapping[str, Any]]:
        return [{"place": 0, "pid": os.getpid(), "done": self._done, "running": self._running}]

    def close(self, timeout: float) -> None:
        self.recall()
        for job in (self._held, self._next):
            if job is not None:
                self._happened.append(Lost(job.number, "the worker stopped before it ran", begun=True))
        self._held = self._next = None
        self._program.end(0)

    # --- running

    def _run(self, job: Job) -> Happening:
        self._running = job.number
        limits = _Limits(self._program, job, self._happened) if self.can and (job.soft or job.hard) else None
        try:
            if limits is not None:
                limits.set()
            reports = self._program.flush([self._program.run(job)])
        except GivenUp:
            return Lost(job.number, f"over its time limit of {job.hard:g} s", limit=job.hard)
        except BaseException as problem:  # noqa: BLE001 - SystemExit of a task: this process is not its own
            _log.exception("Task %s[%s] wanted to leave the process", job.task, job.id)
            return Lost(job.number, f"{type(problem).__name__}: {problem}")
        finally:
            if limits is not None:
                limits.lift()
            self._running = None
            self._done += 1
        return Ended(job.number, reports[0])


class _Limits:
    """The limits of one job. The alarm rings until they have struck: the job may be between two pieces of its code."""

    def __init__(self, program: Program, job: Job, happened: list[Happening]) -> None:
        self._program = program
        self._job = job
        self._happened = happened
        self._told = False
        self._before: Any = None

    def set(self) -> None:
        self._since = time.monotonic()
        self._before = signals.signal(signals.SIGALRM, self._ring)
        self._wind(min(filter(None, (self._job.soft, self._job.hard))))

    def lift(self) -> None:
        signals.setitimer(signals.ITIMER_REAL, 0)
        signals.signal(signals.SIGALRM, self._before)

    @staticmethod
    def _wind(seconds: float) -> None:
        signals.setitimer(signals.ITIMER_REAL, max(seconds, _AGAIN), _AGAIN)

    def _ring(self, _signum: int, _frame: FrameType | None) -> None:
        job, ran = self._job, time.monotonic() - self._since
        if not limit.within():
            return
        if job.hard and ran >= job.hard:
            limit.strike_here(GivenUp())
        elif job.soft and ran >= job.soft and not self._told:
            self._told = True
            self._happened.append(Overdue(job.number, job.soft))
            if job.hard:
                self._wind(job.hard - ran)
            else:
                signals.setitimer(signals.ITIMER_REAL, 0)
            self._program.interrupt(job.soft)

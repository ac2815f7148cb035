"""The solo pool: jobs run in the worker's own thread, one after the other, while nothing else is done.

Law: one job runs in one `collect`, the one after its `Begun` was said and, if it is held, after its release. So the
worker acknowledges, answers and takes between any two jobs. A job that leaves by SystemExit is lost, the worker is not.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from .base import Begun, Ended, Happening, Job, Lost, Program, Returned, taken_out
from .bell import Bell

_log = logging.getLogger("celery.concurrency.solo")
_SELDOM = 60.0
_SLOW = 0.02
"""Seconds a job may take for another to be begun before the worker was heard: it may be told to stop, meanwhile."""


class Solo:
    """See `base.Pool`."""

    can: frozenset[str] = frozenset()

    def __init__(self, program: Program, size: int = 1) -> None:
        self.size = 1
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
        try:
            reports = self._program.flush([self._program.run(job)])
        except BaseException as problem:  # noqa: BLE001 - SystemExit of a task: this process is not its own
            _log.exception("Task %s[%s] wanted to leave the process", job.task, job.id)
            return Lost(job.number, f"{type(problem).__name__}: {problem}")
        finally:
            self._running = None
            self._done += 1
        return Ended(job.number, reports[0])

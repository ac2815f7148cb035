"""What two pools share whose jobs run in this process and are switched where they would wait: coroutines, greenlets.

Law: what waits, what is held back, what runs and since when is kept here, by the thread of the consumer; another may
only `_say` what happened. How a job begins, hears of its soft limit and is ended is each pool's own.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...protocol.values import dataclass
from .base import Begun, Happening, Job, Lost, Overdue, Program, Returned, taken_out
from .bell import Bell

_IDLE_TEND = 1.0
STEP = 0.005  # seconds between two looks while a pool closes


@dataclass(eq=False)
class Running:
    """One job that runs. `what` is its coroutine's task or its greenlet, as soon as there is one."""

    job: Job
    since: float
    what: Any = None
    told: bool = False


class Switching(ABC):
    """See `base.Pool`."""

    can = frozenset({"soft", "hard", "kill", "resize"})

    def __init__(self, program: Program, size: int) -> None:
        self.size = size
        self._program = program
        self._bell = Bell()
        self._happened: deque[Happening] = deque()
        self._waiting: deque[Job] = deque()
        self._held: dict[int, Job] = {}
        self._running: dict[int, Running] = {}
        self._done = 0

    # --- each pool's own

    @abstractmethod
    def _spawn(self, runs: Sequence[Running]) -> None:
        """These begin."""

    @abstractmethod
    def _strike(self, running: Running) -> None:
        """It is over its soft limit."""

    @abstractmethod
    def _cancel(self, running: Running) -> None:
        """It ends, and nobody waits for it."""

    # --- the contract

    def room(self) -> int:
        return max(0, self.size - len(self._running) - len(self._held) - len(self._waiting))

    def submit(self, jobs: Sequence[Job]) -> None:
        self._waiting.extend(jobs)
        self._hand_out()

    def release(self, numbers: Sequence[int]) -> None:
        self._begin([job for number in numbers if (job := self._held.pop(number, None)) is not None])

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        for job in taken_out(self._waiting, numbers):
            self._say(Returned(job.number))

    def fileno(self) -> int:
        return self._bell.fileno()

    def tend(self, now: float) -> float:
        again = now + _IDLE_TEND
        for running in list(self._running.values()):
            job, ran = running.job, now - running.since
            if job.hard and ran >= job.hard:
                self._give_up(running, Lost(job.number, f"over its time limit of {job.hard:g} s", True, job.hard))
                continue
            if job.soft and ran >= job.soft and not running.told:
                running.told = True
                self._strike(running)
                self._say(Overdue(job.number, job.soft))
            for seconds in (job.soft, job.hard):
                if seconds and seconds > ran:
                    again = min(again, now + seconds - ran)
        return again

    def kill(self, number: int, signal: int) -> bool:
        running = self._running.get(number)
        if running is None:
            return False
        self._give_up(running, Lost(number, f"ended by signal {signal}", True, None, signal))
        return True

    def resize(self, size: int) -> None:
        self.size = max(size, 0)
        self._hand_out()

    def restart(self) -> None:  # noqa: B027 - nothing to do, for both
        """There are no children to replace."""

    def members(self) -> Sequence[Mapping[str, Any]]:
        running = sorted(self._running)
        return [{"place": 0, "pid": os.getpid(), "done": self._done, "running": running[0] if running else None}]

    # --- handing over, and giving up

    def _hand_out(self) -> None:
        begun: list[Job] = []
        now = time.time()
        while self._waiting and len(self._running) + len(self._held) + len(begun) < self.size:
            job = self._waiting.popleft()
            self._say(Begun(job.number, os.getpid(), now))
            if job.held:
                self._held[job.number] = job
            else:
                begun.append(job)
        self._begin(begun)

    def _begin(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        now = time.monotonic()
        runs = [Running(job, now) for job in jobs]
        self._running.update((run.job.number, run) for run in runs)
        self._spawn(runs)

    def _give_up(self, running: Running, loss: Lost) -> None:
        del self._running[running.job.number]
        self._cancel(running)
        self._say(loss)

    def _leave(self, timeout: float, wait: Callable[[], Any]) -> None:
        """Give back what has not begun, `wait` for what runs, and give up what is left when the time is over."""
        self.recall()
        for number in list(self._held):
            del self._held[number]
            self._say(Returned(number))
        end = time.monotonic() + timeout
        while self._running and time.monotonic() < end:
            wait()
        for running in list(self._running.values()):
            self._give_up(running, Lost(running.job.number, "the worker stopped before it ended"))

    def _say(self, happening: Happening) -> None:
        self._happened.append(happening)
        self._bell.ring()

"""The gevent and eventlet pools: each job a greenlet of this thread, switched where it would wait.

Law: the library is patched in before anything else is imported (`celeriac worker -P gevent` sees to it), so that the
worker's own waiting lets jobs run. A limit is raised where the greenlet waits; one that never waits holds up all.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.values import dataclass
from ..ashore import Ashore
from ..coroutines import Loops
from ..limit import GivenUp
from .base import Begun, Ended, Happening, Job, Lost, Overdue, Program, Returned, taken_out
from .bell import Bell

_IDLE_TEND = 1.0
_STEP = 0.005


@dataclass(frozen=True, slots=True)
class Library:
    """What the pool asks of one."""

    spawn: Callable[..., Any]
    throw: Callable[[Any, BaseException], Any]
    sleep: Callable[[float], Any]
    exit: type[BaseException]


def _gevent() -> Library:
    import gevent

    return Library(
        gevent.spawn,
        lambda greenlet, error: greenlet.kill(error, block=False),
        gevent.sleep,
        gevent.GreenletExit,
    )


def _eventlet() -> Library:
    import eventlet
    from eventlet import hubs
    from greenlet import GreenletExit  # type: ignore[import-untyped,unused-ignore] # as the library is

    def throw(greenlet: Any, error: BaseException) -> None:
        hubs.get_hub().schedule_call_global(0, greenlet.throw, error)

    return Library(eventlet.spawn, throw, eventlet.sleep, GreenletExit)


LIBRARIES: Mapping[str, Callable[[], Library]] = {"gevent": _gevent, "eventlet": _eventlet}


@dataclass(eq=False)
class Running:
    job: Job
    since: float
    greenlet: Any = None
    told: bool = False


class Greenlets:
    """See `base.Pool`. `library` is a row of `LIBRARIES`."""

    can = frozenset({"soft", "hard", "kill", "resize"})

    def __init__(self, program: Program, size: int, library: str) -> None:
        try:
            self._library = LIBRARIES[library]()
        except ImportError as missing:
            raise BadCall(f"the {library} pool needs {library}: pip install 'celeriac[{library}]'") from missing
        self.size = size
        self._program = program
        self._bell = Bell()
        self._ashore = Ashore(self._library.spawn, (GivenUp, self._library.exit))
        self._happened: deque[Happening] = deque()
        self._waiting: deque[Job] = deque()
        self._held: dict[int, Job] = {}
        self._running: dict[int, Running] = {}
        self._done = 0

    # --- the contract

    def start(self) -> None:
        Loops.ashore = self._ashore
        self._program.begin(0)

    def room(self) -> int:
        return max(0, self.size - len(self._running) - len(self._held) - len(self._waiting))

    def submit(self, jobs: Sequence[Job]) -> None:
        self._waiting.extend(jobs)
        self._hand_out()

    def release(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            job = self._held.pop(number, None)
            if job is not None:
                self._begin(job)

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        for job in taken_out(self._waiting, numbers):
            self._say(Returned(job.number))

    def collect(self) -> list[Happening]:
        self._bell.hear()
        happened = list(self._happened)
        self._happened.clear()
        if self._waiting:
            self._hand_out()
        return happened

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
                self._library.throw(running.greenlet, self._program.overdue())
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

    def restart(self) -> None:
        """There are no children to replace."""

    def members(self) -> Sequence[Mapping[str, Any]]:
        running = sorted(self._running)
        return [{"place": 0, "pid": os.getpid(), "done": self._done, "running": running[0] if running else None}]

    def close(self, timeout: float) -> None:
        self.recall()
        for number in list(self._held):
            del self._held[number]
            self._say(Returned(number))
        end = time.monotonic() + timeout
        while self._running and time.monotonic() < end:
            self.tend(time.monotonic())
            self._library.sleep(_STEP)
        for running in list(self._running.values()):
            self._give_up(running, Lost(running.job.number, "the worker stopped before it ended"))
        self._ashore.close()
        Loops.ashore = None

    # --- greenlets

    def _hand_out(self) -> None:
        now = time.time()
        while self._waiting and len(self._running) + len(self._held) < self.size:
            job = self._waiting.popleft()
            self._say(Begun(job.number, os.getpid(), now))
            if job.held:
                self._held[job.number] = job
            else:
                self._begin(job)

    def _begin(self, job: Job) -> None:
        running = self._running[job.number] = Running(job, time.monotonic())
        running.greenlet = self._library.spawn(self._run, running)

    def _run(self, running: Running) -> None:
        job = running.job
        end: Happening
        try:
            reports = self._program.flush([self._program.run(job)])
            end = Ended(job.number, reports[0])
        except GivenUp:
            return
        except BaseException as problem:  # noqa: BLE001 - SystemExit of a task, or our own fault: it is lost, and said
            end = Lost(job.number, f"{type(problem).__name__}: {problem}")
        if self._running.pop(job.number, None) is running:
            self._done += 1
            self._say(end)

    def _give_up(self, running: Running, loss: Lost) -> None:
        del self._running[running.job.number]
        self._library.throw(running.greenlet, GivenUp())
        self._say(loss)

    def _say(self, happening: Happening) -> None:
        self._happened.append(happening)
        self._bell.ring()

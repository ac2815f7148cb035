"""The asyncio pool: one event loop in a thread of its own, thousands of `async def` jobs in it at once.

Law: the loop's thread runs jobs and nothing else touches it but `call_soon_threadsafe`. A limit is raised at the await
where the job stands; a job that never awaits holds up the others, and no limit reaches it. Jobs that are not
`async def` are run by the program in threads beside the loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ...protocol.rules.outcome import Report
from ...protocol.values import dataclass
from .. import limit
from .base import Begun, Ended, Happening, Job, Lost, Overdue, Program, Returned, taken_out
from .bell import Bell

_IDLE_TEND = 1.0
_log = logging.getLogger("celery.concurrency.asyncio")


@dataclass(eq=False)
class Running:
    """One job in the loop; its task is there as soon as the loop has seen it."""

    job: Job
    since: float
    task: asyncio.Task[None] | None = None
    told: bool = False


class Asyncio:
    """See `base.Pool`."""

    can = frozenset({"soft", "hard", "kill", "resize", "await"})

    def __init__(self, program: Program, size: int) -> None:
        self.size = size
        self._program = program
        self._bell = Bell()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._happened: deque[Happening] = deque()
        self._collected: list[Happening] = []
        self._waiting: deque[Job] = deque()
        self._held: dict[int, Job] = {}
        self._running: dict[int, Running] = {}
        self._reports: list[tuple[int, Report]] = []
        self._flushing = False
        self._done = 0

    # --- the contract

    def start(self) -> None:
        self._thread = threading.Thread(target=self._live, name="tasks", daemon=True)
        self._thread.start()
        self._up.wait()

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

    def collect(self) -> list[Happening]:
        self._bell.hear()
        happened, self._collected = self._collected, []
        while self._happened:
            event = self._happened.popleft()
            if isinstance(event, (Ended, Lost)):
                known = self._running.pop(event.number, None)
                if known is None and isinstance(event, Ended):
                    continue  # given up before
            happened.append(event)
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
                self._in_loop(self._overdue, running)
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
        happened: list[Happening] = []
        while self._running and time.monotonic() < end:
            happened += self.collect()
            self.tend(time.monotonic())
            time.sleep(0.005)
        for running in list(self._running.values()):
            self._give_up(running, Lost(running.job.number, "the worker stopped before it ended"))
        self._collected += happened
        if self._loop is not None and self._thread is not None:
            self._in_loop(self._loop.stop)
            self._thread.join(1.0)
            self._loop = None

    # --- handing over

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
        self._in_loop(self._spawn, runs)

    def _in_loop(self, call: Any, *args: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    def _say(self, happening: Happening) -> None:
        self._happened.append(happening)
        self._bell.ring()

    def _give_up(self, running: Running, loss: Lost) -> None:
        del self._running[running.job.number]
        self._in_loop(self._cancel, running)
        self._say(loss)

    # --- in the loop's thread

    def _live(self) -> None:
        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            self._program.begin(0)
            self._up.set()
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            self._program.end(0)
        finally:
            self._up.set()
            asyncio.set_event_loop(None)
            loop.close()

    def _spawn(self, runs: Sequence[Running]) -> None:
        loop = asyncio.get_running_loop()
        for running in runs:
            running.task = loop.create_task(self._run(running))

    async def _run(self, running: Running) -> None:
        number = running.job.number
        try:
            report = await self._program.run_async(running.job)
        except asyncio.CancelledError:
            raise  # given up, or the loop ends: nobody waits for it
        except BaseException as problem:  # noqa: BLE001 - SystemExit of a task, or our own fault: it is lost, and said
            _log.error("%s[%s] did not end as tasks do.", running.job.task, running.job.id, exc_info=problem)
            self._say(Lost(number, f"{type(problem).__name__}: {problem}"))
        else:
            self._reports.append((number, report))
            if not self._flushing:
                self._flushing = True
                asyncio.get_running_loop().call_soon(self._flush)
        self._done += 1

    def _flush(self) -> None:
        """What ended in one turn of the loop is written in one go."""
        self._flushing = False
        done, self._reports = self._reports, []
        reports = self._program.flush([report for _, report in done])
        for (number, _), report in zip(done, reports, strict=True):
            self._happened.append(Ended(number, report))
        self._bell.ring()

    def _overdue(self, running: Running) -> None:
        if running.task is not None and not running.task.done():
            limit.strike_coroutine(running.task, self._program.overdue())

    @staticmethod
    def _cancel(running: Running) -> None:
        if running.task is not None:
            running.task.cancel()

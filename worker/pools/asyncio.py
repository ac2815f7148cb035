"""The asyncio pool: one event loop in a thread of its own, thousands of `async def` jobs in it at once.

Law: the loop's thread runs jobs and nothing else touches it but `call_soon_threadsafe`. A limit is raised at the await
where the job stands; a job that never awaits holds up the others, and no limit reaches it. Jobs that are not
`async def` are run by the program in threads beside the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from ...protocol.rules.outcome import Report
from .. import limit
from .base import Ended, Happening, Lost, Program
from .switching import STEP, Running, Switching

_log = logging.getLogger("celery.concurrency.asyncio")


class Asyncio(Switching):
    """See `base.Pool`."""

    can = Switching.can | {"await"}

    def __init__(self, program: Program, size: int) -> None:
        super().__init__(program, size)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._collected: list[Happening] = []
        self._reports: list[tuple[int, Report]] = []
        self._flushing = False

    # --- the contract

    def start(self) -> None:
        self._thread = threading.Thread(target=self._live, name="tasks", daemon=True)
        self._thread.start()
        self._up.wait()

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

    def close(self, timeout: float) -> None:
        happened: list[Happening] = []

        def wait() -> None:
            happened.extend(self.collect())
            self.tend(time.monotonic())
            time.sleep(STEP)

        self._leave(timeout, wait)
        self._collected += happened
        if self._loop is not None and self._thread is not None:
            self._in_loop(self._loop.stop)
            self._thread.join(1.0)
            self._loop = None

    # --- handing over

    def _spawn(self, runs: Sequence[Running]) -> None:
        self._in_loop(self._create, runs)

    def _strike(self, running: Running) -> None:
        self._in_loop(self._raise_soft, running)

    def _cancel(self, running: Running) -> None:
        self._in_loop(self._end, running)

    def _in_loop(self, call: Any, *args: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

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

    def _create(self, runs: Sequence[Running]) -> None:
        loop = asyncio.get_running_loop()
        for running in runs:
            running.what = loop.create_task(self._run(running))

    async def _run(self, running: Running) -> None:
        number = running.job.number
        try:
            report = await self._program.run_async(running.job)
        except BaseException as problem:  # SystemExit of a task, or our own fault: it is lost, and said
            if isinstance(problem, asyncio.CancelledError) and number not in self._running:
                raise  # given up: nobody waits for it
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

    def _raise_soft(self, running: Running) -> None:
        if running.what is not None and not running.what.done():
            limit.strike_coroutine(running.what, self._program.overdue())

    @staticmethod
    def _end(running: Running) -> None:
        if running.what is not None:
            limit.give_up_coroutine(running.what)

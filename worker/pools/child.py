"""A child of the prefork pool, from its first breath to its last: read a batch, run its jobs, tell what they came to.

Law: whatever a job does, the next one finds the child as it was, or does not find it. What a job came to is in the
journal before the next begins, so that a child that dies costs the job it ran and no other. The parent's death is the
end of the socket; what was given until then is done all the same, since nobody else has it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

from ...protocol.rules.outcome import Fate, Report
from .base import Job, Program
from .frames import Done, Reader, done_values, job_of, pack
from .marks import Journal, Mark

_PATIENCE = 0.005
"""Seconds after which what is done is told, though the batch is not over."""
_CHUNK = 1 << 16  # see `prefork`
_GLANCES = 20
"""How often a child looks for its release before it sleeps: some 20 us, less than going to sleep and waking costs."""
_DYING = 0.2
"""A process that dies closes its descriptors first, and loses its children a little later."""
_UNBEGUN = Report("", Fate.DONE)
_DEFAULT = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD)


class _Stopped(Exception):
    """The parent wants no more of this batch, or is gone."""


class Child:
    def __init__(
        self, parent: socket.socket, mark: Mark, journal: Journal, program: Program, seat: int, ppid: int
    ) -> None:
        self._parent = parent
        self._mark = mark
        self._journal = journal
        self._program = program
        self._seat = seat
        self._job: Job | None = None
        self._done: list[Done] = []
        self._values: list[tuple[Any, ...]] = []
        """The same as they are told."""
        self._count = 0
        self._batch = 0
        self._told = 0.0
        self._ppid = ppid
        self._left: list[tuple[int, Job]] = []

    def live(self) -> int:
        """Until the parent hangs up. Returns the exit code."""
        self._take_signals()
        self._program.begin(self._seat)
        self._mark.rise()
        reader = Reader()
        try:
            while data := self._parent.recv(_CHUNK):  # the parent's death ends it, so it needs no deadline
                for batch, jobs in reader.feed(data):
                    self._run(batch, [job_of(values) for values in jobs])
        except ConnectionError:
            pass  # the parent is gone: as if it had hung up
        self._take_over()
        self._program.end(0)
        return 0

    def _take_signals(self) -> None:
        for number in _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
            signal.siginterrupt(number, False)
        signal.signal(signal.SIGUSR1, self._overdue)
        signal.siginterrupt(signal.SIGUSR1, False)

    def _end(self, signum: int, _frame: FrameType | None) -> None:
        """Ctrl-C at a terminal, and what stops a service, goes to the whole group: what becomes of a child and its
        job is the parent's to decide, and it says whom it means."""
        job = self._job
        if job is not None and self._mark.condemned == job.number:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    def _overdue(self, _signum: int, _frame: FrameType | None) -> None:
        job = self._job
        if job is not None and self._mark.overdue == job.number:
            self._program.interrupt(job.soft or 0.0)

    def _run(self, batch: int, jobs: Sequence[Job]) -> None:
        self._batch = batch
        self._told = time.monotonic()
        if self._left:
            self._let_moved_go()
        at = 0
        try:
            for at, job in enumerate(jobs):  # noqa: B007 - how far it came
                self._one(job)
        except _Stopped:
            self._left += [(batch, job) for job in jobs[at:] if job.held]
        self._tell()

    def _one(self, job: Job) -> None:
        mark = self._mark
        if job.held and mark.released < self._batch and not self._await_release(job):
            return
        began = time.monotonic()
        mark.begin(job.number, began)
        if mark.recalled >= self._batch:
            # The parent may have seen our mark, and then counts on us; or not, and has given the job to another.
            mark.finish(self._count)
            self._add((job.number, -1.0, _UNBEGUN))
            raise _Stopped
        self._perform(job, began)

    def _perform(self, job: Job, began: float) -> None:
        self._job = job
        try:
            report = self._program.run(job)
        finally:
            self._job = None
        now = time.monotonic()
        self._note((job.number, now - began, report))
        self._count += 1
        self._mark.finish(self._count)
        if now - self._told > _PATIENCE:
            self._tell()

    def _note(self, done: Done) -> None:
        values = self._add(done)
        entry = pack(self._batch, ((values,), self._program.debts()))
        if not self._journal.add(entry):
            self._tell()

    def _add(self, done: Done) -> tuple[Any, ...]:
        values = done_values(done)
        self._done.append(done)
        self._values.append(values)
        return values

    def _tell(self) -> None:
        done = self._done
        if done:
            kept = [each[2] for each in done]
            reports = self._program.flush(kept)
            values = self._values
            if reports is not kept:
                told = zip(done, reports, strict=True)
                values = [done_values((number, took, report)) for (number, took, _), report in told]
            with contextlib.suppress(ConnectionError):  # nobody is left to be told; what was to be stored is stored
                self._parent.sendall(pack(self._batch, values))
            done.clear()
            self._values.clear()
            self._journal.clear()
        self._told = time.monotonic()

    def _await_release(self, job: Job) -> bool:
        """The acknowledgement is on its way to the broker: a matter of microseconds, if the parent lives.

        If it does not: what it had begun to acknowledge has left the broker and runs here, or nowhere. What it had not
        is delivered again, and so must not run here. False: it is not ours.
        """
        self._tell()
        for _ in range(_GLANCES):
            if self._mark.released >= self._batch:
                return True
            os.sched_yield()
        wait = 50e-6
        while self._mark.released < self._batch:
            if self._mark.recalled >= self._batch:
                raise _Stopped
            if self._orphaned:
                return self._mark.acknowledged >= self._batch or (job.held > 1 and self._has(job))
            time.sleep(wait)
            wait = min(wait * 2, 0.002)
        return True

    @property
    def _orphaned(self) -> bool:
        return os.getppid() != self._ppid

    def _has(self, job: Job) -> bool:
        """Of a job that has gone from child to child: whether it is ours."""
        times = job.held - 1
        return (not times or self._mark.moved(job.number, times)) and not self._mark.moved(job.number, times + 1)

    def _let_moved_go(self) -> None:
        self._left = [(batch, job) for batch, job in self._left if not self._mark.moved(job.number, job.held)]

    def _take_over(self) -> None:
        """Of what the parent took back it may have died before anybody else had it."""
        self._let_moved_go()
        if not self._left:
            return
        end = time.monotonic() + _DYING
        while not self._orphaned:
            if time.monotonic() > end:
                return  # it has hung up, and lives
            time.sleep(0.001)
        for batch, job in self._left:
            if self._mark.acknowledged >= batch and self._has(job):
                self._batch = batch
                self._mark.begin(job.number, time.monotonic())
                self._perform(job, time.monotonic())
        self._tell()


def be(living: Callable[[], int]) -> NoReturn:
    """Be a child until its end: nothing of the parent's is run down."""
    code = 1
    try:
        code = living()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of this process: say why, and go
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def live(parent: socket.socket, mark: Mark, journal: Journal, program: Program, seat: int, ppid: int) -> int:
    """`ppid`: who made it, and may be gone already."""
    return Child(parent, mark, journal, program, seat, ppid).live()

"""Programs for pools: what a job does is said by its task's name, what it came to by a file it appends to."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celeriac.protocol.rules.outcome import Fate, Report
from celeriac.protocol.wire.message import Message
from celeriac.worker import limit
from celeriac.worker.pools.base import Job


class Overdue(Exception):
    pass


class Script:
    """`task` is a verb, or a verb and a number: `sleep 0.5`. Each run is a line `number` in the ledger."""

    overdue = Overdue

    def __init__(self, ledger: Path, *, lazy: bool = False) -> None:
        self.ledger = ledger
        self.lazy = lazy
        self.own = threading.local()

    def __reduce__(self) -> Any:
        return _again, (self.ledger, self.lazy)

    @property
    def left(self) -> list[bytes]:
        left: list[bytes] = self.own.__dict__.setdefault("left", [])
        return left

    def begin(self, place: int) -> None:
        self.write(self.ledger.with_suffix(".begun"), f"{os.getpid()} {place}")

    def end(self, code: int) -> None:
        self.write(self.ledger.with_suffix(".ended"), f"{os.getpid()} {code}")

    def write(self, path: Path, line: str) -> None:
        with path.open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")

    def run(self, job: Job) -> Report:
        began = time.monotonic()
        outer = limit.enter()
        self.left.append(b"%d\n" % job.number)
        if not self.lazy:
            self.write(self.ledger, str(job.number))
        verb, _, amount = job.task.partition(" ")
        try:
            result = getattr(self, verb)(float(amount or 0))
        except Overdue as problem:
            return Report("FAILURE", Fate.FAILED, time.monotonic() - began, error=str(problem))
        finally:
            limit.leave(outer)
        return Report("SUCCESS", Fate.DONE, time.monotonic() - began, result=str(result))

    async def run_async(self, job: Job) -> Report:
        verb, _, amount = job.task.partition(" ")
        self.write(self.ledger, str(job.number))
        if verb == "sleep":
            try:
                await limit.interruptible(asyncio.sleep(float(amount)))
            except Overdue:
                return Report("FAILURE", Fate.FAILED, error="overdue")
        return Report("SUCCESS", Fate.DONE, result=job.message.body.decode())

    def debts(self) -> bytes | None:
        return self.left[-1] if self.lazy else None

    def flush(self, reports: Sequence[Report]) -> Sequence[Report]:
        if self.lazy:
            self.write_down(b"".join(self.left))
        self.left.clear()
        return reports

    def pay(self, _job: Job, debts: bytes, *, last: bool = False) -> bool:
        if not last and self.ledger.with_suffix(".away").exists():
            return False
        self.write_down(debts)
        return True

    def write_down(self, debts: bytes) -> None:
        for line in debts.decode().split():
            self.write(self.ledger, line)

    def interrupt(self, seconds: float) -> None:
        if limit.within():
            raise Overdue(f"over {seconds}")

    # --- what a job can do

    def nothing(self, _: float) -> str:
        return "done"

    def pid(self, _: float) -> str:
        return str(os.getpid())

    def sleep(self, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    def nap(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.005)
        return "napped"

    def stubborn(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(Overdue):
                time.sleep(0.01)
        return "stubborn"

    def leave(self, code: float) -> str:
        os._exit(int(code))

    def die(self, number: float) -> str:
        faulthandler.disable()  # the test's own would print where this happened
        os.kill(os.getpid(), int(number) or signal.SIGKILL)
        return "never"

    def fork(self, _: float) -> str:
        pid = os.fork()
        if pid == 0:
            time.sleep(3)
            os._exit(0)
        return str(pid)


def _again(ledger: Path, lazy: bool) -> Script:
    return Script(ledger, lazy=lazy)


def job(number: int, task: str = "nothing", **more: object) -> Job:
    return Job(number, task, f"id-{number}", Message(b"[]", "application/json", "utf-8", {"task": task}, {}), **more)  # type: ignore[arg-type]

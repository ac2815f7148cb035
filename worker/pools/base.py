"""The contract of a pool: where tasks run. The values that pass between the worker and what runs in the pool.

Law: the worker's one thread calls a `Pool`, and nothing in it blocks (`solo` excepted, that is its nature: it runs a
job inside `collect`). What a pool says comes out of `collect` as values, in the order in which it happened; a job that
was submitted ends in exactly one of `Ended`, `Lost` or `Returned`. Only whole jobs are lost: a child that dies costs
the job it was running, those that it had not begun come back to the others. `tests/conformance/pools.py` holds every
implementation to each sentence here. The values are named tuples because a worker makes a million of them a minute.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ...protocol.rules.outcome import Report
from ...protocol.wire.message import Message

ABILITIES: Mapping[str, str] = {
    "soft": "raises SoftTimeLimitExceeded inside a job that is over its soft limit",
    "hard": "ends a job that is over its hard limit, and can serve others after it",
    "kill": "ends a running job on demand, by a signal",
    "resize": "grows and shrinks while it runs",
    "processes": "runs jobs in processes of their own: what one destroys is its own",
    "await": "runs many `async def` jobs in one thread",
    "promise": "jobs that it was given outlive the worker: see `Promising`",
}


class Job(NamedTuple):
    """One delivery as it is handed to a pool. `number` is the worker's own for it, and all that a pool says names it.

    Limits are seconds, and the pool keeps them (as far as it can, see `ABILITIES`). A `held` job does not begin before
    `release` names it: its message is acknowledged first, so that what has begun is never delivered again. (A pool may
    count in it; to whom a job comes from, true is enough.)
    """

    number: int
    task: str
    id: str
    message: Message
    queue: str = ""
    exchange: str = ""
    routing_key: str = ""
    redelivered: bool = False
    priority: int = 0
    soft: float | None = None
    hard: float | None = None
    held: int = False


class Begun(NamedTuple):
    """It is its child's, which starts it now, or at once when it is released. Comes once, before its end.

    From here it does not come back, even if the worker dies: the child ends what it was given. If the child dies
    before it started this job, the job goes to another child.
    """

    number: int
    pid: int
    at: float
    """Epoch seconds."""


class Ended(NamedTuple):
    """It ran, and all that it had to store and send is stored and sent."""

    number: int
    report: Report


class Overdue(NamedTuple):
    """It is over its soft limit and was told so; it goes on."""

    number: int
    seconds: float


class Lost(NamedTuple):
    """Its process or thread is gone, and nobody stored anything: `why` is for the log and for WorkerLostError.

    `limit`: it was ended for its hard limit of so many seconds. `signal`: it was ended by `kill`.
    """

    number: int
    why: str
    begun: bool = True
    limit: float | None = None
    signal: int | None = None


class Returned(NamedTuple):
    """It was never begun (`recall`, or a pool that closes): as if it had not been submitted."""

    number: int


Happening = Begun | Ended | Overdue | Lost | Returned


class Program(Protocol):
    """What runs in a pool: made by the worker, used in each child process. What it keeps between `run` and `flush` is
    its thread's own.

    A pool that forks inherits it; one that spawns pickles it. It brackets a task's own code with `limit.enter` and
    `limit.leave` (`limit.interruptible` for coroutines): there, and only there, a pool raises `overdue`.
    """

    @property
    def overdue(self) -> type[BaseException]:
        """What a soft limit raises."""

    def begin(self, place: int) -> None:
        """In a new child, before its first job. `place` is its index among the children (0 up), which its
        successor has, too."""

    def run(self, job: Job) -> Report:
        """Run one job and say what it came to. Never raises but SystemExit, KeyboardInterrupt and what a limit injects.

        What it stores may wait until `flush`; until then `debts` can tell it.
        """

    async def run_async(self, job: Job) -> Report:
        """The same in a running event loop, for pools that can "await"."""

    def debts(self) -> bytes | None:
        """What the last `run` left for `flush` to write; None: nothing. A child that dies first leaves it to `pay`."""

    def flush(self, reports: Sequence[Report]) -> Sequence[Report]:
        """Write what waits. No report leaves the child before; those whose effects failed come back changed."""

    def pay(self, job: Job, debts: bytes, *, last: bool = False) -> bool:
        """In the worker's own process: write what a child that died had left of a job. It may be written already.

        False: something of it is to be sent and there is no broker now, so it is to be asked again. If it is the `last`
        time, that fails instead.
        """

    def interrupt(self, seconds: float) -> None:
        """By a signal, in the thread that runs a job over its soft limit: raise, if it is the task's own code."""

    def end(self, code: int) -> None:
        """In a child that leaves, after its last job."""


@runtime_checkable
class Promising(Protocol):
    """A pool that can "promise": whatever instant a worker is killed at, a held job is done once, by a child that
    outlives it or by whom the broker delivers it to again. In this order: `promise`, `telling`, the write of the
    acknowledgements, `release`, `told`. What is promised is run by its child once `telling` was called, and not before.
    """

    def keep(self, connection: socket.socket | None) -> None:
        """On this one acknowledgements are written from now on: what `telling` named is written even if we are
        killed. Whoever closes it shuts it down first."""

    def promise(self, numbers: Sequence[int]) -> None:
        """These held jobs, of which `Begun` was said, are acknowledged next."""

    def telling(self, data: bytes) -> None:
        """These bytes are written next, and the children of what was promised have it now. Empty: somehow the broker is
        told."""

    def told(self) -> None:
        """They are written, and what was promised is released."""


def taken_out(waiting: deque[Job], numbers: Sequence[int] | None) -> list[Job]:
    """Takes jobs of these numbers (None: all) out of a pool's own queue: what its `recall` gives back."""
    wanted = None if numbers is None else set(numbers)
    jobs = list(waiting)
    waiting.clear()
    waiting.extend(job for job in jobs if wanted is not None and job.number not in wanted)
    return [job for job in jobs if wanted is None or job.number in wanted]


class Pool(Protocol):
    """Where jobs run. Made stopped."""

    can: frozenset[str]
    size: int
    """How many jobs may run at once."""

    def start(self) -> None:
        """Begin: children are up, or coming up, when it returns."""

    def room(self) -> int:
        """How many more jobs would begin at once, if they were submitted now."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Run these, first come first served. More than there is room for wait in the pool."""

    def release(self, numbers: Sequence[int]) -> None:
        """These held jobs, of which `Begun` was said, may start."""

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        """Give back jobs that have not begun (None: all such, but those of which `Begun` was said): they come out of
        `collect` as `Returned`."""

    def collect(self) -> list[Happening]:
        """What has happened since it was last asked. Never waits."""

    def fileno(self) -> int:
        """A descriptor that is readable when `collect` has something to say."""

    def tend(self, now: float) -> float:
        """What must happen by the clock (monotonic seconds): limits, replacing the dead. Returns when to call again."""

    def kill(self, number: int, signal: int) -> bool:
        """End a running job. False: it is not running (any more). One that is about to run is given back, or ended as
        it begins."""

    def resize(self, size: int) -> None:
        """To so many at once. Shrinking ends nothing that runs."""

    def restart(self) -> None:
        """New children in place of the old, each as soon as it is free."""

    def members(self) -> Sequence[Mapping[str, Any]]:
        """Each child: pid, jobs done, the number of the job that it runs, memory in KiB if known."""

    def close(self, timeout: float) -> None:
        """No new jobs: wait so long for running ones, then end them. All that happens is still to be collected."""

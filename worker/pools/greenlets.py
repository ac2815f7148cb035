"""The gevent and eventlet pools: each job a greenlet of this thread, switched where it would wait.

Law: the library is patched in before anything else is imported (`celeriac worker -P gevent` sees to it), so that the
worker's own waiting lets jobs run. A limit is raised where the greenlet waits; one that never waits holds up all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.values import dataclass
from ..ashore import Ashore
from ..coroutines import Loops
from ..limit import GivenUp
from .base import Ended, Happening, Lost, Program
from .switching import STEP, Running, Switching


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


class Greenlets(Switching):
    """See `base.Pool`. `library` is a row of `LIBRARIES`."""

    def __init__(self, program: Program, size: int, library: str) -> None:
        try:
            self._library = LIBRARIES[library]()
        except ImportError as missing:
            raise BadCall(f"the {library} pool needs {library}: pip install 'celeriac[{library}]'") from missing
        super().__init__(program, size)
        self._ashore = Ashore(self._library.spawn, (GivenUp, self._library.exit))

    # --- the contract

    def start(self) -> None:
        Loops.ashore = self._ashore
        self._program.begin(0)

    def collect(self) -> list[Happening]:
        self._bell.hear()
        happened = list(self._happened)
        self._happened.clear()
        if self._waiting:
            self._hand_out()
        return happened

    def close(self, timeout: float) -> None:
        def wait() -> None:
            self.tend(time.monotonic())
            self._library.sleep(STEP)

        self._leave(timeout, wait)
        self._ashore.close()
        Loops.ashore = None

    # --- greenlets

    def _spawn(self, runs: Sequence[Running]) -> None:
        for running in runs:
            running.what = self._library.spawn(self._run, running)

    def _strike(self, running: Running) -> None:
        self._library.throw(running.what, self._program.overdue())

    def _cancel(self, running: Running) -> None:
        self._library.throw(running.what, GivenUp())

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

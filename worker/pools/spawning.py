"""Processes of a pool that begin anew instead of being forked, for platforms and libraries that a fork breaks.

Law: such a process has nothing of its parent but what it is given: a socket, the shared memory, and the program, which
is pickled. From there on it is as one that was forked (`child`, `witness`).
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.util import spawnv_passfds  # type: ignore[attr-defined, unused-ignore]  # typeshed does not have it
from typing import TYPE_CHECKING

from ...protocol.errors import BadCall
from .child import be, live
from .marks import Journal, Marks
from .witness import watch

if TYPE_CHECKING:
    from .base import Program

_QUIET = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""A terminal's Ctrl-C, and what stops a service, is for the parent to act on; also while the interpreter comes up."""
_START = (
    "import signal, sys; quiet = {quiet}; [signal.signal(each, lambda *_: None) for each in quiet]; "
    "signal.pthread_sigmask(signal.SIG_UNBLOCK, quiet); sys.path[:] = {path!r}; "  # our package must be found
    "from {module} import {function}; {function}({given})"
)
_WHOLE = 1 << 30


class _Birth:
    """Of this process."""

    under_way = False
    """It imports the app."""


_BIRTH = _Birth()


class Spawned:
    """As `forking.Forked`. Raises BadCall for a program that cannot be given to another process."""

    apart = True

    def __init__(self, program: Program, marks: Marks) -> None:
        self._marks = marks
        if _BIRTH.under_way:
            raise BadCall(
                "a process that a worker has spawned starts a worker itself, since the program that it imports does: "
                'let that be done under `if __name__ == "__main__":` alone'
            )
        try:
            said = pickle.dumps((list(sys.argv), program))
        except BadCall:
            raise
        except Exception as problem:
            raise BadCall(f"what the pool runs cannot be given to spawned processes: {problem}") from problem
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as there is a pool
        self._said.write(said)
        self._said.flush()

    def child(
        self,
        ours: socket.socket,
        theirs: socket.socket,
        journal: Journal,
        place: int,
        seat: int,
        leave: Callable[[], None],
    ) -> int:
        del ours, leave  # a new process has nothing of them
        passed = (theirs.fileno(), self._marks.descriptor, journal.descriptor, self._said.fileno())
        return _spawn("be_child", passed, self._marks.places, place, seat, os.getpid())

    def witness(self, ours: socket.socket, theirs: socket.socket, leave: Callable[[], None]) -> int:
        del ours, leave
        passed = (theirs.fileno(), self._marks.descriptor)
        return _spawn("be_witness", passed, self._marks.places, os.getpid())

    def close(self) -> None:
        self._said.close()
        self._marks.withdraw()


def _spawn(function: str, passed: tuple[int, ...], *more: int) -> int:
    """The pid of an interpreter that calls this function of ours with those descriptors and the rest."""
    given = ", ".join(map(str, (*passed, *more)))
    quiet = sorted(map(int, _QUIET))
    start = _START.format(quiet=quiet, path=sys.path, module=__name__, function=function, given=given)
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does it
    words = [sys.executable, *flags, "-c", start]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, quiet)  # which goes on in the new process
    try:
        pid: int = spawnv_passfds(os.fsencode(sys.executable), [os.fsencode(word) for word in words], passed)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def be_child(wire: int, marks: int, journal: int, said: int, places: int, place: int, seat: int, ppid: int) -> None:
    """What a spawned child runs."""

    def living() -> int:
        _BIRTH.under_way = True
        sys.argv[:], program = pickle.loads(os.pread(said, _WHOLE, 0))  # noqa: S301 - our parent's own
        _BIRTH.under_way = False
        os.close(said)
        gc.collect(1)
        gc.freeze()
        mark = Marks(places, given=marks).at(place)
        return live(socket.socket(fileno=wire), mark, Journal(given=journal), program, seat, ppid)

    be(living)


def be_witness(wire: int, marks: int, places: int, parent: int) -> None:
    """What a spawned witness runs."""

    def living() -> int:
        watch(socket.socket(fileno=wire), parent, Marks(places, given=marks))
        return 0

    be(living)

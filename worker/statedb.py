"""What must outlive the worker: revoked tasks and the clock, in a file that is whole at any moment.

Law: written as a whole each time, so a worker that is killed leaves the old state or the new one. Its form is Celery's
own (`state_file`); a file that cannot be read is left alone and reported.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..protocol.rules.revokes import Revokes
from .ports import Owner

if TYPE_CHECKING:
    from .state_file import StateFile

log = logging.getLogger("celery.worker.state")

_EVERY = 1.0


def try_out(path: str | None) -> None:
    """OSError, named after the file, where it could not be written: told at the start, while somebody looks."""
    if not path:
        return
    if os.path.isdir(path):  # noqa: PTH112 - beside the name that the error has
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    beside = _beside(Path(path))
    try:
        beside.touch()
        beside.unlink()
    except OSError as problem:
        raise type(problem)(problem.errno, f"the state file cannot be written: {problem.strerror}", path) from None


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}")


class StateDb:
    """`path` None: nothing is kept."""

    def __init__(self, path: str | None, revokes: Revokes, owner: Owner) -> None:
        self._path = path
        self._file: StateFile | None = None
        if path:
            from .state_file import StateFile

            self._file = StateFile(Path(path))
        self._revokes = revokes
        self._owner = owner
        self._written: Any = None
        self._problem = ""
        self._at = 0.0

    def load(self, now: float) -> None:
        if self._file is None:
            return
        try:
            state = self._file.read()
        except (OSError, ValueError) as problem:
            text = "State file %s cannot be read: %s. It is left as it is, and revokes are not kept: name another file"
            log.error(text, self._path, problem)  # noqa: TRY400 - the text says all that the traceback would
            self._file = None
            return
        self._revokes.load(state, now)
        self._revokes.merge(state["revoked"], now)
        clock = state["clock"]
        if isinstance(clock, int):
            self._owner.clock_adjust(clock)

    def tend(self, now: float) -> float:
        """Write it if it has changed."""
        if self._file is None:
            return float("inf")
        if now >= self._at:
            self._at = now + _EVERY
            if self._revokes.dump(now) != self._written:
                self.save(now)
        return self._at

    def save(self, now: float) -> None:
        if self._file is None:
            return
        dumped = self._revokes.dump(now)
        try:
            self._file.write(self._owner.clock_value(), dumped)
        except OSError as problem:
            if str(problem) != self._problem:
                self._problem = str(problem)
                text = "State file %s cannot be written: %s. Revokes are not kept; it is tried again with each change"
                log.error(text, self._path, problem)  # noqa: TRY400 - the text says all that the traceback would
            return
        if self._problem:
            self._problem = ""
            log.warning("State file %s is written again", self._path)
        self._written = dumped

"""Processes of a pool that are forked: they have all that their parent has, and let go what is not theirs."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .child import be, live
from .marks import Journal, Marks
from .witness import watch

if TYPE_CHECKING:
    from .base import Program


class Forked:
    """How the processes of one pool begin. `leave` is called in each: it holds nothing of its siblings from then on."""

    apart = False
    """Whether a child has its journal by a descriptor alone."""

    def __init__(self, program: Program, marks: Marks) -> None:
        self._program = program
        self._marks = marks

    def child(
        self,
        ours: socket.socket,
        theirs: socket.socket,
        journal: Journal,
        place: int,
        seat: int,
        leave: Callable[[], None],
    ) -> int:
        """The pid of a new child, which has `theirs`."""
        parent = os.getpid()

        def living() -> int:
            ours.close()
            leave()
            return live(theirs, self._marks.at(place), journal, self._program, seat, parent)

        return _fork(living)

    def witness(self, ours: socket.socket, theirs: socket.socket, leave: Callable[[], None]) -> int:
        """The pid of a new witness, which has `theirs`."""
        parent = os.getpid()

        def living() -> int:
            ours.close()
            leave()
            watch(theirs, parent, self._marks)
            return 0

        return _fork(living)

    def close(self) -> None:
        """There is nothing that it keeps."""


def _fork(living: Callable[[], int]) -> int:
    sys.stdout.flush()  # else it would be written twice
    sys.stderr.flush()
    return os.fork() or be(living)

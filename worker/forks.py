"""What a forked child must not share with its parent: told once, by the interpreter, in the child.

Law: nothing here is asked for on a hot path but `HERE.pid`, which is an attribute and no system call.
"""

from __future__ import annotations

import os
from _weakrefset import WeakSet  # where `weakref` has it from, whose rest is 0.4 ms of CPU
from collections.abc import Callable
from contextlib import suppress

from ..protocol.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket


class _Here:
    """This process."""

    __slots__ = ("pid",)

    def __init__(self) -> None:
        self.pid = os.getpid()


HERE = _Here()


def in_child(function: Callable[[], Any]) -> None:
    """Have this called in every forked child, before anything else runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


in_child(HERE.__init__)  # type: ignore[misc]  # a child begins anew

_APART: WeakSet[socket.socket] = WeakSet()


def apart(connection: socket.socket) -> None:
    """A forked child shall not keep this open: its other side hears at once of the end of the process that made it.

    There, its descriptor leads nowhere from then on; it is not closed, so that its number is not another one's.
    """
    _APART.add(connection)


def _lead_nowhere() -> None:
    nowhere = -1
    for connection in _APART:
        if connection.fileno() >= 0:
            if nowhere < 0:
                nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            with suppress(OSError):
                os.dup2(nowhere, connection.fileno(), inheritable=False)
    if nowhere >= 0:
        os.close(nowhere)
    _APART.clear()


in_child(_lead_nowhere)

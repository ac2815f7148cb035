"""A process beside a pool's parent that outlives it by a moment, and completes what it was telling the broker.

Law: it holds the connection on which the parent acknowledges, and does nothing with it while the parent lives. When the
parent is killed, what it was about to write is in shared memory: the witness writes what of that the system has not
taken yet, closes the connection in good order and leaves. So each acknowledgement that was begun arrives, and the
broker hears at once that the worker is gone. Without it the system would close the connection by a reset, and what the
broker had not read by then could be lost.

Whoever closes a connection that a witness holds shuts it down first: the witness' descriptor keeps it open.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable

from .marks import Marks
from .processes import reap

_FAREWELL = 2.0
"""Seconds for the last bytes, and for the broker to hang up in its turn."""
_CHUNK = 1 << 16
_NOTHING, _GOODBYE = b"-", b"x"
"""What it kept is to be let go; in the same message comes what to keep instead. And: it may go."""
_QUIET = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

_TCP_INFO = getattr(socket, "TCP_INFO", None)
_INFO = struct.Struct("=144xI52xQQ")
"""Of Linux' `struct tcp_info`: bytes not sent yet, bytes sent, bytes sent again."""


class Witness:
    """The parent's side. `leave` is for every process that is forked from the parent and is not this one."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._kept: socket.socket | None = None
        self._wire: socket.socket | None = None
        self.pid = 0
        self.watch = 0

    def start(self, begin: Callable[[socket.socket, socket.socket], int]) -> None:
        """`begin` makes the process in which `watch` is called with the second of these, and gives its pid."""
        ours, theirs = socket.socketpair()
        self.pid = begin(ours, theirs)
        theirs.close()
        ours.setblocking(False)
        self._wire = ours
        self.watch = _pidfd(self.pid)
        if self._kept is not None:
            self.keep(self._kept)

    def keep(self, connection: socket.socket | None) -> None:
        """From now on this is the connection. None: there is none."""
        self._kept = connection
        if self._wire is not None:
            with contextlib.suppress(OSError):  # it is gone, which its watch will tell
                if connection is None:
                    self._wire.send(_NOTHING)
                else:
                    socket.send_fds(self._wire, [_NOTHING], [connection.fileno()])

    def place(self) -> int:
        """How much was written on it until now; -1: nobody knows."""
        kept = self._kept
        return _taken(kept) if kept is not None and type(kept) is socket.socket else -1

    def telling(self, data: bytes, place: int) -> None:
        """These bytes are written next, in one piece, at this place."""
        plain = type(self._kept) is socket.socket
        self._marks.tell(data if plain else b"", place)

    def told(self) -> None:
        self._marks.told()

    def leave(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
        if self.watch:
            os.close(self.watch)
            self.watch = 0

    def close(self) -> None:
        """Nothing is left to be done."""
        if self._wire is not None:
            with contextlib.suppress(OSError):
                self._wire.send(_GOODBYE)
        self.leave()
        if self.pid:
            reap(self.pid)  # one that is stopped does not hear us
            self.pid = 0


def watch(wire: socket.socket, parent: int, marks: Marks) -> None:
    """In its process: until the parent hangs up, or is gone, whoever else holds its end."""
    for number in _QUIET:
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # it would touch, and thereby copy, what is the parent's
    kept: socket.socket | None = None
    poll = select.poll()
    for descriptor in (wire.fileno(), _pidfd(parent)):
        if descriptor > 0:
            poll.register(descriptor, select.POLLIN)
    hung_up = False
    while not hung_up:
        ready = {descriptor for descriptor, _ in poll.poll()}
        # What it said last comes before its end.
        hung_up = wire.fileno() not in ready or os.getppid() != parent
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(wire, 1, 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data, descriptors = b"", []
            if data == _GOODBYE:
                return
            if data and kept is not None:
                kept.close()
                kept = None
            if descriptors:
                kept = socket.socket(fileno=descriptors[0])
            if not data:
                hung_up = True
                break
    if kept is not None:
        _finish(kept, *marks.untold())


def _finish(connection: socket.socket, data: bytes, position: int) -> None:
    end = time.monotonic() + _FAREWELL
    with contextlib.suppress(OSError):
        taken = _taken(connection)
        done = min(max(taken - position, 0), len(data)) if position >= 0 and taken >= 0 else 0
        connection.settimeout(_FAREWELL)
        connection.sendall(data[done:])
        connection.shutdown(socket.SHUT_WR)
        # What is left unread would make the end a reset.
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(_CHUNK):
                break
    connection.close()


def _taken(connection: socket.socket) -> int:
    """How many bytes the system has been given to send on it; -1 where it does not tell."""
    if _TCP_INFO is None:
        return -1
    try:
        found = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO.size)
    except OSError:
        return -1
    if len(found) < _INFO.size:
        return -1
    waiting, sent, again = _INFO.unpack(found)
    taken: int = sent - again + waiting
    return taken


def _pidfd(pid: int) -> int:
    """A descriptor that is readable when the process has ended; 0 where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return 0

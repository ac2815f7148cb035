"""A descriptor that is readable when a socket is, or when somebody rings: for brokers that keep deliveries in memory.

Law: what waits in memory must wake a loop that sleeps on the descriptor, as what waits in the socket does.
"""

from __future__ import annotations

from ...protocol.hints import Any
from ..polling import unpatched


class Bell:
    """Watches `descriptor`; costs a system call only when it is rung or silenced."""

    def __init__(self, descriptor: int) -> None:
        import socket  # only who takes needs it

        self._rope, self._clapper = socket.socketpair()
        self._clapper.setblocking(False)
        self._ringing = False
        select = unpatched()
        self._poll: Any
        if hasattr(select, "epoll"):
            self._poll = select.epoll()
            for each in (descriptor, self._clapper.fileno()):
                self._poll.register(each, select.EPOLLIN)
        else:
            self._poll = select.kqueue()
            self._poll.control([select.kevent(each) for each in (descriptor, self._clapper.fileno())], 0)

    def fileno(self) -> int:
        descriptor: int = self._poll.fileno()
        return descriptor

    def ring(self, wanted: bool) -> None:
        if wanted == self._ringing:
            return
        self._ringing = wanted
        if wanted:
            self._rope.send(b"!")
        else:
            self._clapper.recv(1)

    def close(self) -> None:
        self._poll.close()
        self._rope.close()
        self._clapper.close()

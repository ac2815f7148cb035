"""A debugger that listens on a port: `rdb.set_trace()` in a task, then telnet to it."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pdb import Pdb
from typing import Any

from ..utils.log import current_process

__all__ = ("CELERY_RDB_HOST", "CELERY_RDB_PORT", "DEFAULT_PORT", "Rdb", "debugger", "set_trace")

DEFAULT_PORT = 6899
CELERY_RDB_HOST = os.environ.get("CELERY_RDB_HOST") or "127.0.0.1"
CELERY_RDB_PORT = int(os.environ.get("CELERY_RDB_PORT") or DEFAULT_PORT)

BANNER = """\
{self.ident}: Ready to connect: telnet {self.host} {self.port}

Type `exit` in session to continue.

{self.ident}: Waiting for client...
"""
NO_AVAILABLE_PORT = "{self.me}: Couldn't find an available port. Set CELERY_RDB_PORT to another one."
SESSION_STARTED = "{self.ident}: Now in session with {self.remote_addr}."
SESSION_ENDED = "{self.ident}: Session with {self.remote_addr} ended."

_current: list[Any] = [None]


class Rdb(Pdb):
    """pdb over a socket. Each child of a pool looks for a port of its own."""

    me = "Remote Debugger"

    def __init__(
        self,
        host: str = CELERY_RDB_HOST,
        port: int = CELERY_RDB_PORT,
        port_search_limit: int = 100,
        port_skew: int = 0,
        out: Any = sys.stdout,
    ) -> None:
        self.active = True
        self.out = out
        self._prev_handles = sys.stdin, sys.stdout
        self._sock, self.port = self.get_avail_port(host, port, port_search_limit, port_skew)
        self._sock.setblocking(True)
        self._sock.listen(1)
        self.host = host
        self.ident = f"{self.me}:{self.port}"
        self.say(BANNER.format(self=self))
        self._client, address = self._sock.accept()
        self._client.setblocking(True)
        self.remote_addr = ":".join(str(part) for part in address)
        self.say(SESSION_STARTED.format(self=self))
        self._handle: Any = self._client.makefile("rw")
        sys.stdin = sys.stdout = self._handle
        super().__init__(completekey="tab", stdin=self._handle, stdout=self._handle)

    def get_avail_port(self, host: str, port: int, search_limit: int = 100, skew: int = 0) -> tuple[Any, int]:
        """A socket bound to the first free port."""
        name = getattr(current_process(), "name", "")
        number = name.partition("-")[2]
        skew = int(number) if number.isdecimal() else skew
        for tried in range(port + skew, port + skew + search_limit):
            found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                found.bind((host, tried))
            except OSError as exc:
                found.close()
                if exc.errno not in {errno.EADDRINUSE, errno.EINVAL}:
                    raise
            else:
                return found, tried
        raise OSError(NO_AVAILABLE_PORT.format(self=self))

    def say(self, m: str) -> None:
        """Tells whoever runs the worker."""
        print(m, file=self.out)

    def __enter__(self) -> Rdb:  # noqa: PYI034 - a debugger has no subclasses that would mind
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close_session()

    def _close_session(self) -> None:
        self.stdin, self.stdout = sys.stdin, sys.stdout = self._prev_handles
        if self.active:
            for handle in (self._handle, self._client, self._sock):
                handle.close()
            self.active = False
            self.say(SESSION_ENDED.format(self=self))

    def do_continue(self, arg: str) -> bool:
        """Ends the session and lets the task go on."""
        self._close_session()
        self.set_continue()
        return True

    do_c = do_cont = do_continue

    def do_quit(self, arg: str) -> bool:
        """Ends the session; the task goes on without a debugger."""
        self._close_session()
        self.set_quit()
        return True

    do_q = do_exit = do_quit

    def set_quit(self) -> None:
        sys.settrace(None)


def debugger() -> Rdb:
    """The debugger of this process."""
    rdb: Rdb | None = _current[0]
    if rdb is None or not rdb.active:
        rdb = _current[0] = Rdb()
    return rdb


def set_trace(frame: Any = None) -> None:
    """Stops here, or in this frame, and waits for somebody to connect."""
    debugger().set_trace(frame or sys._getframe().f_back)

"""A few pages over HTTP, for probes: one thread, a small bounded number of visitors, none of whom can hold it up.

Law: a visitor costs a socket and at most `_LONGEST` bytes for at most `_PATIENCE` seconds. One request is answered,
then the connection is closed. A forked child does not keep the door open: its parent's port is free when that dies.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..protocol.errors import BadCall
from .forks import in_child

log = logging.getLogger("celery.worker")

_MOST = 32  # visitors at once; one more, and the one who has been here longest goes
_LONGEST = 8192
_PATIENCE = 5.0
_LOOPBACK = "127.0.0.1"
_PORTS = range(1 << 16)
_TITLES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Address(NamedTuple):
    """Where the pages are: a host and a port, or the path of a unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.path}" if self.path else f"http://{host}:{self.port}"


class Page(NamedTuple):
    """What a visitor is answered."""

    status: int
    text: str
    kind: str = "text/plain; charset=utf-8"


def address(text: str) -> Address:
    """`HOST:PORT`, `:PORT` or `PORT` (on the loopback), `unix:/path` or `/path`. Raises BadCall."""
    said = str(text).strip()
    path = said[5:] if said.startswith("unix:") else said if "/" in said else ""
    if path or said.startswith("unix:"):
        if not path.startswith("/"):
            raise BadCall(f"a unix socket is given by its full path, as unix:/run/worker.sock, not as {said!r}")
        return Address("", 0, path)
    host, _, port = said.rpartition(":")
    if not port.isdigit() or int(port) not in _PORTS or (":" in host and not (host[0] == "[" and host[-1] == "]")):
        raise BadCall(f"expected host:port, a port, or unix:/path, got {said!r}")
    return Address(host.strip("[]") or _LOOPBACK, int(port))


class Pages:
    """`answer` is called with a path in the thread of the pages. `open` raises OSError where the address is taken."""

    def __init__(self, where: Address, answer: Callable[[str], Page | None]) -> None:
        self.where = where
        self._answer = answer
        self._door: socket.socket | None = None
        self._file: tuple[int, int] | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._selector: selectors.BaseSelector | None = None
        self._visitors: dict[socket.socket, _Visitor] = {}
        self._closing = False

    def open(self) -> None:
        self._door = _listen(self.where)
        if self.where.path:
            found = Path(self.where.path).stat()
            self._file = found.st_dev, found.st_ino
        else:
            self.where = self.where._replace(port=self._door.getsockname()[1])
        self._wake = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._door, selectors.EVENT_READ)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        _OPEN.add(self)
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._wake is None or self._thread is None:
            return
        self._closing = True
        with contextlib.suppress(OSError):
            self._wake[1].send(b"!")
        self._thread.join(_PATIENCE)
        if self._file is not None:
            with contextlib.suppress(OSError):
                found = Path(self.where.path).stat()
                if (found.st_dev, found.st_ino) == self._file:  # and not that of who came after us
                    Path(self.where.path).unlink()
        self.drop()

    def drop(self) -> None:
        """Close everything that this process has of it."""
        _OPEN.discard(self)
        if self._selector is not None:
            self._selector.close()
        for each in (self._door, *(self._wake or ()), *self._visitors):
            if each is not None:
                each.close()
        self._visitors.clear()
        self._door = self._wake = self._selector = None

    # --- in the thread

    def _serve(self) -> None:
        assert self._selector is not None  # noqa: S101 - `open` has made it
        while not self._closing:
            deadline = min((visitor.until for visitor in self._visitors.values()), default=None)
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._door:
                    self._come_in()
                elif key.data is not None:
                    self._attend(key.data)
            now = time.monotonic()
            for visitor in [each for each in self._visitors.values() if each.until <= now]:
                self._see_off(visitor)

    def _come_in(self) -> None:
        assert self._door is not None and self._selector is not None  # noqa: S101, PT018 - they are there while it runs
        try:
            came, _ = self._door.accept()
        except OSError:  # gone again, or no descriptors left: then it must not be tried without a pause
            time.sleep(0.05)
            return
        if len(self._visitors) >= _MOST:
            self._see_off(min(self._visitors.values(), key=lambda visitor: visitor.until))
        came.setblocking(False)
        visitor = _Visitor(came, time.monotonic() + _PATIENCE)
        self._visitors[came] = visitor
        self._selector.register(came, selectors.EVENT_READ, visitor)

    def _attend(self, visitor: _Visitor) -> None:
        assert self._selector is not None  # noqa: S101 - it is there while the thread runs
        try:
            if not visitor.answer:
                if not visitor.listen():
                    return
                visitor.answer = self._answered(bytes(visitor.said))
                self._selector.modify(visitor.socket, selectors.EVENT_WRITE, visitor)
            if not visitor.tell():
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._see_off(visitor)

    def _see_off(self, visitor: _Visitor) -> None:
        if self._visitors.pop(visitor.socket, None) is not None and self._selector is not None:
            self._selector.unregister(visitor.socket)
            visitor.socket.close()

    def _answered(self, said: bytes) -> bytes:
        """The whole response to the head of a request."""
        words = said.split(b"\n", 1)[0].split()
        method = words[0] if words else b""
        if len(said) >= _LONGEST and b"\n\r\n" not in said and b"\n\n" not in said:
            page = Page(431, "that is too long for a probe\n")
        elif len(words) != 3 or not words[2].startswith(b"HTTP/1."):  # noqa: PLR2004 - method, path, version
            page = Page(400, "this is no HTTP/1 request\n")
        elif method not in {b"GET", b"HEAD"}:
            page = Page(405, "GET it\n")
        else:
            page = self._page(words[1].split(b"?", 1)[0].decode("latin-1"))
        body = page.text.encode()
        head = (
            f"HTTP/1.1 {page.status} {_TITLES[page.status]}\r\nContent-Type: {page.kind}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == b"HEAD" else body)

    def _page(self, path: str) -> Page:
        try:
            found = self._answer(path)
        except Exception:
            log.exception("The page %s of this worker's health could not be made", path)
            return Page(500, "it could not be made; the worker's log says why\n")
        return found or Page(404, "there are /livez, /readyz and /metrics\n")


class _Visitor:
    """One connection: what it said so far, what is left to answer, and until when it may take."""

    __slots__ = ("answer", "said", "socket", "until")

    def __init__(self, came: socket.socket, until: float) -> None:
        self.socket = came
        self.until = until
        self.said = bytearray()
        self.answer = b""

    def listen(self) -> bool:
        """Whether it has said all, or more than it may."""
        data = self.socket.recv(_LONGEST)
        if not data:
            raise ConnectionError
        self.said += data
        return b"\n\r\n" in self.said or b"\n\n" in self.said or len(self.said) >= _LONGEST

    def tell(self) -> bool:
        """Whether it has been told all."""
        sent = self.socket.send(self.answer)
        if sent < len(self.answer):
            self.answer = self.answer[sent:]
            return False
        self.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):  # what is left unread would have the system throw our answer away
            self.socket.recv(_LONGEST)
        return True


def _listen(where: Address) -> socket.socket:
    if where.path:
        return _listen_at_path(where.path)
    family, kind, protocol, _, place = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)[0]
    door = socket.socket(family, kind, protocol)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(place)
        door.listen(_MOST)
        door.setblocking(False)
    except BaseException:
        door.close()
        raise
    return door


def _listen_at_path(path: str) -> socket.socket:
    """A socket that nobody answers at was left by a worker that was killed."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(1)
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    Path(path).unlink()
        door.bind(path)
        door.listen(_MOST)
        door.setblocking(False)
    except BaseException:
        door.close()
        raise
    return door


_OPEN: weakref.WeakSet[Pages] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for pages in list(_OPEN):
        pages.drop()


in_child(_leave_to_parent)

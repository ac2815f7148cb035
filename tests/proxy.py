"""A TCP proxy that does to a connection what networks do: cut, stall, half-open, split at every byte.

    with proxy.to(server.port) as wire:
        broker = connect(wire.port)
        wire.stall()

Law: one thread moves the bytes, the test commands it; a command has taken effect when it returns. What a connection
suffers, it suffers at an instant the test chose, never after a sleep. Both directions are named by where they lead.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

SERVER, CLIENT = "server", "client"
_OTHER = {SERVER: CLIENT, CLIENT: SERVER}
_CHUNK = 65536
_ENOUGH = 1 << 18  # of bytes on their way: then the sender feels the pressure
_RESET = struct.pack("ii", 1, 0)  # linger for no time: close sends RST


@dataclass(eq=False)
class _Wire:
    """One connection: both its ends, and what is on its way to each."""

    ends: dict[str, socket.socket]
    on_the_way: dict[str, bytearray] = field(default_factory=lambda: {SERVER: bytearray(), CLIENT: bytearray()})
    half: bool = False


class Proxy:
    """Listens on `port`. `connections` have been accepted so far, `passed` bytes have gone each way."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self._target = (host, target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._wires: list[_Wire] = []
        self.connections = 0
        self.passed = {SERVER: 0, CLIENT: 0}
        self._limits: dict[str, tuple[int, Callable[[], None]]] = {}
        self._stalled: set[str] = set()
        self._half = self._refusing = self._closed = False
        self._piece = _CHUNK
        self._lock = threading.RLock()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    # -- what a test commands --

    def cut(self) -> None:
        """Every connection ends now, with a reset to both sides. New ones are accepted."""
        with self._command():
            for wire in list(self._wires):
                self._end(wire)

    def cut_after(self, count: int, toward: str = SERVER) -> None:
        """Cut once so many more bytes have gone that way."""
        self._at(count, toward, self.cut)

    def stall_after(self, count: int, toward: str = SERVER) -> None:
        """Stall, both ways, once so many more bytes have gone that way."""
        self._at(count, toward, self.stall)

    def stall(self, *toward: str) -> None:
        """Nothing moves (that way) until `heal`; connections stay open and new ones are accepted: a frozen server."""
        with self._command():
            self._stalled |= set(toward or (SERVER, CLIENT))

    def half_open(self) -> None:
        """The server's side is gone, the client is not told: what it sends vanishes. New connections fare the same."""
        with self._command():
            self._half = True
            for wire in self._wires:
                self._make_half(wire)

    def refuse(self) -> None:
        """New connections are reset at once; those that are there stay."""
        with self._command():
            self._refusing = True

    def split(self, size: int = 1) -> None:
        """From now on bytes go in pieces of this size, each in a packet of its own."""
        with self._command():
            self._piece = size

    def heal(self) -> None:
        """What was stalled moves, new connections are served whole. What was cut or half-opened stays so."""
        with self._command():
            self._stalled.clear()
            self._limits.clear()
            self._half = self._refusing = False
            self._piece = _CHUNK

    def close(self) -> None:
        with self._command():
            self._closed = True
        self._thread.join(10)
        for each in (self._listener, self._wake, self._woken):
            each.close()

    def _at(self, count: int, toward: str, act: Callable[[], None]) -> None:
        with self._command():
            self._limits[toward] = (self.passed[toward] + count, act)

    @contextmanager
    def _command(self) -> Iterator[None]:
        with self._lock:
            yield
        with suppress(OSError):
            self._wake.send(b"x")

    # -- what moves the bytes --

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._closed:
                    for wire in list(self._wires):
                        self._end(wire)
                    return
                poll, doors = self._watched()
            for descriptor, _ in poll.poll(1000):
                with self._lock:
                    doors[descriptor]()

    def _watched(self) -> tuple[select.poll, dict[int, Callable[[], None]]]:
        poll = select.poll()
        doors: dict[int, Callable[[], None]] = {
            self._woken.fileno(): self._wakened,
            self._listener.fileno(): self._accept,
        }
        interest = dict.fromkeys(doors, select.POLLIN)
        for wire in self._wires:
            for toward, sink in wire.ends.items():
                waiting = wire.on_the_way[toward]
                flags = select.POLLOUT if waiting and self._moves(toward) else 0
                other = _OTHER[toward]
                if len(wire.on_the_way[other]) < _ENOUGH and (self._moves(other) or wire.half):
                    flags |= select.POLLIN
                if flags:
                    interest[sink.fileno()] = flags
                    doors[sink.fileno()] = lambda wire=wire, end=toward: self._serve(wire, end)
        for descriptor, flags in interest.items():
            poll.register(descriptor, flags)
        return poll, doors

    def _moves(self, toward: str) -> bool:
        return toward not in self._stalled

    def _wakened(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self.connections += 1
        if self._refusing:
            _reset(client)
            return
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _reset(client)
            return
        wire = _Wire({CLIENT: client, SERVER: server})
        for each in wire.ends.values():
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.setblocking(False)
        self._wires.append(wire)
        if self._half:
            self._make_half(wire)

    def _serve(self, wire: _Wire, end: str) -> None:
        """Whatever this end is ready for: first what it is to get, then what it has to say."""
        if wire not in self._wires or end not in wire.ends:
            return
        try:
            if self._moves(end) and wire.on_the_way[end]:
                self._write(wire, end)
            other = _OTHER[end]
            if wire in self._wires and (self._moves(other) or wire.half):
                data = wire.ends[end].recv(_CHUNK)
                if not data:
                    self._finish(wire, end)
                elif not wire.half:
                    wire.on_the_way[other] += data
                    self._write(wire, other)
        except BlockingIOError:
            pass
        except OSError:
            self._end(wire)

    def _write(self, wire: _Wire, toward: str) -> None:
        waiting, sink = wire.on_the_way[toward], wire.ends[toward]
        while waiting and self._moves(toward):
            limit, act = self._limits.get(toward, (None, None))
            size = self._piece if limit is None else min(self._piece, limit - self.passed[toward])
            if size > 0:
                sent = sink.send(waiting[:size])
                del waiting[:sent]
                self.passed[toward] += sent
            if limit is not None and act is not None and self.passed[toward] >= limit:
                del self._limits[toward]
                act()
                return

    def _finish(self, wire: _Wire, end: str) -> None:
        """This end has said its last word: what it said is delivered, then the other side hears that it is over."""
        other = _OTHER[end]
        sink = wire.ends.get(other)
        if sink is not None:
            with suppress(OSError):
                sink.setblocking(True)
                sink.settimeout(2)
                sink.sendall(wire.on_the_way[other])
        self._end(wire, reset=False)

    def _make_half(self, wire: _Wire) -> None:
        wire.half = True
        for waiting in wire.on_the_way.values():
            waiting.clear()
        server = wire.ends.pop(SERVER, None)
        if server is not None:
            _reset(server)

    def _end(self, wire: _Wire, *, reset: bool = True) -> None:
        if wire in self._wires:
            self._wires.remove(wire)
        for each in wire.ends.values():
            if reset:
                _reset(each)
            else:
                each.close()


def _reset(each: socket.socket) -> None:
    with suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    each.close()


@contextmanager
def to(port: int) -> Iterator[Proxy]:
    """A proxy to that port of this machine."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()

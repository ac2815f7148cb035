"""TLS whose bytes can be seen: what goes in comes out, in order, however little the socket takes at a time."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from celeriac.worker.veil import Veil
from tests.certificate import made

Ends = tuple[Veil, ssl.SSLSocket]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("tls"), "DNS:localhost")


@pytest.fixture
def ends(pem: Path) -> Iterator[Ends]:
    """Ours, and what the standard library makes of the other side."""
    ours, theirs = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    found: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: found.append(context.wrap_socket(theirs, server_side=True)))
    thread.start()
    veil = Veil(ours, ssl.create_default_context(cafile=pem), "localhost")
    veil.settimeout(10)
    veil.do_handshake()
    thread.join(10)
    (other,) = found
    other.settimeout(10)
    yield veil, other
    veil.close()
    other.close()


def heard(other: ssl.SSLSocket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = other.recv(1 << 16)
        assert part
        data += part
    return bytes(data)


def test_both_ways(ends: Ends) -> None:
    veil, other = ends
    veil.sendall(b"")
    veil.sendall(b"there")
    assert heard(other, 5) == b"there"
    other.sendall(b"and back")
    assert veil.recv(1) == b"and back", "all that has come, since no poll tells of the rest"


def test_what_is_sealed_is_sent_as_it_was_seen(ends: Ends) -> None:
    veil, other = ends
    veil.sendall(b"before")
    data = b"x" * 100_000
    sealed = veil.sealed(data)
    assert len(sealed) > len(data)
    assert b"xxxx" not in sealed
    thread = threading.Thread(target=veil.sendall, args=(data,))
    thread.start()
    assert heard(other, 6 + len(data)) == b"before" + data
    thread.join(10)
    veil.sendall(b"after")
    assert heard(other, 5) == b"after"


def test_without_waiting_it_says_for_what_to_wait(ends: Ends) -> None:
    veil, other = ends
    veil.plain.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        veil.recv(10)
    rest = memoryview(b"0123456789" * 200_000)
    whole, waits = bytes(rest), 0
    reading: list[bytes] = []
    thread = threading.Thread(target=lambda: reading.append(heard(other, len(whole))))
    while rest:
        try:
            rest = rest[veil.send(rest) :]
        except ssl.SSLWantWriteError:  # noqa: PERF203 - that is what is tried
            waits += 1
            if waits == 1:
                thread.start()
            select.select([], [veil], [], 10)
    thread.join(10)
    assert waits
    assert reading == [whole]


def test_an_end_is_an_end(ends: Ends) -> None:
    veil, other = ends
    other.sendall(b"last")
    other.shutdown(socket.SHUT_WR)
    assert veil.recv(10) == b"last"
    assert veil.recv(10) == b""


def test_a_farewell_is_an_end(ends: Ends) -> None:
    veil, other = ends

    def leave() -> None:
        with suppress(OSError):
            other.unwrap()

    thread = threading.Thread(target=leave)
    thread.start()
    assert veil.recv(10) == b""
    veil.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_who_is_not_trusted_is_told(pem: Path) -> None:
    ours, theirs = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    told: list[str] = []

    def serve() -> None:
        try:
            context.wrap_socket(theirs, server_side=True).recv(1)
        except ssl.SSLError as problem:
            told.append(str(problem))

    thread = threading.Thread(target=serve)
    thread.start()
    with ours, theirs:
        ours.settimeout(10)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            Veil(ours, ssl.create_default_context(cafile=pem), "elsewhere").do_handshake()
        thread.join(10)
    assert "alert" in told[0].lower()

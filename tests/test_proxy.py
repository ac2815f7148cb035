"""The proxy does to a connection what it says, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests import proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that answers everything with itself."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    def talk(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture
def wire(echo: int) -> Iterator[proxy.Proxy]:
    with proxy.to(echo) as made:
        yield made


@pytest.fixture
def client(wire: proxy.Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as made:
        assert said(made, b"hello") == b"hello"
        yield made


def said(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    heard = b""
    while len(heard) < len(text):
        piece = client.recv(65536)
        if not piece:
            break
        heard += piece
    return heard


def heard_until_reset(client: socket.socket) -> bytes:
    heard = b""
    try:
        while True:
            heard += client.recv(100)
            assert len(heard) < 6, "it was not cut"
    except ConnectionResetError:
        return heard


def test_everything_passes_unharmed(wire: proxy.Proxy, client: socket.socket) -> None:
    text = bytes(range(256)) * 4000
    assert said(client, text) == text
    assert wire.passed == {proxy.SERVER: len(text) + 5, proxy.CLIENT: len(text) + 5}
    assert wire.connections == 1


def test_bytes_can_come_one_by_one(wire: proxy.Proxy, client: socket.socket) -> None:
    wire.split(1)
    assert said(client, b"abc" * 100) == b"abc" * 100


def test_a_cut_ends_what_is_there(wire: proxy.Proxy, client: socket.socket) -> None:
    wire.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as again:
        assert said(again, b"back") == b"back"


def test_a_cut_comes_after_so_many_bytes(wire: proxy.Proxy, client: socket.socket) -> None:
    wire.cut_after(3, proxy.CLIENT)
    client.sendall(b"abcdef")
    assert b"abc".startswith(heard_until_reset(client))


def test_a_stalled_wire_holds_everything_until_it_heals(wire: proxy.Proxy, client: socket.socket) -> None:
    wire.stall()
    client.sendall(b"held")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    wire.heal()
    client.settimeout(5)
    assert said(client, b"") == b""
    assert client.recv(4) == b"held"


def test_a_stall_comes_after_so_many_bytes(wire: proxy.Proxy, client: socket.socket) -> None:
    wire.stall_after(2)
    client.sendall(b"xyz")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert wire.passed[proxy.SERVER] == 7


def test_a_half_open_wire_swallows_what_is_sent(wire: proxy.Proxy, client: socket.socket) -> None:
    wire.half_open()
    client.settimeout(0.2)
    client.sendall(b"into the void" * 1000)
    with pytest.raises(TimeoutError):
        client.recv(1)
    wire.heal()
    client.sendall(b"still")
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_new_connections_can_be_refused(wire: proxy.Proxy, client: socket.socket) -> None:
    wire.refuse()
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", wire.port), timeout=5) as late:
        said(late, b"x")
    assert said(client, b"old") == b"old"


def test_an_end_that_is_over_is_passed_on(wire: proxy.Proxy, client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""

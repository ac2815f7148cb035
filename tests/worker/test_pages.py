"""The pages that probes read: who visits them costs nothing, whatever he does."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker import pages
from celeriac.worker.pages import Address, Page, Pages


def answer(path: str) -> Page | None:
    if path == "/fails":
        raise ValueError(path)
    return {"/here": Page(200, "here\n"), "/big": Page(200, "x" * 4_000_000)}.get(path)


@pytest.fixture
def shown() -> Iterator[Pages]:
    made = Pages(Address("127.0.0.1", 0), answer)
    made.open()
    yield made
    made.close()


def visit(shown: Pages) -> socket.socket:
    if shown.where.path:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(10)
        made.connect(shown.where.path)
        return made
    return socket.create_connection((shown.where.host, shown.where.port), timeout=10)


def ask(shown: Pages, text: bytes) -> bytes:
    with visit(shown) as visitor:
        visitor.sendall(text)
        return rest(visitor)


def rest(visitor: socket.socket) -> bytes:
    told = b""
    try:
        while data := visitor.recv(65536):
            told += data
    except ConnectionResetError:
        pass
    return told


def get(shown: Pages, path: str = "/here") -> bytes:
    return ask(shown, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("9808", Address("127.0.0.1", 9808)),
        (":9808", Address("127.0.0.1", 9808)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:80", Address("::1", 80)),
        ("unix:/run/w.sock", Address("", 0, "/run/w.sock")),
        ("/run/w.sock", Address("", 0, "/run/w.sock")),
    ],
)
def test_addresses(text: str, where: Address) -> None:
    assert pages.address(text) == where


@pytest.mark.parametrize("text", ["", "here", "host:", "host:x", "h:70000", "::1:80", "unix:w.sock", "a/b", "unix:"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadCall):
        pages.address(text)


def test_pages_and_what_is_none(shown: Pages, caplog: pytest.LogCaptureFixture) -> None:
    head, body = get(shown, "/here?x=1").split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Length: 5" in head
    assert body == b"here\n"
    assert ask(shown, b"HEAD /here HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert get(shown, "/else").startswith(b"HTTP/1.1 404")
    assert get(shown, "/fails").startswith(b"HTTP/1.1 500")
    assert "/fails" in caplog.text
    assert ask(shown, b"POST /here HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").startswith(b"HTTP/1.1 405")
    assert ask(shown, b"\x16\x03\x01\n\n").startswith(b"HTTP/1.1 400")
    assert ask(shown, b"GET /here HTTP/1.0\n\n").startswith(b"HTTP/1.1 200")
    assert len(get(shown, "/big")) > 4_000_000


def test_a_head_without_end_is_cut_off(shown: Pages) -> None:
    assert ask(shown, b"GET /here HTTP/1.1\r\n" + b"X: y\r\n" * 5000).startswith((b"HTTP/1.1 431", b""))
    with visit(shown) as visitor:
        visitor.sendall(b"GET /here HTTP/1.1\r\nX: " + b"y" * (8192 - 23))
        assert rest(visitor).startswith(b"HTTP/1.1 431")
    assert b"here" in get(shown)


def test_who_says_nothing_goes_and_holds_up_nobody(shown: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_PATIENCE", 1.5)
    silent = [visit(shown) for _ in range(5)]
    silent[0].sendall(b"GET /here HT")
    silent[1].sendall(b"GET /big HTTP/1.1\r\n\r\n")  # and never reads
    began = time.monotonic()
    assert b"here" in get(shown)
    assert time.monotonic() - began < 1.4
    for visitor in (silent[0], *silent[2:]):
        with visitor:
            assert rest(visitor) == b""
    with silent[1]:
        assert len(rest(silent[1])) < 4_000_000


def test_many_visitors_are_few_at_once(shown: Pages) -> None:
    silent = [visit(shown) for _ in range(60)]
    assert b"here" in get(shown)
    assert len(shown._visitors) <= 32
    for visitor in silent:
        visitor.close()


def test_a_path_is_left_as_it_was_found(tmp_path: Path) -> None:
    place = tmp_path / "w.sock"
    left = socket.socket(socket.AF_UNIX)
    with closing(left):
        left.bind(str(place))  # as by a worker that was killed
    first = Pages(pages.address(str(place)), answer)
    first.open()
    assert b"here" in get(first)
    second = Pages(first.where, answer)
    with pytest.raises(OSError, match="in use"):
        second.open()
    assert b"here" in get(first)
    first.close()
    assert not place.exists()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        Pages(pages.address(str(place)), answer).open()
    assert place.read_text() == "mine"


def test_a_child_does_not_keep_the_door_open(shown: Pages) -> None:
    ours, childs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        childs.send(b"!")
        childs.recv(1)
        os._exit(0)
    childs.close()
    assert ours.recv(1)
    where = shown.where
    shown.close()
    again = Pages(where, answer)
    again.open()
    assert b"here" in get(again)
    again.close()
    ours.close()
    os.waitpid(pid, 0)

"""The debugger on a port: one connects, looks, changes something and lets the task go on."""

from __future__ import annotations

import queue
import re
import socket
import sys
import threading
from contextlib import closing
from typing import Any

import pytest

from celeriac.compat.contrib import rdb


class Told:
    """Where the debugger tells whom it waits for."""

    def __init__(self) -> None:
        self.lines: queue.Queue[str] = queue.Queue()

    def write(self, text: str) -> None:
        if text.strip():
            self.lines.put(text)


def read(link: socket.socket, until: str) -> str:
    got = ""
    while not got.endswith(until):
        byte = link.recv(1).decode()
        assert byte, f"it hung up after {got!r}"
        got += byte
    return got


@pytest.fixture
def port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_session(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    outcome: list[int] = []
    monkeypatch.setattr(rdb, "_current", [None])
    before = sys.stdin, sys.stdout

    def work() -> None:
        rdb._current[0] = rdb.Rdb(port=port, out=told)
        found = 5
        rdb.set_trace()
        found += 1
        outcome.append(found)

    thread = threading.Thread(target=work)
    thread.start()
    ready = re.search(r"Ready to connect: telnet (\S+) (\d+)", told.lines.get(timeout=10))
    assert ready is not None
    with socket.create_connection((ready[1], int(ready[2])), timeout=10) as link:
        assert "found += 1" in read(link, "(Pdb) ")
        link.sendall(b"p found\n")
        assert read(link, "(Pdb) ").split()[0] == "5"
        link.sendall(b"found = 41\n")
        read(link, "(Pdb) ")
        link.sendall(b"continue\n")
        thread.join(10)
    assert outcome == [42]
    assert "Now in session with 127.0.0.1:" in told.lines.get(timeout=1)
    assert told.lines.get(timeout=1).endswith("ended.")
    assert (sys.stdin, sys.stdout) == before
    assert rdb._current[0].active is False


def test_the_next_free_port_and_none(port: int) -> None:
    debugger: Any = rdb.Rdb.__new__(rdb.Rdb)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        found, number = debugger.get_avail_port("127.0.0.1", port)
        found.close()
        assert number > port
        with pytest.raises(OSError, match="find an available port"):
            debugger.get_avail_port("127.0.0.1", port, search_limit=1)

"""The sockets of links: without `socket` where nobody has loaded it, and by what stands there where somebody has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakSet

import pytest

from celeriac.worker import sockets

LISTENING = ("127.0.0.1", 0)


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that has not loaded `socket`."""
    monkeypatch.delitem(sys.modules, "socket")
    monkeypatch.delitem(sys.modules, "wrapt", raising=False)
    assert sockets.library() is None


def test_a_socket_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    with (
        closing(socket.create_server(LISTENING)) as server,
        closing(sockets.dial("127.0.0.1", server.getsockname()[1], 5)) as made,
        closing(server.accept()[0]) as there,
    ):
        assert made.gettimeout() == 5
        assert made in WeakSet([made])
        assert not isinstance(made, socket.socket)
        made.sendall(b"x")
        assert there.recv(1) == b"x"
    assert sockets.hostname() == socket.gethostname()


def test_the_next_address_is_tried_and_the_last_error_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    with closing(socket.create_server(LISTENING)) as server:
        (good,) = sockets.addresses("127.0.0.1", server.getsockname()[1])
        with closing(socket.socket()) as taken:  # bound, and nobody listens
            taken.bind(LISTENING)
            (bad,) = sockets.addresses("127.0.0.1", taken.getsockname()[1])
            monkeypatch.setattr(sockets, "addresses", lambda *_: [bad, good])
            sockets.dial("two", 1, 5).close()
            monkeypatch.setattr(sockets, "addresses", lambda *_: [bad])
            with pytest.raises(ConnectionRefusedError):
                sockets.dial("one", 1, 5)
        monkeypatch.setattr(sockets, "addresses", lambda *_: [])
        with pytest.raises(OSError, match="stands for no address"):
            sockets.dial("none", 1, 5)


def test_what_ends_the_program_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    made: list[Any] = []

    class Interrupted(sockets._Bare):
        def connect(self, _address: Any) -> None:
            made.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(sockets, "_Bare", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        sockets.dial("127.0.0.1", 1, 5)
    assert [each.fileno() for each in made] == [-1]


def test_hosts_need_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sockets.plain_host("localhost") == b"localhost"
    assert sockets.plain_host("b\u00fccher") == "b\u00fccher"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    assert sockets.plain_host("localhost") == "localhost"
    assert sockets.addresses("localhost", 1) == []
    alone(monkeypatch)
    assert sockets.plain_host("localhost") == b"localhost"


def test_who_has_loaded_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(socket.socket):
        pass

    monkeypatch.setattr(socket, "socket", Own)
    monkeypatch.setattr(socket, "gethostname", lambda: "own")
    monkeypatch.setattr(socket, "create_connection", lambda *given: given)
    with closing(sockets.make(socket.AF_INET)) as made:
        assert type(made) is Own
    assert sockets.hostname() == "own"
    assert sockets.dial("localhost", 1, 5) == ((b"localhost", 1), 5)


def test_who_waits_for_its_import_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    monkeypatch.setitem(sys.modules, "wrapt", ModuleType("wrapt"))
    assert sockets.library() is sys.modules["socket"]


PATCHED = """
import os
{before}
from celeriac import Celery
app = Celery("patched", broker={url!r})
app.conf.task_default_queue = "patched"
@app.task(name="patched.add", publish_retry=False)
def add(x, y): pass
{patch}
try:
    add.apply_async((2, 2), retry=False)
    print("sent")
except Exception as problem:
    print(problem)
"""
BLOCK = """
import socket
class Blocked(socket.socket):
    def __new__(cls, *args, **kwargs):
        raise OSError("no network in tests")
socket.socket = Blocked
"""


@pytest.mark.real
@pytest.mark.parametrize("transport", ["redis", "rabbitmq"])
def test_a_program_that_patches_it_is_honoured(request: pytest.FixtureRequest, transport: str) -> None:
    """As pytest-socket does it, before our first connection and without any."""
    url = request.getfixturevalue(f"{transport}_server").url
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / ".dev")}
    said = []
    for before, patch in (("", ""), (BLOCK, ""), ("", BLOCK)):
        program = PATCHED.format(url=url, before=before, patch=patch)
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        said.append(done.stdout)
    assert said[0] == "sent\n"
    assert "no network in tests" in said[1]
    assert "no network in tests" in said[2]

"""What makes starting cheap, and that a program which sends one task gets it."""

from __future__ import annotations

import gc
import logging
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from celeriac.worker import ids, late


def test_a_logger_comes_late(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert late.logger("late.now") is logging.getLogger("late.now")
    monkeypatch.delitem(sys.modules, "logging")
    found = late.logger("late.later")
    assert type(found) is not logging.Logger
    monkeypatch.undo()
    found.warning("something %s", "happened")
    assert caplog.record_tuples == [("late.later", logging.WARNING, "something happened")]
    assert caplog.records[0].filename == "test_late.py"


def test_hosts_need_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    assert late.plain_host("localhost") == b"localhost"
    assert late.plain_host("b\u00fccher") == "b\u00fccher"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    assert late.plain_host("localhost") == "localhost"


def test_the_collector_is_as_it_was() -> None:
    for before in (True, False):
        (gc.enable if before else gc.disable)()
        try:
            with late.uncollected():
                assert not gc.isenabled()
            with suppress(ZeroDivisionError), late.uncollected():
                raise ZeroDivisionError
            assert gc.isenabled() is before
        finally:
            gc.enable()


def test_chances_are_chances() -> None:
    found = [ids.chance() for _ in range(200)]
    assert all(0 <= one < 1 for one in found)
    assert len(set(found)) > 100


HEAVY = {
    "dataclasses",
    "inspect",
    "logging",
    "uuid",
    "platform",
    "decimal",
    "calendar",
    "zoneinfo",
    "pickle",
    "msgpack",
}
HEAVY |= {"hashlib", "random", "difflib", "encodings.idna", "asyncio", "kombu", "redis", "amqp", "click", "traceback"}


@pytest.mark.real
def test_the_first_task_brings_little(redis_server: object) -> None:
    program = (
        "import sys; from celeriac import Celery\n"
        f"app = Celery('first', broker={redis_server.url!r})\n"  # type: ignore[attr-defined]  # a server of tests.servers
        "@app.task(name='first.add')\n"
        "def add(x, y): pass\n"
        "add.delay(2, 2)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not HEAVY & {*done.stdout.split()}

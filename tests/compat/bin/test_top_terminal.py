"""`celeriac top` on a real terminal beside a real worker: searched, and every action done behind its question."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pyte
import pytest
from click.testing import CliRunner

from celeriac import Celery
from celeriac.compat.bin.celery import celery
from tests.servers import RedisServer
from tests.worker.running import Project

pytestmark = pytest.mark.real
SIZE = (150, 24)


class Terminal:
    """What is typed, and what is seen."""

    def __init__(self, ours: int) -> None:
        self.ours = ours
        self.screen = pyte.Screen(*SIZE)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def type(self, keys: str) -> None:
        for key in keys:  # as a person does: an escape and what follows would be another key
            os.write(self.ours, key.encode())
            self.read(0.02)

    def read(self, seconds: float) -> None:
        if select.select([self.ours], [], [], seconds)[0]:
            data = os.read(self.ours, 65536)
            self.written += data
            self.stream.feed(data)

    def until(self, words: str, *, gone: bool = False, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while (words in self.text()) == gone:
            assert time.monotonic() < end, f"{'still' if gone else 'no'} {words!r}:\n{self.text()}"
            self.read(0.1)


@contextmanager
def top(project: Project) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "celeriac", "-A", "proj", "top", "-i", "0.3"]
    process = subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    terminal = Terminal(ours)
    try:
        yield terminal, process
        assert process.wait(20) == 0, terminal.text()
        assert termios.tcgetattr(theirs) == before, "the terminal is given back as it was"
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


def test_tasks_and_queues_are_watched_and_steered(
    redis_server: RedisServer, stock_python: Path, tmp_path: Path
) -> None:
    redis_server.call("FLUSHALL")
    url = redis_server.url
    project = Project(tmp_path, url, url.replace("/0", "/1"), stock_python)
    paths = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with project.worker("-E", "-c", "2", pool="prefork", **paths), top(project) as (terminal, process):
        terminal.until("1/1 workers")
        project.client("nap.delay(600); boom.delay(); add.apply_async((1, 2), queue='nobody')")
        terminal.until("RUNNING")
        terminal.until("proj.boom")

        ids = project.client("print([nap.delay(700).id for _ in range(6)])")
        terminal.until("2 running  5 held  1 waiting")
        terminal.until("HELD ")
        project.client(f"app.control.revoke({ids}, terminate=True, reply=True, timeout=5, limit=1)")
        terminal.until("1 running  0 held  1 waiting")

        terminal.type("/600 nap\r")
        terminal.until("search: 600 nap")
        terminal.until("proj.boom", gone=True)
        terminal.type("c")
        terminal.until("revoke proj.nap ")
        terminal.type("n")
        terminal.until("nothing done")
        terminal.type("cy")
        terminal.until("w1@here: terminate: ")
        terminal.until("REVOKED")

        terminal.type("/" + "\x7f" * 7 + "\r2")
        terminal.until("[failures ")
        terminal.until("ValueError")
        terminal.type("ry")
        terminal.until("sent proj.boom again as")
        terminal.until("[failures 2]")
        terminal.type("l")
        terminal.until("rate limit: _")
        terminal.type("7/m\ry")
        terminal.until("new rate limit set successfully")

        terminal.type("3")
        terminal.until("OLDEST")
        row = next(line for line in terminal.screen.display if line.startswith("celery"))
        assert row.split()[:4] == ["celery", "0", "-", "1"], row
        terminal.type("py")
        terminal.until("paused")
        terminal.type("py")
        terminal.until("paused", gone=True)
        terminal.type("4")
        terminal.until("py-celery")
        terminal.type("q")
        while process.poll() is None:
            terminal.read(0.1)
        terminal.read(1)
        assert terminal.written.endswith(b"\x1b[?25h\x1b[?1049l"), "the screen that was there before is shown again"
    redis_server.call("FLUSHALL")


def test_without_a_terminal_each_page_is_printed_once(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    app = Celery("once", broker=redis_server.url, set_as_current=False)
    app.send_task("once.add")
    done = CliRunner().invoke(celery, ["top", "-i", "0.3"], default_map={"app": app})
    app.close()
    redis_server.call("FLUSHALL")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.split("[")[1].split()[0] for line in lines if "[" in line] == [
        "tasks", "failures", "queues", "workers",
    ]  # fmt: skip
    (row,) = (line.split() for line in lines if line.startswith("celery "))
    assert row[:3] == ["celery", "1", "?"], "who looks once cannot know its age"
    assert "\x1b" not in done.output

"""Long work shows on a terminal how far it is, and nowhere else: not in a pipe, not with -q, never on stdout."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Delivery, Parcel, Queue
from celeriac.worker.dead_letters import DeadLetters

pytestmark = pytest.mark.real

SOURCE = """\
from celery import Celery
app = Celery("proj", broker="{url}")
app.conf.task_default_queue = "jobs"
@app.task
def add(x, y): return x + y
"""
COMMANDS = {
    "purge": (("purge", "-f", "-Q", "jobs,more"), "purge"),
    "migrate": (("migrate", "{url}", "{other}", "-t", "0.5", "-Q", "jobs"), "Migrating task 3/3"),
    "replay": (("dead", "replay", "--all", "-f"), "replay"),
    "doctor": (("doctor", "--live", "-t", "0.2"), "asking"),
}


def message(number: int) -> Message:
    headers = {"id": f"id-{number}", "task": "proj.add", "lang": "py"}
    return Message(b"[[1, 2], {}, {}]", "application/json", "utf-8", headers, {"correlation_id": f"id-{number}"})


@pytest.fixture
def url(redis_server: Any, tmp_path: Path) -> str:
    """A broker with something in two queues, and dead letters."""
    redis_server.call("FLUSHALL")
    url: str = redis_server.url
    home = Queue("jobs", "jobs", routing_key="jobs")
    with closing(brokers.connect(url)) as broker:
        broker.declare([home, Queue("more")])
        broker.send([Parcel(message(number), queue) for queue in ("jobs", "more") for number in range(3)])
        for number in range(3, 6):
            DeadLetters(".dead").bury(
                broker, [home], Delivery(None, message(number), "jobs", "jobs", "jobs"), "no", 5.0
            )
    (tmp_path / "proj.py").write_text(SOURCE.format(url=url))
    return url


def run(env: Any, place: Path, url: str, *words: str, terminal: bool) -> tuple[str, str]:
    """What it says on stdout, and on stderr, which is a terminal or not."""
    words = tuple(word.format(url=url, other=url.replace("/0", "/7")) for word in words)
    command = [str(env.python), "-m", "celeriac", "-A", "proj", *words]
    if not terminal:
        done = subprocess.run(
            command, cwd=place, env=env.variables, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout, done.stderr
    ours, theirs = pty.openpty()
    said: list[bytes] = []

    def hear() -> None:
        with suppress(OSError):  # a terminal that nobody writes to any more
            while data := os.read(ours, 65536):
                said.append(data)

    thread = threading.Thread(target=hear)
    try:
        process = subprocess.Popen(
            command, cwd=place, env={**env.variables, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)
        thread.start()
        out, _ = process.communicate(timeout=60)
        thread.join(10)
    finally:
        os.close(ours)
    return out, b"".join(said).decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_sees_how_far_it_is(name: str, url: str, celeriac_env: Any, tmp_path: Path) -> None:
    words, label = COMMANDS[name]
    out, said = run(celeriac_env, tmp_path, url, *words, terminal=True)
    assert label in said, out
    assert "\r" in said
    assert "\r" not in out
    assert "Traceback" not in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_and_who_wants_quiet_do_not(name: str, url: str, celeriac_env: Any, tmp_path: Path) -> None:
    words, label = COMMANDS[name]
    out, said = run(celeriac_env, tmp_path, url, *words, terminal=False)
    assert said == ""
    assert "\r" not in out
    _, said = run(celeriac_env, tmp_path, url, "-q", *words, terminal=True)
    assert label not in said

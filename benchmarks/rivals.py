"""huey, dramatiq and taskiq: the same task on a Redis of the run, each in an environment of its own, at its defaults.

Each keeps its own queue format, so each sends for itself. Law: the modules that workers load (`rival_NAME.py`) know
nothing of the run; here they are installed (pinned, once), started, watched and asked whether all is done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drain import HERE, ROOT, Tree, idle, wait_for

PROOF = 300


@dataclass(frozen=True)
class Rival:
    """How one is installed, what starts two worker processes of it, and the keys in which its messages wait."""

    name: str
    packages: tuple[str, ...]
    worker: tuple[str, ...]
    waits: tuple[tuple[str, str], ...]

    @property
    def version(self) -> str:
        return self.packages[0].partition("==")[2]

    @property
    def home(self) -> Path:
        return ROOT / ".peers" / f"{self.name}-{self.version}"

    @property
    def python(self) -> str:
        return str(self.home / "bin" / "python")


RIVALS = (
    Rival(
        "huey",
        ("huey==3.5.4", "redis==8.1.0"),
        ("-m", "huey.bin.huey_consumer", "rival_huey.huey", "-w", "2", "-k", "process", "-q"),
        (("LLEN", "huey.redis.bench"),),
    ),
    Rival(
        "dramatiq",
        ("dramatiq[redis]==2.2.1",),
        ("-m", "dramatiq", "rival_dramatiq", "-p", "2", "-t", "1"),
        (("LLEN", "dramatiq:default"), ("HLEN", "dramatiq:default.msgs")),
    ),
    Rival(
        "taskiq",
        ("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0"),
        ("-m", "taskiq", "worker", "rival_taskiq:broker", "--workers", "2", "--log-level", "WARNING"),
        (("LLEN", "taskiq"),),
    ),
)


def install(rival: Rival) -> None:
    ready = rival.home / ".ready"
    if ready.exists():
        return
    print(f"installing {' '.join(rival.packages)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(rival.home)], check=True)
    subprocess.run([rival.python, "-m", "pip", "install", "--quiet", *rival.packages], check=True)
    ready.touch()


def environment(url: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY"))}
    return {**kept, "BROKER": url, "PYTHONWARNINGS": "ignore"}


def send(rival: Rival, url: str, count: int, ledger: str = "") -> float:
    """CPU seconds of the sending, one by one; connecting and a first message are not counted."""
    command = [rival.python, f"rival_{rival.name}.py", str(count), ledger]
    done = subprocess.run(command, env=environment(url), cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{rival.name}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


class Race:
    """One of them on one Redis."""

    def __init__(self, rival: Rival, server: Any) -> None:
        self.rival = rival
        self.server = server

    def waiting(self) -> int:
        return sum(self.server.call(*command) for command in self.rival.waits)

    def worker(self, log: Any) -> Tree:
        command = [self.rival.python, *self.rival.worker]
        return Tree(subprocess.Popen(command, env=environment(self.server.url), cwd=HERE, stdout=log, stderr=log))

    def enqueue(self, count: int) -> float:
        self.server.call("FLUSHALL")
        used = send(self.rival, self.server.url, count)
        lists = self.server.call(*self.rival.waits[0])
        assert lists == count + 1, f"{self.rival.name}: {lists} messages, not {count + 1}"
        return used / count * 1e6

    def drain(self, count: int) -> dict[str, float]:
        self.server.call("FLUSHALL")
        with tempfile.TemporaryFile("w+") as log:
            worker = self.worker(log)
            try:
                send(self.rival, self.server.url, 100)
                self.done("warms up")
                idle(worker)
                worker.freeze()
                send(self.rival, self.server.url, count)
                before, began = worker.cpu(), time.monotonic()
                worker.thaw()
                self.done("drains")
                wall = time.monotonic() - began
                used = idle(worker) - before
            finally:
                worker.stop()
        return {"cpu": used / count * 1e6, "wall": wall / count * 1e6}

    def done(self, what: str) -> None:
        wait_for(lambda: self.waiting() == 0, f"{self.rival.name} {what}", 60)

    def prove_once(self) -> None:
        """Each task has run, and once."""
        self.server.call("FLUSHALL")
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
            ledger = Path(folder) / "ledger"

            def ran() -> list[int]:
                return [*map(int, ledger.read_text().split())] if ledger.exists() else []

            send(self.rival, self.server.url, PROOF, str(ledger))
            worker = self.worker(log)
            try:
                wait_for(lambda: self.waiting() == 0 and len(ran()) >= PROOF, f"{self.rival.name} proves", 60)
                idle(worker)
                counts = Counter(ran())
            finally:
                worker.stop()
        assert counts == Counter(range(PROOF)), f"{self.rival.name}: {counts - Counter(range(PROOF))}"

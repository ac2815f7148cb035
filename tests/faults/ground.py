"""Where whole workers are hurt: they are started, signalled and watched as processes, and the ledger tells what ran."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_PROGRAM = [sys.executable, "-W", "ignore", "-m", "celeriac", "-A", "hurt_app"]


@dataclass
class Ran:
    """One line of the ledger."""

    what: str
    number: str
    at: float
    pid: int


@dataclass
class Hurt:
    """A worker in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def children(self) -> list[int]:
        with suppress(OSError):
            path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            return [int(pid) for pid in path.read_text().split()]
        return []

    def ready(self, seconds: float = 20) -> Hurt:
        assert until(lambda: " ready." in self.text or not self.alive, seconds), self.text[-3000:]
        assert self.alive, self.text[-3000:]
        return self

    def send(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    def leaves(self, seconds: float) -> float:
        """How long it took to end; fails if it did not."""
        began = time.monotonic()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on after {seconds} s:\n{self.text[-3000:]}") from None
        return time.monotonic() - began


@dataclass
class Ground:
    """One app on one broker: its workers, and what it ran."""

    folder: Path
    env: dict[str, str]
    workers: list[Hurt] = field(default_factory=list)

    def start(self, *args: str, pool: str = "prefork", concurrency: int = 2, **env: str) -> Hurt:
        number = len(self.workers) + 1
        log = self.folder / f"worker-{number}.log"
        command = [*_PROGRAM, "worker", "-P", pool, "-c", str(concurrency), "-n", f"w{number}@hurt", "-l", "INFO"]
        command += ["--without-mingle", "--without-gossip", *args]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=HERE, env=self.env | env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.workers.append(Hurt(process, log))
        return self.workers[-1]

    def run(self, program: str) -> str:
        """A program with everything of the app in reach; what it printed."""
        command = [sys.executable, "-W", "ignore", "-c", f"from hurt_app import *\n{program}"]
        done = subprocess.run(command, cwd=HERE, env=self.env, timeout=120, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def results(self, ids: list[str]) -> dict[str, tuple[str, str]]:
        """State and result of each."""
        if not ids:
            return {}
        got = self.run(
            f"ids = {ids!r}\nfound = {{i: app.AsyncResult(i) for i in ids}}\n"
            "print(json.dumps({i: (r.state, repr(r.result)) for i, r in found.items()}))"
        )
        return {name: (state, result) for name, (state, result) in json.loads(got).items()}

    def command(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_PROGRAM, *args], cwd=HERE, env=self.env, timeout=timeout, capture_output=True, text=True, check=False
        )

    def ledger(self) -> list[Ran]:
        path = Path(self.env["LEDGER"])
        if not path.exists():
            return []
        whole, _, _ = path.read_text().rpartition("\n")  # of a line that is just being written there may be a beginning
        lines = [line.split() for line in whole.splitlines()]
        return [Ran(what, number, float(at), int(pid)) for what, number, at, pid in lines]

    def seen(self, what: str) -> Counter[int]:
        return Counter(int(ran.number) for ran in self.ledger() if ran.what == what)

    def logs(self) -> str:
        return "\n".join(f"--- {worker.log.name}\n{worker.text[-2500:]}" for worker in self.workers[-3:])

    def close(self) -> None:
        for worker in self.workers:
            if worker.alive:
                worker.send(signal.SIGTERM)
        for worker in self.workers:
            orphans = worker.children()
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(8)
            if worker.alive:
                worker.process.kill()
                worker.process.wait()
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def on(folder: Path, broker: str, results: str | None = None, queue: str = "hurt", **conf: Any) -> Iterator[Ground]:
    """An app with this broker, its results, its queue and these settings."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "PYTHONPATH" or not name.startswith(("CELERY", "PYTHON"))
    }
    env = {**kept, "BROKER": broker, "QUEUE": queue, "LEDGER": str(folder / "ledger"), "CONF": json.dumps(conf)}
    ground = Ground(folder, env | ({"RESULTS": results} if results else {}))
    try:
        yield ground
    finally:
        ground.close()


def until(done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.MULTILINE))

"""Workers in processes of their own, for tests: started from the command line, waited for, and told to leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

APP = """\
import os, time
from celery import Celery
from celery.exceptions import Ignore, Reject

app = Celery("proj", broker=os.environ["PROJ_BROKER"], backend=os.environ["PROJ_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=int(os.environ.get("PREFETCH", 4)))

def note(text):
    with open(os.environ["PROJ_NOTES"], "a") as file:
        file.write(text + "\\n")

from celery.worker.control import control_command, inspect_command

@inspect_command(args=[("word", str)])
def shout(state, word="hey"):
    return {"ok": word.upper() + state.hostname}

@app.task
def add(x, y):
    return x + y

@app.task
def write(text):
    note(text)

@app.task
def nap(seconds):
    time.sleep(seconds)
    return seconds

@app.task(acks_late=True)
def late(seconds, text):
    note("began " + text)
    time.sleep(seconds)
    note("ended " + text)

@app.task
def boom():
    raise ValueError("boom")

@app.task(bind=True, max_retries=1)
def again(self):
    if self.request.retries:
        return "done"
    raise self.retry(countdown=0)

@app.task(acks_late=True)
def refuse(requeue=False):
    raise Reject("no", requeue=requeue)

@app.task
def ignored():
    raise Ignore()

@app.task(rate_limit="10/s")
def limited(text):
    note(text)
"""


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def wait_for(self, line: str, seconds: float = 60) -> None:
        wait_until(lambda: line in self.text(), seconds, lambda: f"no {line!r} in the log:\n{self.text()}")

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 30) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(seconds)


def wait_until(true: Callable[[], object], seconds: float = 30, why: Callable[[], str] = lambda: "in vain") -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(why())
        time.sleep(0.02)


class Project:
    """An app in a folder, for workers and clients of either kind. `notes` is what its tasks wrote."""

    def __init__(self, folder: Path, broker: str, backend: str, stock: Path) -> None:
        self.folder = folder
        self.stock = stock
        self.notes_file = folder / "notes"
        (folder / "proj.py").write_text(APP)
        unwanted = ("PYTHON", "CELERY", "COV")
        kept = {
            name: text for name, text in os.environ.items() if name == "PYTHONPATH" or not name.startswith(unwanted)
        }
        self.environment = {
            **kept,
            "PROJ_BROKER": broker,
            "PROJ_BACKEND": backend,
            "PROJ_NOTES": str(self.notes_file),
        }
        self._started = 0

    def more(self, text: str) -> None:
        """Goes on with the app's module."""
        with (self.folder / "proj.py").open("a") as file:
            file.write(text)

    def notes(self) -> list[str]:
        return self.notes_file.read_text().split("\n")[:-1] if self.notes_file.exists() else []

    @contextmanager
    def worker(
        self, *options: str, name: str = "w1@here", pool: str = "solo", ready: str = "", **more: str
    ) -> Iterator[Running]:
        """One of ours. `ready`: what it says on its standard output, if its log is somewhere else."""
        command = [sys.executable, "-m", "celeriac", "-A", "proj", "worker", "-l", "INFO", "-n", name, "-P", pool]
        with self._run([*command, *options], ready or f"{name} ready.", more) as running:
            yield running

    @contextmanager
    def stock_worker(self, *options: str, name: str = "stock@here") -> Iterator[Running]:
        command = [str(self.stock), "-m", "celery", "-A", "proj", "worker", "-l", "INFO", "-n", name, "-P", "solo"]
        with self._run([*command, *options], f"{name} ready.", {}) as running:
            yield running

    @contextmanager
    def _run(self, command: list[str], ready: str, more: dict[str, str]) -> Iterator[Running]:
        self._started += 1
        log = self.folder / f"log{self._started}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env={**self.environment, **more}, stdout=file, stderr=subprocess.STDOUT
            )
        running = Running(process, log)
        try:
            running.wait_for(ready, 30)
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def client(self, code: str, timeout: float = 30) -> str:
        """What stock Celery prints when it runs this, with the app and its tasks imported."""
        done = subprocess.run(
            [str(self.stock), "-c", f"from proj import *\n{code}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

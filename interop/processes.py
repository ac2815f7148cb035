"""Peers at work: a worker that is waited for, and a producer that answers one line for each line it is asked.

Law: what was started here is ended here; what a peer wrote is kept, and is part of every complaint.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interop.peers import Peer

if TYPE_CHECKING:
    from interop.brokers import Broker

Answer = dict[str, Any]
FOREIGN = ("PYTHON", "CELERY", "COV", "VIRTUAL_ENV")
START = 40.0


class PeerFailed(Exception):
    """A peer's program did not start, died or did not answer."""


# Set when the run is to end: what is at work is killed, nothing else is started, and so each wait ends by itself.
STOP = threading.Event()
_AT_WORK: set[Process] = set()


def stop_all() -> None:
    """For a signal's handler."""
    STOP.set()
    for process in tuple(_AT_WORK):
        with suppress(ProcessLookupError):
            os.killpg(process.process.pid, signal.SIGKILL)


# Peers that have stood there without a word, by the settings they were given: nobody waits for them again and again.
SILENT: dict[tuple[str, str], str] = {}


class Process:
    """One process of a peer, in a group of its own."""

    def __init__(self, command: tuple[str, ...], peer: Peer, variables: Mapping[str, str], log: Path) -> None:
        if STOP.is_set():
            raise PeerFailed("the run was stopped")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.log = log
        self.name = peer.name
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=peer.folder,
                env=kept
                | {"C_FORCE_ROOT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
                | dict(peer.variables)
                | dict(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self.speaks else output,
                stderr=output if self.speaks else subprocess.STDOUT,
                start_new_session=True,
            )
        _AT_WORK.add(self)
        if STOP.is_set():  # in between: its handler has not seen us
            stop_all()

    speaks = False

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def stop(self) -> None:
        """Politely for three seconds; none of them holds anything that matters."""
        _AT_WORK.discard(self)
        self._close()
        for sign, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 5)):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _close(self) -> None:
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()

    def kill(self) -> None:
        _AT_WORK.discard(self)
        self._close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Worker(Process):
    """A worker; `wait` returns when it takes messages."""

    def __init__(self, peer: Peer, variables: Mapping[str, str], log: Path, name: str = "w@interop") -> None:
        assert peer.worker
        queues = ("-n", name, "-Q", variables["QUEUE"]) if peer.python else ()
        super().__init__(peer.worker + queues, peer, variables, log)
        self.started_as = (peer, variables, log, name)
        scheme = variables["BROKER"].partition(":")[0]
        self.known = (peer.name, scheme + variables.get("QUEUE_ARGUMENTS", "") + variables["SETTINGS"])
        self.ready = f"{name} ready." if peer.python else "interop: ready"

    def wait(self) -> Worker:
        end = time.monotonic() + START
        if said := SILENT.get(self.known):
            self.stop()
            raise PeerFailed(said)
        while self.ready not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None:
                raise PeerFailed(f"the worker of {self.name} ended with {self.process.returncode}: {self.said()}")
            if time.monotonic() > end:
                self.stop()
                said = f"the worker of {self.name} was not ready after {START:.0f} s: {self.said()}"
                SILENT[self.known] = said
                raise PeerFailed(said)
            time.sleep(0.03)
        return self

    def again(self, broker: Broker) -> Worker:
        """Another in its place, at an empty queue."""
        self.kill()
        broker.empty(self.started_as[1]["QUEUE"])
        return Worker(*self.started_as).wait()


class Producer(Process):
    """A producer; `ask` sends one request and returns its answer."""

    speaks = True

    def __init__(self, peer: Peer, variables: Mapping[str, str], log: Path) -> None:
        assert peer.producer
        super().__init__(peer.producer, peer, variables, log)
        self.peer = peer
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def stop(self) -> None:
        super().stop()
        self.reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def wait(self) -> Producer:
        self._answer(START)
        return self

    def ask(self, request: Mapping[str, Any]) -> Answer:
        assert self.process.stdin
        with suppress(queue.Empty):  # a library's late complaint is no answer to what is asked now
            while self.lines.get_nowait():
                pass
            raise PeerFailed(f"the producer of {self.name} ended: {self.said()}")
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise PeerFailed(f"the producer of {self.name} is gone: {self.said()}") from error
        return self._answer(float(request.get("timeout", 0)) + 25)

    def _answer(self, seconds: float) -> Answer:
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise PeerFailed(f"the producer of {self.name} did not answer in {seconds:.0f} s: {self.said()}") from None
        if not line:
            raise PeerFailed(f"the producer of {self.name} ended: {self.said()}")
        answer: Answer = json.loads(line)
        return answer

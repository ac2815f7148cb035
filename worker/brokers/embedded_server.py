"""Starts a private Valkey in a folder and stops it with the last of its users. A script, run by its path.

    python embedded_server.py start FOLDER SERVER      returns when it answers
    python embedded_server.py keep FOLDER ...          waits for the last user to go, then stops it

Law: who is there is known by `flock` alone, which the kernel releases whatever the death, so nothing is ever stale.
A user holds `run/users` shared; the keeper waits for it exclusively, and who comes meanwhile waits for the keeper.
Nothing but the standard library is imported.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

GRACE = 1.0
"""So long the server outlives its last user, who may be followed by the next one at once."""

STARTING = 20.0
_STEP = 0.01


def lock(path: Path, kind: int, within: float) -> int | None:
    """A descriptor that holds the lock as long as it is open; None: somebody else has it still."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    end = time.monotonic() + within
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203 - it sleeps anyway
            if time.monotonic() >= end:
                os.close(descriptor)
                return None
            time.sleep(_STEP)
        else:
            return descriptor


def say(address: str, command: bytes) -> bytes:
    """The first bytes of the server's answer; empty where there is no server."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(2)
            link.connect(address)
            link.sendall(command)
            return link.recv(1024)
    except OSError:
        return b""


def answers(address: str) -> bool:
    return say(address, b"PING\r\n").startswith(b"+PONG")


def runs(folder: Path, address: str) -> bool:
    """Whether there is nothing to start: the server answers and its keeper lives."""
    if not answers(address):
        return False
    nobody = lock(folder / "run" / "keeper", fcntl.LOCK_EX, 0)
    if nobody is not None:
        os.close(nobody)
    return nobody is None


def start(folder: Path, server: str, address: str) -> int:
    run, data = folder / "run", folder / "data"
    if not answers(address):
        data.mkdir(mode=0o700, exist_ok=True)
        Path(address).unlink(missing_ok=True)
        with (run / "log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the server that our caller has found
                [server, *_options(data, address)],
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + STARTING
        while not answers(address):
            if process.poll() is not None or time.monotonic() > end:
                sys.stderr.write(f"it did not come up; its log is {run / 'log'}\n")
                return 1
            time.sleep(_STEP)
    keeper, server_itself = lock(run / "keeper", fcntl.LOCK_EX, 0), _connected(address)
    if keeper is not None and server_itself is not None:
        # The keeper inherits the lock itself: there is no moment without one.
        users = os.open(run / "users", os.O_RDWR | os.O_CREAT, 0o600)
        passed = [keeper, users, server_itself.fileno()]
        subprocess.Popen(  # noqa: S603 - this very script
            [sys.executable, "-I", __file__, "keep", str(folder), address, *map(str, passed[1:])],
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return 0


def _options(data: Path, address: str) -> list[str]:
    listening = ["--port", "0", "--unixsocket", address, "--unixsocketperm", "700"]
    keeping = ["--dir", str(data), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    return [*listening, *keeping, "--daemonize", "no"]


def keep(users: int, server: socket.socket, address: str) -> int:
    """Both are open, so that they are reached also when somebody has deleted the folder."""
    while not _gone(users):
        pass
    for link in (server, _connected(address)):  # another one where the first has died and was started again
        _shut_down(link)
    return 0  # and with us go both locks


def _gone(users: int) -> bool:
    """Once nobody uses it: whether nobody came soon. Who comes later waits until we are gone as well."""
    fcntl.flock(users, fcntl.LOCK_EX)
    fcntl.flock(users, fcntl.LOCK_UN)
    time.sleep(GRACE)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _connected(address: str) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(address)
    except OSError:
        link.close()
        return None
    return link


def _shut_down(link: socket.socket | None) -> None:
    """Until it has written what it holds, and is gone."""
    if link is None:
        return
    with suppress(OSError), link:
        link.sendall(b"SHUTDOWN\r\n")
        if link.recv(1024):  # only a refusal is answered: it cannot write any more
            link.sendall(b"SHUTDOWN NOSAVE\r\n")
            while link.recv(1024):
                pass


if __name__ == "__main__":
    work, where, *rest = sys.argv[1:]
    if work == "start":
        sys.exit(start(Path(where), rest[0], rest[1]))
    sys.exit(keep(int(rest[1]), socket.socket(fileno=int(rest[2])), rest[0]))

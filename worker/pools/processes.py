"""What the system says of a child process, and how it is told. Nothing here waits, but `reap` for a moment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024
STOPPED = frozenset("Tt")


def why(status: int) -> str:
    """What it died of."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "unknown"
        return f"signal {number} ({name})"
    return f"exitcode {os.WEXITSTATUS(status)}"


def watch(pid: int) -> int:
    """A descriptor that is readable when the process has ended; 0 where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return 0


def reap(pid: int) -> int:
    """How it ended. One that lives on without its socket is of no use to anybody."""
    for pause in (0.0, 0.001, 0.01, 0.05):
        time.sleep(pause)
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return 0  # somebody else waited for it: a task's own SIGCHLD handler
        if reaped:
            return status
    send(pid, signal.SIGKILL)
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return 0


def memory(pid: int) -> int:
    """Resident, in KiB; 0 where the system does not tell. The child is not asked: asking costs it more than a task."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def state(pid: int) -> str:
    """One letter, as `ps` has it; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1].decode()
    except OSError:
        return ""


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

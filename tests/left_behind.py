"""What a test run leaves behind that is killed: servers and their folders. One process outlives the run and ends them.

Law: whatever works in a folder that was named here, and not taken back, is ended once the run is gone. It is known by
its working directory, as a process id may be somebody else's by then. Where there is no /proc, nobody is found.
Children that the run forked may outlive it: the run is gone without them.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, shutil, signal, sys, time
folders = set()
for line in sys.stdin:
    (folders.add if line[0] == "+" else folders.discard)(line[1:].rstrip("\\n"))
def inside():
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        try:
            at = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if any(at == folder or at.startswith(folder + "/") for folder in folders):
            yield int(pid)
for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
    for pid in inside():
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            pass
    end = time.monotonic() + patience
    while any(inside()) and time.monotonic() < end:
        time.sleep(0.1)  # nobody tells who is not their parent
for folder in folders:
    shutil.rmtree(folder, ignore_errors=True)
"""

_keeper: subprocess.Popen[bytes] | None = None
_owner = 0


def will_be_left(folder: Path) -> None:
    """End who works there, and remove it, if this process is killed."""
    _tell(f"+{folder}\n")


def is_gone(folder: Path) -> None:
    _tell(f"-{folder}\n")


def _tell(line: str) -> None:
    global _keeper, _owner  # noqa: PLW0603 - one for each process
    if _keeper is None or _owner != os.getpid():
        _owner = os.getpid()
        _keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            cwd="/",
            bufsize=0,  # nothing is kept back that a forked child would write again
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what kills the run may kill its whole group
        )
        atexit.register(_leave, _keeper, _owner)
    assert _keeper.stdin is not None
    _keeper.stdin.write(line.encode())


def _leave(keeper: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait(timeout=20)  # longer than it is patient itself


def _let_go() -> None:
    if _keeper is not None and _keeper.stdin is not None:
        _keeper.stdin.close()


os.register_at_fork(after_in_child=_let_go)

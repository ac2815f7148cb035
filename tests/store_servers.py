"""Real servers that only result stores need: a private memcached and a private PostgreSQL, by the law of tests/servers.

PostgreSQL is not asked for by scripts/prepare: its tests run where it is installed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import _folder, _listens, _program, _spawn, _started, free_port


@contextmanager
def memcached(*options: str) -> Iterator[int]:
    """The port of a memcached with room for items of 16 MB."""
    program = _program("memcached")
    with _folder("memcached") as home:

        def start() -> tuple[subprocess.Popen[bytes], int]:
            port = free_port()
            user = ["-u", "root"] if os.getuid() == 0 else []
            where = ["-l", "127.0.0.1", "-p", str(port), "-U", "0", *user]
            return _spawn([program, *where, "-I", "16m", "-m", "128", *options], home), port

        process, port = _started("memcached", start, _memcached_answers, home / "output", seconds=20)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _memcached_answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"version\r\n")
        return connection.recv(100).startswith(b"VERSION")


def postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """The URL of a PostgreSQL without passwords and without patience for a disk."""
    with _folder("postgres") as home:
        account = pwd.getpwnam("postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)
        data = home / "data"
        data.mkdir(mode=0o700)
        for place in (home, data):
            if os.getuid() == 0:  # PostgreSQL refuses to be root
                os.chown(place, account.pw_uid, account.pw_gid)
        as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]
        become = as_user if os.getuid() == 0 else []
        initdb = [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "tester", "--no-sync", "-E", "UTF8"]
        subprocess.run([*become, *initdb], check=True, capture_output=True, cwd=home)

        def start() -> tuple[subprocess.Popen[bytes], int]:
            port = free_port()
            command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(home), "-F"]
            return _spawn([*become, *command, "-c", "listen_addresses=127.0.0.1"], home), port

        process, port = _started("postgres", start, _listens, home / "output", seconds=30)
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # its quick way out: it waits for nobody who is connected
            process.wait(20)

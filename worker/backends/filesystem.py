"""Results as files in one folder: `file:///var/celery/results`, as Celery lays them out, name for name.

Law: a file is whole or not there: written beside, then renamed. No name leaves the folder.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from ...protocol.errors import BadCall, shown
from ...protocol.wire.stores import CHORD, GROUP, TASK
from .base import KeyValueStore, Settings

_UNFINISHED = ".celeriac-"
_MODE = 0o666  # what the umask leaves of it: stock workers of other users read as well
_OURS = (errno.ENAMETOOLONG, errno.EINVAL)


class FilesystemStore(KeyValueStore):
    """A folder of results."""

    def __init__(self, folder: str, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self.folder = Path(folder)

    def get(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            self._fail("read", problem)

    def put(self, key: str, value: bytes, expires: int) -> None:
        path = self._path(key)
        unfinished = self.folder / f"{_UNFINISHED}{secrets.token_hex(16)}"
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
                file.write(value)
            unfinished.replace(path)
        except OSError as problem:
            with suppress(OSError):
                unfinished.unlink()
            self._fail("write", problem)

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return
        except OSError as problem:
            self._fail("delete", problem)

    def expire(self, now: float) -> int:
        """Deletes what is older than `expires`, results and groups alike, and what a writer that died left behind."""
        if not self.settings.expires:
            return 0
        prefix = self.settings.keys.prefix
        kinds = tuple(prefix + kind for kind in (TASK, GROUP, CHORD))
        oldest = now - self.settings.expires
        count = 0
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.startswith((*kinds, _UNFINISHED)):
                        count += _delete_old(entry, oldest)
        except OSError as problem:
            self._fail("clean", problem)
        return count

    def _path(self, key: str) -> Path:
        try:
            # What no file name may hold is written with %; what could be taken for that is, too.
            name = f"{quote(key, safe='')}%" if "/" in key or "\0" in key or key.endswith("%") else key
            os.fsencode(name)
        except UnicodeEncodeError:
            raise BadCall(f"no name of a file: {shown(key)}") from None
        return self.folder / name

    def _fail(self, doing: str, problem: OSError) -> NoReturn:
        if problem.errno in _OURS:
            raise BadCall(f"cannot {doing} a result in {self.folder}: {problem.strerror}") from problem
        from kombu.exceptions import OperationalError

        text = f"cannot {doing} a result in {self.folder}: {problem}; the folder must exist, and be ours to write to"
        raise OperationalError(text) from problem


def _delete_old(entry: os.DirEntry[str], oldest: float) -> int:
    try:
        if entry.stat().st_mtime >= oldest:
            return 0
        Path(entry.path).unlink()
    except FileNotFoundError:  # somebody else was faster
        return 0
    return 1


def connect(url: str, settings: Settings) -> FilesystemStore:
    """`file:///path`, or `file://localhost/path`."""
    path = url.partition("://")[2]
    if path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    if not path:
        raise BadCall("the URL of a result store in files names its folder: file:///var/celery/results")
    return FilesystemStore(path, settings)

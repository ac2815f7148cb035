"""The file in which beat keeps when it last sent what: a shelve that any Celery reads, and no kill can tear.

Law: a file is read from a copy and replaced as a whole, so at any moment there is the old state or the new one. What
was there before keeps its form, so that the file never changes its name; what cannot be read is set aside under
another name and never removed. One process at a time: who holds the file holds a lock on it, which its death frees.

A shelve is a dbm whose values are pickles, and which dbm it is depends on the Python that made it: one file (gdbm,
sqlite3, Berkeley), or three (dumb: `.dat` holds values, `.dir` says where they are in it, `.bak` is old). New ones of
the first kind are made beside and renamed. Of a dumb one the values are written where the present `.dir` names
nothing, and then `.dir` is renamed into place.
"""

from __future__ import annotations

import dbm
import errno
import fcntl
import os
import pickle
import shutil
import tempfile
from ast import literal_eval
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

SUFFIXES = ("", ".db", ".dat", ".bak", ".dir", ".pag")
"""What follows the name in any form."""

_BESIDE = ("-wal", "-journal")  # what sqlite3 has not yet put into its file
_PROTOCOL = 4  # the highest pickle that every Python reads that Celery runs on
_BLOCK = 512
_FORMS = {"dbm.gnu": "", "dbm.sqlite3": "", "dbm.ndbm": ".db"}  # of one file: what follows its name


class Unreadable(Exception):
    """There is a file, and no schedule in it that could be read."""


class InUse(OSError):
    """Another process has this schedule file."""


class ScheduleFile(MutableMapping[str, Any]):
    """As a shelve with `writeback`: values may be changed in place, and `sync` writes them."""

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        self.path = Path(filename)
        self._live: dict[str, Any] = {}
        self._lock: int | None = None
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        self._form, self._is_foreign = form_of(self.path)
        self._take_lock()
        try:
            self._kept = read(self.path)
        except BaseException:
            self._free_lock()
            raise
        self._written: dict[str, bytes] | None = dict(self._kept)

    def __getitem__(self, name: str) -> Any:
        if name not in self._live:
            self._live[name] = pickle.loads(self._kept[name])  # noqa: S301 - the operator's own file, as Celery reads it
        return self._live[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._live[name] = value
        self._kept.setdefault(name, b"")

    def __delitem__(self, name: str) -> None:
        del self._kept[name]
        self._live.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def sync(self) -> None:
        """Write what has changed; afterwards it is on the disk."""
        if self._written is None:
            return
        for name, value in self._live.items():
            self._kept[name] = pickle.dumps(value, _PROTOCOL)
        if self._kept == self._written and self._lock is not None:
            return
        self._check_lock()
        if self._is_foreign:
            self._free_lock()
            set_aside(self.path)
            self._is_foreign = False
        fresh = write(self.path, self._form, self._kept)
        old, self._lock = self._lock, fresh
        if old is not None:
            os.close(old)
        self._written = dict(self._kept)

    def close(self) -> None:
        """Write, and let others have it."""
        try:
            self.sync()
        finally:
            self._written = None
            self._free_lock()

    def discard(self) -> None:
        """Let others have it as it is on the disk."""
        self._written = None
        self._free_lock()

    # --- one process at a time

    @property
    def _locked(self) -> Path:
        return _with(self.path, ".dir" if self._form == "dbm.dumb" else _FORMS[self._form])

    def _take_lock(self) -> None:
        while True:
            try:
                opened = os.open(self._locked, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
            try:
                _lock(opened, self.path)
            except BaseException:
                os.close(opened)
                raise
            if _is(self._locked, opened):
                self._lock = opened
                return
            os.close(opened)  # it was replaced in between

    def _check_lock(self) -> None:
        """Who removes a file may do so; who puts another one there is another beat."""
        if self._lock is not None:
            if self._locked.exists() and not _is(self._locked, self._lock):
                raise InUse(errno.EBUSY, "Another process writes this schedule file", str(self.path))
        elif self._locked.exists():
            raise InUse(errno.EBUSY, "Another process made this schedule file", str(self.path))

    def _free_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def set_aside(filename: str | os.PathLike[str]) -> list[Path]:
    """Give all its files another name; answers these."""
    path, moved = Path(filename), []
    for suffix in SUFFIXES:
        there = _with(path, suffix)
        if not there.exists():
            continue
        number = 1
        while (other := there.with_name(f"{there.name}.aside{number}")).exists():
            number += 1
        there.rename(other)
        moved.append(other)
    return moved


# --- reading


def form_of(path: Path) -> tuple[str, bool]:
    """The form in which this file is to be written, and whether it now has one that cannot be kept."""
    found = dbm.whichdb(str(path))
    form = found if found is not None and _is_kept(found, path) else _first_choice()
    return form, found not in {None, form}


def _is_kept(form: str, path: Path) -> bool:
    """Whether a file of this form can be written as it is."""
    return form == "dbm.dumb" or (form in _FORMS and _can(form) and not _with(path, ".pag").exists())


def _first_choice() -> str:
    """What this Python would make, where a kill can be survived."""
    return next((form for form in ("dbm.sqlite3", "dbm.gnu") if _can(form)), "dbm.dumb")


def _can(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def read(path: Path) -> dict[str, bytes]:
    there = [suffix for suffix in (*SUFFIXES, *_BESIDE) if _with(path, suffix).exists()]
    if not there or there == [".bak"]:
        return {}
    with tempfile.TemporaryDirectory(prefix="celeriac-") as folder:
        copy = Path(folder, "schedule")
        try:
            for suffix in there:
                shutil.copyfile(_with(path, suffix), _with(copy, suffix))
            with _opened(copy) as opened:
                return {name.decode(): opened[name] for name in opened.keys()}  # noqa: SIM118 - a dbm is no mapping
        except Exception as problem:
            raise Unreadable(f"{path} cannot be read as a schedule: {problem!r}") from problem


def _opened(path: Path) -> Any:
    return dbm.open(str(path), "w")


# --- writing


def write(path: Path, form: str, values: dict[str, bytes]) -> int:
    """Replace it as a whole; a descriptor of the new one, which holds a lock on it."""
    return _write_dumb(path, values) if form == "dbm.dumb" else _write_one(path, form, values)


def _write_one(path: Path, form: str, values: dict[str, bytes]) -> int:
    final = _with(path, _FORMS[form])
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    made = _with(beside, _FORMS[form])
    try:
        with import_module(form).open(str(beside), "n") as db:
            for name, value in values.items():
                db[name.encode()] = value
        opened = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(opened)
        for suffix in _BESIDE:  # of the file that goes: sqlite3 would put it into the new one
            _with(path, suffix).unlink(missing_ok=True)
        return _place(opened, made, final)
    finally:
        made.unlink(missing_ok=True)


def _write_dumb(path: Path, values: dict[str, bytes]) -> int:
    data, index = _with(path, ".dat"), _with(path, ".dir")
    used = _regions(index)
    needed = sum(_blocks(len(value)) for value in values.values())
    at = 0 if all(needed <= start for start, _ in used) else max(start + _blocks(size) for start, size in used)
    lines, pieces, position = [], [], at
    for name, value in values.items():
        lines.append(f"{name!r}, {(position, len(value))!r}\n")
        pieces.append(value.ljust(_blocks(len(value)), b"\0"))
        position += _blocks(len(value))
    descriptor = os.open(data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.pwrite(descriptor, b"".join(pieces), at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside = index.with_name(f"{index.name}.{os.getpid()}.new")
    opened = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(opened, "".join(lines).encode("latin-1"))
        os.fsync(opened)
        return _place(opened, beside, index)
    finally:
        beside.unlink(missing_ok=True)


def _regions(index: Path) -> list[tuple[int, int]]:
    """What the present index names."""
    try:
        lines = index.read_text("latin-1").splitlines()
    except FileNotFoundError:
        return []
    return [literal_eval(line)[1] for line in lines if line.strip()]


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _place(opened: int, made: Path, final: Path) -> int:
    """Lock the new one, put it where the old one was, and see to it that the disk knows."""
    try:
        _lock(opened, final)
        made.replace(final)
        folder = os.open(final.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        os.close(opened)
        raise
    return opened


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is(path: Path, opened: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(opened))
    return False


def _lock(opened: int, path: Path) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse(errno.EBUSY, "Another process has this schedule file", str(path)) from None
    except OSError as problem:  # a file system without locks
        if problem.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise

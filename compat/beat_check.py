"""What beat would not start with, found before it goes into the background or beside a worker.

Law: nothing is changed and nobody is connected to. ImproperlyConfigured, or an OSError that names the file.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..worker import brokers
from ..worker.schedule_file import ScheduleFile, Unreadable
from .app.checking import imported
from .app.settings_for_broker import broker_options
from .beat import PersistentScheduler, ScheduleEntry, Scheduler, _Files, scheduler_class
from .exceptions import ImproperlyConfigured
from .utils.imports import cwd_in_path

__all__ = ("check", "check_there")


def check(app: Any, scheduler: Any, schedule_filename: Any) -> None:
    """Of the app, of the class of the scheduler, and of the file it would keep its times in."""
    for url in broker_options(app.conf, write=True).urls:
        brokers.check(url)
    cls = imported(lambda: scheduler_class(scheduler), scheduler, "the class of beat's scheduler")
    if not isinstance(cls, type):
        if not callable(cls):
            raise ImproperlyConfigured(f"{scheduler!r} is no class of a scheduler")
        return
    if not issubclass(cls, Scheduler):
        return  # somebody's own, from the ground
    app.backend  # noqa: B018 - whether a cleanup is to be scheduled is asked of it
    if _takes_what_is_configured(cls):
        for name, entry in app.conf.beat_schedule.items():
            _check_entry(app, name, entry)
    if issubclass(cls, PersistentScheduler):
        if cls.persistence is _Files:
            _check_file(Path(os.fspath(schedule_filename)))
    elif cls.__name__ == "LeasedScheduler":
        from .beat_entries import lease_of

        lease_of(app).close()


def check_there(scheduler: Any) -> None:
    """Whether there is such a package at all, without importing it."""
    root = str(scheduler).partition(":")[0].partition(".")[0]
    if not isinstance(scheduler, str) or root == str(scheduler):  # a class, or a name from an entry point
        return
    with cwd_in_path():
        if root not in sys.modules and find_spec(root) is None:
            raise ImproperlyConfigured(
                f"the class of beat's scheduler {scheduler!r} cannot be imported: No module named {root!r}"
            )


def _takes_what_is_configured(cls: type[Any]) -> bool:
    """Whether an entry that cannot be read ends it; some read them in their own way."""
    return cls.Entry is ScheduleEntry and cls.setup_schedule.__module__.startswith(__name__.rpartition(".")[0])


def _check_entry(app: Any, name: str, entry: Any) -> None:
    if not isinstance(entry, Mapping):
        if not isinstance(entry, ScheduleEntry):
            raise ImproperlyConfigured(f"beat_schedule: the entry {name!r} is no dictionary, but {entry!r}")
        return
    try:
        made = ScheduleEntry(**{"name": name, **entry, "app": app})
        when = made.schedule
    except Exception as problem:
        if isinstance(entry.get("schedule"), str):
            when = entry["schedule"]
        else:
            raise ImproperlyConfigured(f"beat_schedule: the entry {name!r} cannot be read: {problem}") from problem
    if not hasattr(when, "is_due"):
        raise ImproperlyConfigured(
            f"beat_schedule: the entry {name!r} has {when!r} for its schedule: write seconds, a timedelta, "
            "crontab(...) or solar(...)"
        )


def _check_file(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    with suppress(Unreadable):  # beat sets it aside
        ScheduleFile(path).discard()

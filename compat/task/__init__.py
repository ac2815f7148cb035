"""`celery.task` of Celery 4: programs of that age run, with one line that says what to write instead."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from .._state import current_app, current_task
from ..app.task import Task
from ..canvas import chord, group, subtask
from ..exceptions import CDeprecationWarning
from ..schedules import maybe_schedule

__all__ = (
    "BaseTask",
    "PeriodicTask",
    "Task",
    "chord",
    "current",
    "group",
    "periodic_task",
    "subtask",
    "task",
)  # fmt: skip

current = current_task
BaseTask = Task


def _tell() -> None:
    """Warns whoever imports this module: the first file below that does not belong to the import system."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        "importlib" in frame.f_code.co_filename or "/compat/" in frame.f_code.co_filename
    ):
        frame = frame.f_back
    warnings.warn_explicit(
        "celery.task is a module of Celery 4: write `@app.task` or `from celery import shared_task, Task`, "
        "and `beat_schedule` or `app.add_periodic_task` for periodic tasks.",
        CDeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
    )


_tell()


def task(*args: Any, **kwargs: Any) -> Any:
    """A task of the current app, and of every app that comes later."""
    from ..app import shared_task

    kwargs.pop("accept_magic_kwargs", None)
    return shared_task(*args, **kwargs)


def periodic_task(*args: Any, **options: Any) -> Any:
    """A task that beat sends every `run_every`."""
    return task(*args, base=PeriodicTask, **options)


class PeriodicTask(Task):  # type: ignore[type-arg,unused-ignore] # whatever it takes and returns
    """A task that puts itself into the schedule of its app."""

    abstract = True
    ignore_result = True
    relative = False
    options: Any = None
    compat = True
    run_every: Any = None

    def __init__(self) -> None:
        if self.run_every is None:
            raise NotImplementedError("Periodic tasks must have a run_every attribute")
        self.run_every = maybe_schedule(self.run_every, self.relative)
        super().__init__()

    @classmethod
    def on_bound(cls, app: Any) -> None:
        app.conf.beat_schedule[cls.name] = {
            "task": cls.name,
            "schedule": cls.run_every,
            "args": (),
            "kwargs": {},
            "options": cls.options or {},
            "relative": cls.relative,
        }


def __getattr__(name: str) -> Any:
    if name == "current_app":
        return current_app
    raise AttributeError(f"module 'celery.task' has no attribute {name!r}")

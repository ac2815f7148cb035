"""Celery's loggers, and what its log lines are written with.

Law: every logger of this package goes by its Celery name: `get_logger(__name__)` in compat/app/trace.py is
`celery.app.trace`, so that existing logging configuration finds it.
"""

from __future__ import annotations

import logging
import numbers
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .term import colored

__all__ = (
    "LOG_LEVELS",
    "ColorFormatter",
    "LoggingProxy",
    "base_logger",
    "get_logger",
    "get_multiprocessing_logger",
    "get_task_logger",
    "in_sighandler",
    "mlevel",
    "reset_multiprocessing_logger",
    "set_in_sighandler",
)  # fmt: skip

_NAMES = ("CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET")
LOG_LEVELS: dict[Any, Any] = {name: getattr(logging, name) for name in _NAMES}
LOG_LEVELS.update(
    {level: logging.getLevelName(level) for level in LOG_LEVELS.values()}  # both ways
)

MP_LOG = os.environ.get("MP_LOG") or False
RESERVED_LOGGER_NAMES = {"celery", "celery.task"}

_process_aware = False
_in_sighandler = False


def _quiet(name: str) -> logging.Logger:
    """The logger of this name, with a handler, so that Python's last resort does not speak for it."""
    found = logging.getLogger(name)
    if not found.handlers:
        found.addHandler(logging.NullHandler())
    return found


base_logger = logger = _quiet("celery")


def set_in_sighandler(value: bool) -> None:
    """Says whether a signal handler runs: nothing may then take a lock."""
    global _in_sighandler
    _in_sighandler = value


@contextmanager
def in_sighandler() -> Iterator[None]:
    """While this context lasts, a signal handler runs."""
    set_in_sighandler(value=True)
    try:
        yield
    finally:
        set_in_sighandler(value=False)


def iter_open_logger_fds() -> Iterator[Any]:
    """The streams of all handlers of all loggers."""
    seen: set[Any] = set()
    for known in [*logging.Logger.manager.loggerDict.values(), logging.getLogger(None)]:
        for handler in getattr(known, "handlers", ()):
            stream = getattr(handler, "stream", None)
            if stream is not None and handler not in seen:
                yield stream
                seen.add(handler)


def logger_isa(l: logging.Logger, p: logging.Logger, max: int = 1000) -> bool:  # noqa: E741 - Celery's name
    """Whether `p` is the logger itself, or above it."""
    this: logging.Logger | None = l
    seen = set()
    for _ in range(max):
        if this is None:
            return False
        if this == p:
            return True
        if this in seen:
            raise RuntimeError(f"Logger {l.name!r} parents recursive")
        seen.add(this)
        this = this.parent
    raise RuntimeError(f"Logger hierarchy exceeds {max}")


def _using_logger_parent(parent_logger: logging.Logger, logger_: logging.Logger) -> logging.Logger:
    if not logger_isa(logger_, parent_logger):
        logger_.parent = parent_logger
    return logger_


def get_logger(name: Any) -> logging.Logger:
    """The logger of this name, under Celery's own."""
    if isinstance(name, logging.Logger):
        name = name.name
    elif isinstance(name, str) and name.startswith("celeriac.compat"):
        name = "celery" + name[len("celeriac.compat") :]
    found = _quiet(name)
    if logging.root not in (found, found.parent) and found is not base_logger:
        found = _using_logger_parent(base_logger, found)
    return found


task_logger = get_logger("celery.task")
worker_logger = get_logger("celery.worker")


def get_task_logger(name: str) -> logging.Logger:
    """The logger for a module of tasks: its lines carry the task's name and id."""
    if name in RESERVED_LOGGER_NAMES:
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    return _using_logger_parent(task_logger, get_logger(name))


def mlevel(level: Any) -> Any:
    """A level as a number, whether it was named or numbered."""
    if level and not isinstance(level, numbers.Integral):
        return LOG_LEVELS[level.upper()]
    return level


def _safe_str(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        return str(value)
    except Exception as exc:  # noqa: BLE001 - a user's str may raise anything
        return f"<Unrepresentable {type(value)!r}: {exc!r}>"


class ColorFormatter(logging.Formatter):
    """Colours a line by how serious it is."""

    COLORS = colored().names
    colors = {
        "DEBUG": COLORS["blue"],
        "WARNING": COLORS["yellow"],
        "ERROR": COLORS["red"],
        "CRITICAL": COLORS["magenta"],
    }

    def __init__(self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def formatException(self, ei: Any) -> str:
        if ei and not isinstance(ei, tuple):
            ei = sys.exc_info()
        return super().formatException(ei)

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        color = self.colors.get(record.levelname)
        if not (color and self.use_color):
            return _safe_str(message)
        try:
            return str(color(_safe_str(message)))
        except Exception as exc:  # noqa: BLE001 - a line that cannot be coloured is still a line
            return f"<Unrepresentable {type(message)!r}: {exc!r}>"


class LoggingProxy:
    """A file that writes each line to a logger."""

    mode = "w"
    name: str | None = None
    closed = False
    loglevel: Any = logging.ERROR
    _thread = threading.local()

    def __init__(self, logger: logging.Logger, loglevel: Any = None) -> None:
        self.logger = logger
        self.loglevel = mlevel(loglevel or self.logger.level or self.loglevel)
        for handler in self.logger.handlers:
            handler.handleError = self._report  # type: ignore[method-assign]  # stderr may be this very proxy

    @staticmethod
    def _report(record: logging.LogRecord) -> None:
        if sys.__stderr__ is not None:
            try:
                traceback.print_exc(None, sys.__stderr__)
            except OSError:
                return  # nobody is there to be told

    def write(self, data: Any) -> int:
        """Logs the text; says how much of it."""
        if _in_sighandler:
            text = _safe_str(data)
            print(text, file=sys.__stderr__)
            return len(text)
        if getattr(self._thread, "recurse_protection", False):
            return 0  # the logger writes to this very file
        if data and not self.closed:
            self._thread.recurse_protection = True
            try:
                text = _safe_str(data).rstrip("\n")
                if text:
                    self.logger.log(self.loglevel, text)
                    return len(text)
            finally:
                self._thread.recurse_protection = False
        return 0

    def writelines(self, sequence: Iterable[Any]) -> None:
        """Logs each of them."""
        for part in sequence:
            self.write(part)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """From now on nothing is logged."""
        self.closed = True

    def isatty(self) -> bool:
        """It is no terminal."""
        return False


def get_multiprocessing_logger() -> logging.Logger | None:
    """The logger of the process library."""
    billiard: Any = sys.modules.get("billiard.util")
    if billiard is not None:
        return billiard.get_logger()  # type: ignore[no-any-return] # untyped beneath
    found = logging.getLogger("multiprocessing")
    found.propagate = False  # as the library has it: its lines are not written twice
    return found


def reset_multiprocessing_logger() -> None:
    """Lets the process library make its logger anew."""
    billiard: Any = sys.modules.get("billiard.util")
    if billiard is not None and hasattr(billiard, "_logger"):
        billiard._logger = None


def current_process() -> Any:
    """The process object of whichever process library is in use; None when none is loaded."""
    for library in ("billiard.process", "multiprocessing.process"):
        module = sys.modules.get(library)
        if module is not None:
            return module.current_process()
    return None


def current_process_index(base: int = 1) -> int | None:
    """Which child of the pool this is; None outside of a pool. A pool sets `index` on its process."""
    index = getattr(current_process(), "index", None)
    return index + base if index is not None else index

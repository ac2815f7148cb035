"""How a worker, and any other program of an app, logs: `app.log`.

Law: logging is set up once a process. A program that connects to the signal `setup_logging` does it all itself.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from .. import signals
from .._state import get_current_task
from ..exceptions import CDeprecationWarning, CPendingDeprecationWarning
from ..utils.log import (
    ColorFormatter,
    LoggingProxy,
    get_logger,
    get_multiprocessing_logger,
    mlevel,
    reset_multiprocessing_logger,
)
from ..utils.nodenames import node_format
from ..utils.term import colored

__all__ = ("Logging", "TaskFormatter")

MP_LOG = os.environ.get("MP_LOG", False)  # noqa: PLW1508  # as Celery has it


class TaskFormatter(ColorFormatter):
    """Lines of tasks: `%(task_name)s` and `%(task_id)s` are those of the task that runs."""

    def format(self, record: logging.LogRecord) -> str:
        task = get_current_task()
        if task and task.request:
            record.__dict__.update(task_id=task.request.id, task_name=task.name)
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)


class _OfTheClass:
    """An attribute of the class: its instances read it there, and set it there for all of them."""

    def __get__(self, instance: Any, owner: Any) -> bool:
        return bool((owner if instance is None else instance)._setup)  # it is its own attribute

    def __set__(self, instance: Any, value: bool) -> None:
        type(instance)._setup = value  # as above


class Logging:
    """The logging of one app."""

    _setup = False
    already_setup: Any = _OfTheClass()

    def __init__(self, app: Any) -> None:
        conf = app.conf
        self.app = app
        self.loglevel = mlevel(logging.WARNING)
        self.format = conf.worker_log_format
        self.datefmt = conf.worker_log_datefmt
        self.task_format = conf.worker_task_log_format
        self.task_datefmt = conf.worker_task_log_datefmt
        self.colorize = conf.worker_log_color

    def setup(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        redirect_stdouts: bool = False,
        redirect_level: Any = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> Any:
        """Set up all of it; child processes find what was asked for in the environment."""
        loglevel = mlevel(loglevel)
        handled = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)
        if not handled and redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        os.environ.update(
            CELERY_LOG_LEVEL=str(loglevel) if loglevel else "", CELERY_LOG_FILE=str(logfile) if logfile else ""
        )
        warnings.filterwarnings("always", category=CDeprecationWarning)
        warnings.filterwarnings("always", category=CPendingDeprecationWarning)
        logging.captureWarnings(True)
        return handled

    def redirect_stdouts(self, loglevel: Any = None, name: str = "celery.redirected") -> None:
        self.redirect_stdouts_to_logger(get_logger(name), loglevel=loglevel)
        os.environ.update(CELERY_LOG_REDIRECT="1", CELERY_LOG_REDIRECT_LEVEL=str(loglevel or ""))

    def setup_logging_subsystem(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        hostname: str | None = None,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Handlers for the root logger and for tasks, unless a receiver of `setup_logging` made them.

        None: it has been done before. What is returned otherwise are the receivers' answers.
        """
        if self.already_setup:
            return None
        if logfile and hostname:
            logfile = node_format(logfile, hostname)
        Logging._setup = True
        loglevel = mlevel(loglevel or self.loglevel)
        format = format or self.format
        datefmt = self.datefmt if datefmt is None else datefmt
        colorize = self.supports_color(colorize, logfile)
        reset_multiprocessing_logger()
        settings = {"loglevel": loglevel, "logfile": logfile, "format": format, "colorize": colorize}
        answers = signals.setup_logging.send(sender=None, **settings)
        for _, answer in answers:
            if isinstance(answer, Exception):
                Logging._setup = False
                raise answer
        if not answers:
            self._setup_loggers(datefmt=datefmt, **settings, **kwargs)
        os.environ.update(
            _MP_FORK_LOGLEVEL_=str(loglevel),
            _MP_FORK_LOGFILE_=logfile if isinstance(logfile, str) else "",
            _MP_FORK_LOGFORMAT_=format,
        )
        return answers

    def _setup_loggers(
        self, loglevel: Any, logfile: Any, format: str, colorize: bool | None, datefmt: str | None, **kwargs: Any
    ) -> None:
        root = logging.getLogger()
        if self.app.conf.worker_hijack_root_logger:
            root.handlers = []
            for name in ("celery", "celery.task", "celery.redirected"):
                get_logger(name).handlers = []
        self._configure_logger(root, logfile, loglevel, format, colorize, datefmt=datefmt, **kwargs)
        processes = loglevel if MP_LOG else logging.ERROR
        self._configure_logger(
            get_multiprocessing_logger(), logfile, processes, format, colorize, datefmt=datefmt, **kwargs
        )
        signals.after_setup_logger.send(
            sender=None, logger=root, loglevel=loglevel, logfile=logfile, format=format, colorize=colorize
        )
        self.setup_task_loggers(loglevel, logfile, colorize=colorize)

    def _configure_logger(
        self, logger: Any, logfile: Any, loglevel: Any, format: str, colorize: bool | None, **kwargs: Any
    ) -> None:
        if logger is not None:
            self.setup_handlers(logger, logfile, format, colorize, **kwargs)
            if loglevel:
                logger.setLevel(loglevel)

    def setup_task_loggers(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        propagate: bool = False,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> logging.Logger:
        """A handler for the loggers of tasks, on standard error if there is no file; their base logger."""
        loglevel = mlevel(loglevel or self.loglevel)
        format = format or self.task_format
        datefmt = self.task_datefmt if datefmt is None else datefmt
        colorize = self.supports_color(colorize, logfile)
        logger = get_logger("celery.task")
        self.setup_handlers(logger, logfile, format, colorize, formatter=TaskFormatter, datefmt=datefmt, **kwargs)
        logger.setLevel(loglevel)
        logger.propagate = propagate
        signals.after_setup_task_logger.send(
            sender=None, logger=logger, loglevel=loglevel, logfile=logfile, format=format, colorize=colorize
        )
        return logger

    def redirect_stdouts_to_logger(
        self, logger: logging.Logger, loglevel: Any = None, stdout: bool = True, stderr: bool = True
    ) -> LoggingProxy:
        """From now on what is printed is logged."""
        proxy = LoggingProxy(logger, loglevel)
        if stdout:
            sys.stdout = proxy
        if stderr:
            sys.stderr = proxy
        return proxy

    def supports_color(self, colorize: bool | None = None, logfile: Any = None) -> bool | None:
        """Whether lines get colours: on a terminal, unless somebody has said no."""
        colorize = self.colorize if colorize is None else colorize
        if self.app.IS_WINDOWS:
            return False
        if colorize or colorize is None:
            return logfile is None and _is_terminal(sys.stderr)
        return colorize

    def colored(self, logfile: Any = None, enabled: bool | None = None) -> Any:
        return colored(enabled=self.supports_color(enabled, logfile))

    def setup_handlers(
        self,
        logger: logging.Logger,
        logfile: Any,
        format: str,
        colorize: bool | None,
        formatter: Any = ColorFormatter,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> logging.Logger:
        """Give the logger a handler, unless it has one."""
        if self._is_configured(logger):
            return logger
        if self.app.conf.worker_json_logs:
            from .log_json import JsonFormatter as formatter  # it takes the other's place
        handler = self._detect_handler(logfile)
        handler.setFormatter(formatter(format, datefmt=datefmt, use_color=colorize))
        logger.addHandler(handler)
        return logger

    def _detect_handler(self, logfile: Any = None) -> logging.Handler:
        """For a file's name, an open file, or standard error."""
        logfile = sys.__stderr__ if logfile is None else logfile
        if hasattr(logfile, "write"):
            return logging.StreamHandler(logfile)
        from logging.handlers import WatchedFileHandler

        return WatchedFileHandler(logfile, encoding="utf-8")

    def _has_handler(self, logger: logging.Logger) -> bool:
        return any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers or [])

    def _is_configured(self, logger: logging.Logger) -> bool:
        return self._has_handler(logger) and not getattr(logger, "_rudimentary_setup", False)

    def get_default_logger(self, name: str = "celery", **kwargs: Any) -> logging.Logger:
        return get_logger(name)


def log_in_own_file(app: Any, hostname: str | None) -> None:
    """In a child of a pool, whose index the name of the log file asks for (`%i`, `%I`): from here on it has its own.

    Where the name does not ask for it, the child goes on in its parent's file.
    """
    said = os.environ.get
    name = said("CELERY_LOG_FILE") or ""
    if "%i" not in name.lower():
        return
    own = node_format(name, hostname or "")
    try:
        Path(own).open("a", encoding="utf-8").close()
    except OSError as problem:
        get_logger(__name__).warning("%s: this process goes on in the log of its worker", problem)
        return
    _leave_file(said("_MP_FORK_LOGFILE_") or "")
    Logging._setup = False
    app.log.__dict__.pop("_setup", None)
    redirect = bool(said("CELERY_LOG_REDIRECT"))
    level = int(said("CELERY_LOG_LEVEL") or 0)
    app.log.setup(level, name, redirect, said("CELERY_LOG_REDIRECT_LEVEL"), hostname=hostname)


def _leave_file(path: str) -> None:
    """Every logger of ours writes to it no more."""
    file = os.path.abspath(path)  # noqa: PTH100 - as the handlers write it
    names = (None, "celery", "celery.task", "celery.redirected")
    for logger in (*map(logging.getLogger, names), get_multiprocessing_logger()):
        for handler in list(logger.handlers) if logger else ():
            if getattr(handler, "baseFilename", None) == file:
                logger.removeHandler(handler)  # type: ignore[union-attr] # it has handlers
                handler.close()


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except AttributeError:
        return False

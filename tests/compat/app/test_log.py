"""Logging as Celery's, set up once a process, in Celery's format or as JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat import _state, signals
from celeriac.compat.app.base import Celery
from celeriac.compat.app.log import Logging, TaskFormatter
from celeriac.compat.app.log_json import JsonFormatter
from celeriac.compat.utils.log import ColorFormatter, LoggingProxy, get_logger, get_task_logger

NAMES = (None, "celery", "celery.task", "celery.redirected", "multiprocessing")


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loggers, streams and environment are after each test as they were before it."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    environment = dict(os.environ)
    monkeypatch.setattr(Logging, "_setup", False)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with warnings.catch_warnings():
        yield
    logging.captureWarnings(False)
    for logger, handlers, level, propagate in before:
        for handler in set(logger.handlers).difference(handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
    logging.Logger.manager._clear_cache()  # type: ignore[attr-defined]  # levels were set past it
    os.environ.clear()
    os.environ.update(environment)


def log(**conf: Any) -> Logging:
    app = Celery("x", set_as_current=False)
    app.conf.update(conf)
    return Logging(app)


@pytest.fixture
def running() -> Iterator[Any]:
    """A task that runs."""
    task = SimpleNamespace(name="proj.add", request=SimpleNamespace(id="6f1c", root_id="00aa"))
    _state._task_stack.push(task)
    yield task
    _state._task_stack.pop()


def test_the_whole(tmp_path: Path) -> None:
    one = log()
    file = tmp_path / "x.log"
    assert one.setup(loglevel="INFO", logfile=str(file), redirect_stdouts=True) == []
    logging.getLogger("anything").info("one %s", "line")
    get_task_logger("proj").info("from a task")
    print("printed")
    assert isinstance(sys.stdout, LoggingProxy)
    lines = file.read_text().splitlines()
    assert lines[0].endswith("INFO/MainProcess] one line")
    assert lines[1].endswith("INFO/MainProcess] ???[???]: from a task")
    assert lines[2].endswith("WARNING/MainProcess] printed")
    assert len(lines) == 3
    assert os.environ["CELERY_LOG_LEVEL"] == str(logging.INFO)
    assert os.environ["CELERY_LOG_FILE"] == os.environ["_MP_FORK_LOGFILE_"] == str(file)
    assert os.environ["CELERY_LOG_REDIRECT"] == "1"


def test_it_is_set_up_once() -> None:
    one = log()
    assert not Logging.already_setup
    assert one.setup_logging_subsystem(logfile=io.StringIO()) == []
    assert one.already_setup
    assert Logging.already_setup
    handlers = logging.getLogger().handlers[:]
    assert log().setup_logging_subsystem(logfile=io.StringIO()) is None
    assert logging.getLogger().handlers == handlers
    one.already_setup = False
    assert not one.already_setup


def test_a_receiver_does_it_all() -> None:
    seen: list[Any] = []

    def receiver(**told: Any) -> str:
        seen.append([told[name] for name in ("loglevel", "logfile", "format", "colorize")])
        return "done"

    signals.setup_logging.connect(receiver)
    before = logging.getLogger().handlers[:]
    try:
        answers = log(worker_log_format="F").setup(loglevel="ERROR", colorize=False, redirect_stdouts=True)
    finally:
        signals.setup_logging.disconnect(receiver)
    assert [answer for _, answer in answers] == ["done"]
    assert seen == [[logging.ERROR, None, "F", False]]
    assert logging.getLogger().handlers == before
    assert not isinstance(sys.stdout, LoggingProxy)


def test_a_receiver_that_fails_is_raised() -> None:
    def receiver(**_: Any) -> None:
        raise KeyError("broken logging")

    signals.setup_logging.connect(receiver)
    try:
        with pytest.raises(KeyError, match="broken logging"):
            log().setup_logging_subsystem()
    finally:
        signals.setup_logging.disconnect(receiver)
    assert not Logging.already_setup


def test_receivers_are_told_afterwards() -> None:
    seen: list[tuple[str, str]] = []

    def root(logger: logging.Logger, **_: Any) -> None:
        seen.append(("root", logger.name))

    def task(logger: logging.Logger, **_: Any) -> None:
        seen.append(("task", logger.name))

    signals.after_setup_logger.connect(root)
    signals.after_setup_task_logger.connect(task)
    try:
        log().setup_logging_subsystem(logfile=io.StringIO())
    finally:
        signals.after_setup_logger.disconnect(root)
        signals.after_setup_task_logger.disconnect(task)
    assert seen == [("root", "root"), ("task", "celery.task")]


def test_the_root_logger_may_stay_as_it_is() -> None:
    mine = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(mine)
    log(worker_hijack_root_logger=False).setup_logging_subsystem(logfile=io.StringIO())
    assert mine in logging.getLogger().handlers
    logging.getLogger().removeHandler(mine)


def test_a_file_for_each_node(tmp_path: Path) -> None:
    log().setup_logging_subsystem(logfile=str(tmp_path / "%n.log"), hostname="w1@host")
    assert (tmp_path / "w1.log").exists()


def test_lines_of_a_task(running: Any) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "hello", None, None)
    assert TaskFormatter("%(task_name)s[%(task_id)s]: %(message)s").format(record) == "proj.add[6f1c]: hello"


@pytest.mark.parametrize(
    ("colorize", "logfile", "terminal", "expected"),
    [
        (None, None, True, True),
        (True, None, True, True),
        (None, "file", True, False),
        (True, None, False, False),
        (False, None, True, False),
    ],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, colorize: Any, logfile: Any, terminal: bool, expected: bool) -> None:
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: terminal))
    assert log().supports_color(colorize, logfile) is expected
    assert log().colored(logfile, colorize).enabled is expected


def test_no_colours_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    one = log(worker_log_color=True)
    monkeypatch.setattr(sys, "stderr", object())
    assert one.supports_color() is False
    one.app.IS_WINDOWS = True
    assert one.supports_color(True) is False


def test_handlers_that_are_there_stay() -> None:
    one = log()
    logger = logging.getLogger("test_log.configured")
    first = one.setup_handlers(logger, io.StringIO(), "%(message)s", False).handlers[:]
    assert isinstance(first[0].formatter, ColorFormatter)
    assert one.setup_handlers(logger, io.StringIO(), "%(message)s", False).handlers == first
    assert one.get_default_logger() is get_logger("celery")


class TestJson:
    def line(self, stream: io.StringIO) -> Any:
        (line,) = stream.getvalue().splitlines()
        return json.loads(line)

    def test_by_one_setting(self, running: Any) -> None:
        stream = io.StringIO()
        log(worker_json_logs=True).setup_logging_subsystem(loglevel="INFO", logfile=stream)
        logging.getLogger("shop").info("sold %d", 3, extra={"item": "büch"})
        line = self.line(stream)
        assert line["time"].endswith("+00:00")
        del line["time"]
        assert line == {
            "level": "INFO",
            "logger": "shop",
            "process": "MainProcess",
            "pid": os.getpid(),
            "message": "sold 3",
            "task_id": "6f1c",
            "task_name": "proj.add",
            "root_id": "00aa",
            "item": "büch",
        }

    def test_line_breaks_forge_no_line(self) -> None:
        stream = io.StringIO()
        log(worker_json_logs=True).setup_logging_subsystem(loglevel="INFO", logfile=stream)
        forged = '1\n{"level": "CRITICAL"}\r\n\x0b\u2028'
        logging.getLogger("shop").info("Task %s received", forged, extra={"data": {"id": forged, "name": forged}})
        line, end = stream.getvalue().split("\n")
        assert not end
        told = json.loads(line)
        assert (told["task_id"], told["task_name"], told["message"]) == (forged, forged, f"Task {forged} received")

    def test_tasks_have_it_too(self, running: Any) -> None:
        stream = io.StringIO()
        log(worker_json_logs=True).setup_task_loggers(loglevel="INFO", logfile=stream)
        get_task_logger("proj").warning("from a task")
        assert self.line(stream)["task_id"] == "6f1c"

    def format(self, *args: Any, **kwargs: Any) -> Any:
        record = logging.LogRecord("x", logging.INFO, "f", 1, *args, None)
        record.__dict__.update(kwargs)
        return json.loads(JsonFormatter().format(record))

    def test_a_line_about_another_task(self, running: Any) -> None:
        line = self.format("received", None, data={"id": "77", "name": "proj.mul"})
        assert (line["task_id"], line["task_name"]) == ("77", "proj.mul")
        assert "root_id" not in line
        assert self.format("x", None, data={"id": "77", "root_id": "88"})["root_id"] == "88"

    def test_outside_of_tasks(self) -> None:
        assert "task_id" not in self.format("hello", None)

    def test_an_exception_is_one_field(self) -> None:
        try:
            {}["x"]
        except KeyError:
            info = sys.exc_info()
        line = self.format("failed", None, exc_info=info, stack_info="Stack (most recent call last):")
        assert line["exception"].splitlines()[-1] == "KeyError: 'x'"
        assert line["stack"].startswith("Stack")

    def test_what_cannot_be_shown_spoils_no_line(self) -> None:
        class Bad:
            def __str__(self) -> str:
                raise ValueError("no text")

        assert "not formatted" in self.format("%d", ("three",))["message"]
        assert "not shown" in self.format("x", None, thing=Bad())["thing"]

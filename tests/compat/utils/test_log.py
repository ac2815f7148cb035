"""Loggers go by Celery's names; a proxy logs what is written to it."""

from __future__ import annotations

import logging
import sys

import pytest

from celeriac.compat.utils import log


def test_our_modules_log_under_celerys_names() -> None:
    assert log.get_logger("celeriac.compat.app.trace").name == "celery.app.trace"
    assert log.get_logger("celeriac.compat").name == "celery"
    assert log.logger_isa(log.get_logger("celery.app.trace"), log.base_logger)


def test_task_loggers_stand_below_celery_task() -> None:
    mine = log.get_task_logger("tasks_of_this_test_alone")
    assert mine.parent is log.task_logger
    with pytest.raises(RuntimeError, match="reserved"):
        log.get_task_logger("celery.task")


def test_levels() -> None:
    assert (log.mlevel("info"), log.mlevel(10), log.mlevel(None)) == (logging.INFO, 10, None)
    assert log.LOG_LEVELS[logging.ERROR] == "ERROR"


def test_colours() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 1, "bad %s", ("luck",), None)
    assert log.ColorFormatter("%(message)s").format(record) == "\033[1;31mbad luck\033[0m"
    assert log.ColorFormatter("%(message)s", use_color=False).format(record) == "bad luck"


def test_a_proxy_logs_lines(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    proxy = log.LoggingProxy(logging.getLogger("written"), "WARNING")
    assert proxy.write("a line\n") == 6
    assert proxy.write("\n") == 0
    proxy.writelines(["one", b"two"])
    assert [record.getMessage() for record in caplog.records] == ["a line", "one", "two"]
    assert (proxy.isatty(), proxy.flush()) == (False, None)  # type: ignore[func-returns-value]
    with log.in_sighandler():
        sys.__stderr__, before = sys.stderr, sys.__stderr__
        try:
            assert proxy.write("in a handler") == 12
        finally:
            sys.__stderr__ = before
    assert capsys.readouterr().err == "in a handler\n"
    proxy.close()
    assert proxy.write("closed") == 0

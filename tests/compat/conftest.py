"""Between two tests of compat nothing is left of a worker, or a program's logging, that a test has played here."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from celeriac.compat import _state
from celeriac.compat.app.log import Logging


def _loggers() -> list[logging.Logger]:
    known = [each for name, each in logging.root.manager.loggerDict.items() if name.startswith("celery")]
    return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]


@pytest.fixture(autouse=True)
def nothing_is_left_of_a_worker() -> Iterator[None]:
    before = {logger: (logger.level, logger.propagate, list(logger.handlers)) for logger in _loggers()}
    yield
    _state._set_task_join_will_block(False)
    for logger in _loggers():
        level, propagate, handlers = before.get(logger, (logging.NOTSET, True, []))
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers
    Logging._setup = False

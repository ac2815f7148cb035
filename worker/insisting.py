"""What a worker sends of its own accord outlives the absence of its broker: the next step of a chain, callbacks,
errbacks, a chord's body, a retry. Nobody else knows of them once the task's message is acknowledged.

Law: only a broker that is not there is waited for. One that answers, and says no, is not asked again. Whoever waits
hears of a shutdown within a fraction of a second, and gives up then. What tasks send by themselves is not meant: that
has the policy of its call, `task_publish_retry_policy`.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from . import late

logger = late.logger("celery.worker.request")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_GLANCE = 0.2  # seconds between two looks whether the worker leaves
_TOLD = 30.0  # seconds between two lines in the log
_STARTING = ("LOADING", "MASTERDOWN")  # what a Redis answers that is not there yet
_DEEPEST = 10
_ORPHAN = 60.0  # seconds that a child waits whose worker is gone


class Insistence:
    """How long a worker insists: `seconds`, and no longer than it lives. Children that are forked share its end."""

    def __init__(self, seconds: float = math.inf) -> None:
        from mmap import mmap

        self.seconds = seconds
        self.pid = os.getpid()
        self._leaving = mmap(-1, 1)

    def begin(self) -> None:
        self._leaving[0] = 0

    def give_up(self) -> None:
        """The worker leaves: what cannot be sent now fails."""
        self._leaving[0] = 1

    def here(self) -> None:
        """What runs in this thread from now on runs for this worker."""
        _HERE.insistence = self

    def wait(self, pause: float, since: float) -> bool:
        """False: it is no use any more."""
        until = time.monotonic() + pause
        while not self._leaving[0] and time.monotonic() < since + self.limit:
            left = until - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, _GLANCE))
        return False

    @property
    def limit(self) -> float:
        orphan = os.getpid() != self.pid and os.getppid() != self.pid
        return min(self.seconds, _ORPHAN) if orphan else self.seconds

    def __reduce__(self) -> Any:
        """In a process that is not forked it ends by the clock alone."""
        return type(self), (min(self.seconds, _ORPHAN),)


class PutOff(BaseException):
    """There is no broker now for what a worker sends, and who sends it must not wait: it is to be begun again."""


class _Here(threading.local):
    insistence: Insistence | None = None
    own: Sending | None = None
    hurried = False


class Sending:
    """One thing that a worker sends: what it is, and since when the broker is away."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.since: float | None = None
        self.told = -math.inf
        self.pause = _FIRST_PAUSE


_HERE = _Here()


@contextmanager
def own(what: str) -> Generator[None, None, None]:
    """What is sent in here, a worker sends of its own accord."""
    before, _HERE.own = _HERE.own, Sending(what)
    try:
        yield
    finally:
        _HERE.own = before


@contextmanager
def hurried() -> Generator[None, None, None]:
    """What a worker sends in here raises `PutOff` where it would wait for its broker."""
    before, _HERE.hurried = _HERE.hurried, True
    try:
        yield
    finally:
        _HERE.hurried = before


def goes_on(problem: BaseException) -> bool:
    """Sending has failed as often as its policy says: whether it is tried once more, after a pause that this takes."""
    insistence, sending = _HERE.insistence, _HERE.own
    if _HERE.hurried and sending is not None and absent(problem):
        raise PutOff from problem
    if insistence is None or sending is None or not insistence.seconds or not absent(problem):
        return False
    now = time.monotonic()
    if sending.since is None:
        sending.since = now
    if now - sending.told >= _TOLD:
        sending.told = now
        logger.warning(
            "%s waits for the broker, and is sent when it is back: %s. It is given up when the worker stops.",
            sending.what,
            problem,
        )
    pause, sending.pause = sending.pause, min(sending.pause * 2, _LONGEST_PAUSE)
    if insistence.wait(pause, sending.since):
        return True
    logger.error("%s is given up, unsent: %s", sending.what, problem)
    return False


def absent(problem: BaseException) -> bool:
    """Whether nobody answered, or somebody who is only just starting."""
    seen: BaseException | None = problem
    for _ in range(_DEEPEST):
        if seen is None:
            return False
        if isinstance(seen, OSError) or any(word in str(seen) for word in _STARTING):
            return True
        seen = seen.__cause__ or seen.__context__
    return False

"""A connection to the broker that is made again whenever it is lost.

Law: whoever has it never waits for it: connecting is a thread's work, which ends by its own deadlines; the worker's
thread picks up what came of it in `tend`, and is woken for that.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Any

from .brokers.base import Broker
from .ids import chance

log = logging.getLogger("celery.worker.consumer.consumer")

_FIRST_PAUSE, _LONGER_BY, _LONGEST_PAUSE = 2.0, 2.0, 32.0
"""Stock workers' seconds between two tries, by which `most` is counted: our patience is theirs."""
_AWAY = 4.0
"""But nobody stays away for longer from a broker that may be back."""
_UNEVEN = 0.25
_NEVER = float("inf")
_NO_RETRY = (
    "Retrying to establish a connection to the message broker after a connection loss has been disabled "
    "(app.conf.%s=False)"
)  # Celery's words, by which monitors know it


class GivenUp(Exception):
    """It could not be made, and is not to be tried again."""


class Kept:
    """`up` is called with each new broker and `down` when it is lost, both in the worker's thread."""

    def __init__(
        self,
        connect: Callable[[], Broker],
        *,
        shown: str,
        wake: Callable[[], None],
        up: Callable[[Broker, float], None],
        down: Callable[[float], None],
        retry: bool = True,
        retry_at_start: bool = True,
        most: int | None = None,
    ) -> None:
        self.broker: Broker | None = None
        self._connect = connect
        self._shown = shown
        self._wake = wake
        self._up = up
        self._down = down
        self._retry = retry
        self._retry_at_start = retry_at_start
        self._most = most
        self._before = False
        self._tries = 0
        self._waited = self._counted = 0.0
        self._at: float = 0
        self._dialing = False
        self._made: Any = None
        self._closed = False

    def tend(self, now: float) -> float:
        """Make it, if it is not there and it is time. When to call again."""
        made, self._made = self._made, None
        if made is not None:
            self._dialing = False
            if isinstance(made, BaseException):
                self._failed(made, now)
            else:
                self._succeeded(made, now)
        if self.broker is not None or self._closed or self._dialing:
            return _NEVER
        if now >= self._at:
            self._dialing = True
            threading.Thread(target=self._dial, name="connect", daemon=True).start()
            return _NEVER
        return self._at

    def _dial(self) -> None:
        try:
            self._made = self._connect()
        except BaseException as problem:  # noqa: BLE001 - it is told in the worker's thread
            self._made = problem
        self._wake()

    def _succeeded(self, broker: Broker, now: float) -> None:
        if self._closed:
            broker.close()
            return
        self.broker = broker
        try:
            self._up(broker, now)
        except operational() as problem:
            self.lost(problem, now)
            self._at = now + self._pause()  # it would fail again at once
            return
        self._before, self._tries = True, 0
        self._waited = self._counted = 0.0

    def _failed(self, problem: BaseException, now: float) -> None:
        if not isinstance(problem, operational()):
            raise problem
        again = self._retry if self._before else self._retry_at_start
        if not again:
            setting = "broker_connection_retry" if self._before else "broker_connection_retry_on_startup"
            raise GivenUp(f"Cannot connect to {self._shown}: {problem}. {_NO_RETRY % setting}") from problem
        pause = self._pause()
        if self._most is not None and self._tries > self._most:
            raise GivenUp(f"Cannot connect to {self._shown} after {self._most} tries: {problem}") from problem
        again_text = f"Trying again in {pause:.2f} seconds... ({self._tries}/{self._most or 'inf'})"
        log.error("consumer: Cannot connect to %s: %s.\n%s\n", self._shown, problem, again_text)
        self._at = now + pause

    def _pause(self) -> float:
        """A little less for some than for others: a fleet does not come back in one instant."""
        if self._waited >= self._counted:
            self._counted += min(_FIRST_PAUSE + _LONGER_BY * self._tries, _LONGEST_PAUSE)
            self._tries += 1
        pause = min(_FIRST_PAUSE + _LONGER_BY * (self._tries - 1), _AWAY)
        self._waited += pause
        return pause * (1 - _UNEVEN * chance())

    def lost(self, problem: BaseException, now: float) -> None:
        """It raised `OperationalError`: that was its end."""
        broker, self.broker = self.broker, None
        if broker is None:
            return
        if self._before and not self._retry:
            reason = _NO_RETRY % "broker_connection_retry"
            raise GivenUp(f"The connection to {self._shown} was lost: {problem}. {reason}") from problem
        log.warning("consumer: Connection to broker lost. Trying to re-establish the connection... (%r)", problem)
        broker.close()
        self._down(now)
        self._at = now

    def close(self) -> None:
        self._closed = True
        broker, self.broker = self.broker, None
        if broker is not None:
            broker.close()


def held_out(most: int | None) -> float:
    """For how many seconds a worker tries so often to connect."""
    if most is None:
        return math.inf
    return float(sum(min(_FIRST_PAUSE + _LONGER_BY * n, _LONGEST_PAUSE) for n in range(most)))


def operational() -> type[Exception]:
    from kombu.exceptions import OperationalError

    error: type[Exception] = OperationalError
    return error

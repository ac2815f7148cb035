"""worker-online, worker-heartbeat, worker-offline: a sign of life every other second."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

from .events import Dispatcher

SOFTWARE: Mapping[str, str] = {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": platform.system()}
_EVERY = 2.0


class Heart:
    """`counts`: how many tasks run, how many were accepted so far. `sent` is called after each event that has left.

    `interval` and `eventer` are Celery's names: receivers of `heartbeat_sent` are given this object.
    """

    def __init__(
        self,
        events: Dispatcher,
        counts: Callable[[], tuple[int, int]],
        every: float | None = None,
        sent: Callable[[Heart], object] = lambda _heart: None,
    ) -> None:
        self.eventer = events
        self.interval = float(every or _EVERY)
        self._counts = counts
        self._sent = sent
        self._at = float("inf")
        self._told = False

    def begin(self, now: float) -> None:
        self._beat("worker-online")
        self._at = now + self.interval

    def tend(self, now: float) -> float:
        if now >= self._at:
            self._at = now + self.interval
            self._beat("worker-heartbeat")
        return self._at

    def end(self) -> None:
        self._beat("worker-offline")

    def _beat(self, kind: str) -> None:
        active, processed = self._counts()
        fields = {"freq": self.interval, "active": active, "processed": processed, **load(), **SOFTWARE}
        if self.eventer.worker(kind, fields):
            self._sent(self)


def load() -> dict[str, Any]:
    try:
        return {"loadavg": [round(value, 2) for value in os.getloadavg()]}
    except OSError:
        return {"loadavg": [0.0, 0.0, 0.0]}

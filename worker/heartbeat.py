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
    """`counts`: how many tasks run, how many were accepted so far."""

    def __init__(self, events: Dispatcher, counts: Callable[[], tuple[int, int]], every: float | None = None) -> None:
        self._events = events
        self._counts = counts
        self.every = float(every or _EVERY)
        self._at = float("inf")
        self._told = False

    def begin(self, now: float) -> None:
        self._beat("worker-online")
        self._at = now + self.every

    def tend(self, now: float) -> float:
        if now >= self._at:
            self._at = now + self.every
            self._beat("worker-heartbeat")
        return self._at

    def end(self) -> None:
        self._beat("worker-offline")

    def _beat(self, kind: str) -> None:
        active, processed = self._counts()
        self._events.worker(kind, {"freq": self.every, "active": active, "processed": processed, **load(), **SOFTWARE})


def load() -> dict[str, Any]:
    try:
        return {"loadavg": [round(value, 2) for value in os.getloadavg()]}
    except OSError:
        return {"loadavg": [0.0, 0.0, 0.0]}

"""`Heart`: a worker's heartbeat events, for who sends some himself. The worker's own are `worker.heartbeat`."""

from __future__ import annotations

from typing import Any

from .state import SOFTWARE_INFO, active_requests, all_total_count

__all__ = ("Heart",)


class Heart:
    """Every `interval` seconds, by a timer."""

    def __init__(self, timer: Any, eventer: Any, interval: float | None = None) -> None:
        self.timer = timer
        self.eventer = eventer
        self.interval = float(interval or 2.0)
        self.tref: Any = None

    def _send(self, event: str, retry: bool = True) -> Any:
        return self.eventer.send(
            event,
            freq=self.interval,
            active=len(active_requests),
            processed=all_total_count[0],
            retry=retry,
            **SOFTWARE_INFO,
        )

    def start(self) -> None:
        if self.eventer.enabled:
            self._send("worker-online")
            self.tref = self.timer.call_repeatedly(self.interval, self._send, ("worker-heartbeat",))

    def stop(self) -> None:
        if self.tref is not None:
            self.timer.cancel(self.tref)
            self.tref = None
        if self.eventer.enabled:
            self._send("worker-offline", retry=False)

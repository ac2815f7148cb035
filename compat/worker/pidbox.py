"""The mailbox of remote control by Celery's names. The worker has its own (`worker.control`), always."""

from __future__ import annotations

from typing import Any

__all__ = ("Pidbox", "gPidbox")


class Pidbox:
    """Commands reach the worker's desk, whoever starts or stops this."""

    consumer: Any = None

    def __init__(self, c: Any) -> None:
        self.c = c
        self.hostname = c.hostname

    def on_message(self, body: Any, message: Any) -> Any:
        """A command, as kombu hands it over: `{"method": ..., "arguments": ...}`."""
        desk = self.c.controller.worker.desk
        return desk.answer(body.get("method"), body.get("arguments") or {})

    def start(self, c: Any) -> None:
        """It listens already."""

    def on_stop(self) -> None: ...

    def stop(self, c: Any) -> None:
        self.on_stop()

    def reset(self) -> None:
        """The worker does so with each connection."""

    def shutdown(self, c: Any) -> None:
        self.on_stop()


class gPidbox(Pidbox):
    """The same, for pools of greenlets."""

    def loop(self, c: Any) -> None:
        """The worker's own serves it."""

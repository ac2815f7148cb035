"""The bootstep `Connection`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps

__all__ = ("Connection",)


class Connection(bootsteps.StartStopStep):
    """`consumer.connection` is kombu's: made when it is used, closed when the worker loses its own."""

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)

    def start(self, c: Any) -> None:
        """The worker has connected."""

    def close_connection(self, c: Any) -> None:
        c.drop_connection()

    def shutdown(self, c: Any) -> None:
        c.drop_connection()

    def info(self, c: Any) -> dict[str, Any]:
        return {"broker": dict(c.controller.worker.broker_info()) if c.controller.worker else "N/A"}

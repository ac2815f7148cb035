"""The bootstep `Mingle`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .events import Events

__all__ = ("Mingle",)


class Mingle(bootsteps.StartStopStep):
    """Revoked tasks and the clock, asked of the other workers at the start."""

    label = "Mingle"
    requires: Any = (Events,)
    compatible_transports = frozenset({"amqp", "redis", "gcpubsub"})

    def __init__(self, c: Any, without_mingle: bool = False, **kwargs: Any) -> None:
        self.enabled = not without_mingle
        super().__init__(c, without_mingle=without_mingle, **kwargs)

    def compatible_transport(self, app: Any) -> bool:
        with app.connection_for_read() as connection:
            return connection.transport.driver_type in self.compatible_transports

    def start(self, c: Any) -> None:
        """The worker has asked, when it connected."""

    # For who wants to ask once more.

    def sync(self, c: Any) -> None:
        for name, reply in self.send_hello(c).items():
            if reply:
                self.on_node_reply(c, name, reply)

    def send_hello(self, c: Any) -> dict[str, Any]:
        inspect = c.app.control.inspect(timeout=1.0)
        replies = inspect.hello(c.hostname, list(c.controller.state.revoked)) or {}
        replies.pop(c.hostname, None)
        return replies

    def on_node_reply(self, c: Any, nodename: str, reply: Any) -> None:
        self.sync_with_node(c, **reply)

    def sync_with_node(self, c: Any, clock: Any = None, revoked: Any = None, **kwargs: Any) -> None:
        self.on_clock_event(c, clock)
        self.on_revoked_received(c, revoked)

    def on_clock_event(self, c: Any, clock: Any) -> None:
        c.app.clock.adjust(clock) if clock else c.app.clock.forward()

    def on_revoked_received(self, c: Any, revoked: Any) -> None:
        if revoked:
            c.controller.state.merge_revoked(revoked)

"""The bootstep `Gossip`: its place in the order. The worker does the work."""

from __future__ import annotations

from typing import Any

from ... import bootsteps
from .mingle import Mingle

__all__ = ("Gossip",)


class Gossip(bootsteps.ConsumerStep):
    """What workers hear of each other."""

    label = "Gossip"
    requires: Any = (Mingle,)
    compatible_transports = frozenset({"amqp", "redis"})

    def __init__(
        self,
        c: Any,
        without_gossip: bool = False,
        interval: float = 5.0,
        heartbeat_interval: float = 2.0,
        **kwargs: Any,
    ) -> None:
        self.enabled = not without_gossip
        self.app = c.app
        c.gossip = self
        self._consumer = c
        self.interval = interval
        self.heartbeat_interval = heartbeat_interval
        super().__init__(c, **kwargs)

    def get_consumers(self, channel: Any) -> list[Any]:
        return []

    def start(self, c: Any) -> None:
        """The worker listens itself."""

    def compatible_transport(self, app: Any) -> bool:
        with app.connection_for_read() as connection:
            return connection.transport.driver_type in self.compatible_transports

    # The worker's own gossip does these (`worker.gossip`); who extends the class is not asked.

    def on_elect(self, event: Any) -> None: ...

    def on_elect_ack(self, event: Any) -> None: ...

    def on_message(self, prepare: Any, message: Any) -> None: ...

    def on_node_join(self, worker: Any) -> None: ...

    def on_node_leave(self, worker: Any) -> None: ...

    def on_node_lost(self, worker: Any) -> None: ...

    def periodic(self) -> None: ...

    def register_timer(self) -> None: ...

    def election(self, id: str, topic: str, action: Any = None) -> None:
        native = self._consumer.controller.worker.gossip
        if native is not None:
            native.elect(id, topic, action)

    def call_task(self, task: Any) -> None:
        self._consumer.controller.worker.owner.send_signature(task)

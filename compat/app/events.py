"""`app.events`: the classes that send and receive events, each bound to its app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

__all__ = ("Events",)


class Events:
    """Shortcuts to `celery.events`."""

    receiver_cls: Any = "celery.events.receiver:EventReceiver"
    dispatcher_cls: Any = "celery.events.dispatcher:EventDispatcher"
    state_cls: Any = "celery.events.state:State"

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @cached_property
    def Receiver(self) -> Any:
        return self.app.subclass_with_self(self.receiver_cls, reverse="events.Receiver")

    @cached_property
    def Dispatcher(self) -> Any:
        return self.app.subclass_with_self(self.dispatcher_cls, reverse="events.Dispatcher")

    @cached_property
    def State(self) -> Any:
        return self.app.subclass_with_self(self.state_cls, reverse="events.State")

    @contextmanager
    def default_dispatcher(
        self, hostname: Any = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[Any]:
        """A dispatcher on a connection of the pool."""
        with (
            self.app.amqp.producer_pool.acquire(block=True) as producer,
            self.Dispatcher(
                producer.connection, hostname, enabled, producer.channel, buffer_while_offline
            ) as dispatcher,
        ):
            yield dispatcher

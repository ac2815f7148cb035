"""What packages reach through a consumer: its events, its prefetch, the queues that it takes from."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any


class Eventer:
    """`consumer.event_dispatcher`: the worker's own, by the names of `celery.events.EventDispatcher`."""

    connection: Any = None
    serializer = "json"
    buffer_while_offline = True

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.hostname = consumer.hostname
        self.app = consumer.app
        self.groups: set[str] = set()

    @property
    def _native(self) -> Any:
        worker = self._consumer.controller.worker
        return None if worker is None else worker.events

    @property
    def enabled(self) -> bool:
        return self._native is not None and self._native.on

    def send(self, type: str, blind: bool = False, utcoffset: Any = None, retry: bool = False, **fields: Any) -> None:
        native = self._native
        if native is None:
            return
        if type.startswith("task-"):
            if native.on:
                native.task(type, fields)
        else:
            native.worker(type, fields)

    def enable(self) -> None:
        if self._native is not None:
            self._native.on = self._native.exists

    def disable(self) -> None:
        if self._native is not None:
            self._native.on = False

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """The worker does so in its turns."""

    def close(self) -> None:
        """It is the worker's."""


class Prefetch:
    """`consumer.qos`: how much is taken ahead. The worker sees to it; what is said here is not needed."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    @property
    def value(self) -> int:
        core = self._consumer.core
        return int(self._consumer.initial_prefetch_count if core is None else core.deliveries.slots)

    prev = value

    def increment_eventually(self, n: int = 1) -> int:
        return self.value

    decrement_eventually = increment_eventually

    def set(self, pcount: int) -> int:
        return pcount

    def update(self) -> int:
        return self.value


class Tasked:
    """`consumer.task_consumer`: the queues."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    @property
    def channel(self) -> Any:
        return self._consumer.connection.default_channel

    @property
    def queues(self) -> list[Any]:
        return list(self._consumer.app.amqp.queues.consume_from.values())

    def consuming_from(self, queue: Any) -> bool:
        core = self._consumer.core
        return core is not None and getattr(queue, "name", queue) in core.queues

    def add_queue(self, queue: Any) -> Any:
        self._consumer.add_task_queue(queue)
        return queue

    def consume(self, no_ack: Any = None) -> None:
        """It does already."""

    def cancel_by_queue(self, queue: Any) -> None:
        self._consumer.cancel_task_queue(getattr(queue, "name", queue))

    def cancel(self) -> None:
        """Take nothing more."""
        core = self._consumer.core
        if core is not None:
            self._stop_taking(core, list(core.queues))

    def _stop_taking(self, core: Any, names: Iterable[str]) -> None:
        for name in names:
            core.queues.pop(name, None)
        core.listen(time.time())

    close = cancel

"""The worker's events: task events are gathered and sent together, worker events at once.

Law: an event that cannot be sent is dropped with a line in the log at debug level; no task waits for its events.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..protocol.wire import event
from .brokers.base import Broker, Parcel, Queue

log = logging.getLogger("celery.worker.consumer.events")

_KEPT = 10_000  # while nobody takes them


class Dispatcher:
    """`on`: task events are wanted. `exists`: there is a dispatcher at all, as Celery sees it."""

    def __init__(
        self,
        hostname: str,
        forward: Callable[[], int],
        *,
        on: bool,
        exists: bool = True,
        exchange: str = event.EXCHANGE,
    ) -> None:
        self.on = on and exists
        self.exists = exists
        self.hostname = hostname
        self._forward = forward
        self._exchange = exchange
        self._pid = os.getpid()
        self._offset = _hours_west()
        self._gathered: list[dict[str, Any]] = []
        self._broker: Broker | None = None
        self._topic = "topic"

    def connected(self, broker: Broker, topic: str) -> None:
        """`topic`: what kind of exchange events go to there. It is made here: perhaps nobody else is there to do it."""
        if self.exists:
            broker.declare([Queue("", self._exchange, topic)])
        self._broker, self._topic = broker, topic

    def disconnected(self) -> None:
        self._broker = None

    @property
    def waiting(self) -> bool:
        return bool(self._gathered) and self._broker is not None

    def task(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Gathered for the next `flush`."""
        self._gathered.append(self._document(kind, fields))
        if len(self._gathered) > _KEPT:
            del self._gathered[: event.BATCH]

    def worker(self, kind: str, fields: Mapping[str, Any]) -> bool:
        """At once; dropped while there is no connection, which is answered."""
        if self._broker is None or not self.exists:
            return False
        body = event.build_batch([self._document(kind, fields)])[1:-1]
        self._broker.send([self._parcel(body, event.routing_key(kind))])
        return True

    def flush(self) -> None:
        """Raises what the broker raises; what was gathered is then gone."""
        if self._broker is None or not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        key = event.batch_key()
        parcels = []
        for part in event.batches(gathered):
            try:
                parcels.append(self._parcel(event.build_batch(part), key))
            except (TypeError, ValueError, RecursionError) as problem:  # noqa: PERF203 - the others are to be sent
                log.debug("Events that cannot be written: %r", problem)
        self._broker.send(parcels)

    def _document(self, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return event.document(
            kind,
            fields,
            hostname=self.hostname,
            utcoffset=self._offset,
            pid=self._pid,
            clock=self._forward(),
            timestamp=time.time(),
        )

    def _parcel(self, body: bytes, key: str) -> Parcel:
        return Parcel(event.message(body, self.hostname), key, self._exchange, self._topic)


def _hours_west() -> float:
    west = time.altzone if time.daylight and time.localtime().tm_isdst else time.timezone
    return west / 3600

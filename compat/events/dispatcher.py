"""`EventDispatcher`: sends events, one at once or many together.

Law: given a kombu connection or channel it publishes there, as Celery's does; given none it sends through the app's
own way to its broker. What cannot be sent now is kept for `flush`, up to `OFFLINE_LIMIT` events, the newest of them.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...protocol.rules.routing import Queue as LightQueue
from ..app import app_or_default
from ..utils.nodenames import anon_nodename
from ..utils.time import utcoffset
from .event import Event, exchange_type, group_from

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ("EventDispatcher",)

OFFLINE_LIMIT = 100_000

_DRIVERS = {".redis": "redis", ".embedded": "redis", ".amqp": "amqp", ".memory": "memory"}
"""What kombu calls the kinds of broker that are ours."""


def driver_of(app: Any) -> str:
    """kombu's name for the kind of broker that the app has. Connects to nothing."""
    known = _DRIVERS.get(app.amqp.outlet.kind)
    return known or str(app.connection_for_write().transport.driver_type)


class EventDispatcher:
    """Sends events of one host. Events of other `groups` than these are dropped, None is all of them."""

    DISABLED_TRANSPORTS = {"sql"}

    app: Any = None
    on_enabled: Any = None
    on_disabled: Any = None

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: Any = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: Any = 1,
        buffer_group: Any = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], Any] | None = None,
    ) -> None:
        self.app = app_or_default(app or self.app)
        if not connection and channel:
            connection = channel.connection.client
        self.connection = connection
        self.channel = channel
        self.hostname = hostname or anon_nodename()
        self.headers = {"hostname": self.hostname}
        self.pid = os.getpid()
        self.tzoffset = [-time.timezone, -time.altzone]
        self.clock = self.app.clock
        self.serializer = serializer or self.app.conf.event_serializer
        self.delivery_mode = delivery_mode
        self.groups = set(groups or ())
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = buffer_group or frozenset()
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.on_enabled: set[Callable[[], Any]] = set()
        self.on_disabled: set[Callable[[], Any]] = set()
        self.mutex = threading.Lock()
        self.producer: Any = None
        self._closed = False
        self._group_buffer: Any = defaultdict(list)
        self._outbound_buffer: deque[Any] = deque(maxlen=OFFLINE_LIMIT)
        self.enabled = enabled and self._driver not in self.DISABLED_TRANSPORTS
        if self.enabled:
            self.enable()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- where events go

    @cached_property
    def _driver(self) -> Any:
        return self.connection.transport.driver_type if self.connection else driver_of(self.app)

    @cached_property
    def exchange(self) -> Any:
        """kombu's."""
        from kombu.entity import Exchange

        return Exchange(self.app.conf.event_exchange, type=exchange_type(self._driver))

    @cached_property
    def _light_exchange(self) -> LightQueue:
        """The same for those who can do without kombu: no queue, but its exchange."""
        return LightQueue("", self.app.conf.event_exchange, exchange_type(self._driver), "")

    # --- on and off

    def enable(self) -> None:
        """Send from now on."""
        with self.mutex:
            self.producer = self._new_producer()
            self._closed = False
            self.enabled = True
        for callback in self.on_enabled:
            callback()

    def _new_producer(self) -> Any:
        place = self.channel or self.connection
        if not place:
            return self.app.amqp.outlet
        from kombu.messaging import Producer

        return Producer(place, exchange=self.exchange, serializer=self.serializer, auto_declare=False)

    def disable(self) -> None:
        """Send nothing from now on."""
        if not self.enabled:
            return
        self.enabled = False
        self.close()
        for callback in self.on_disabled:
            callback()

    def close(self) -> None:
        """Send nothing more by itself. Waits for what is being sent; `publish` with a producer works all the same."""
        with self.mutex:
            self._closed = True
            self.producer = None

    @property
    def publisher(self) -> Any:
        """An old name of `producer`."""
        return self.producer

    @publisher.setter
    def publisher(self, producer: Any) -> None:
        self.producer = producer

    # --- sending

    def send(
        self,
        type: str,
        blind: bool = False,
        utcoffset: Callable[[], float] = utcoffset,
        retry: bool = False,
        retry_policy: Any = None,
        Event: Any = Event,
        **fields: Any,
    ) -> Any:
        """Send an event, or gather it with others of its group. `blind`: without a time on the logical clock."""
        if not self.enabled:
            return None
        group = group_from(type)
        if self.groups and group not in self.groups:
            return None
        if group in self.buffer_group:
            return self._gather(group, self._new_event(type, fields, False, Event, utcoffset))
        event = self._new_event(type, fields, blind, Event, utcoffset)
        with self.mutex:
            if self._closed:
                return None
            return self._publish(event, self.producer, type.replace("-", "."), retry, retry_policy)

    def publish(
        self, type: str, fields: Any, producer: Any, blind: bool = False, Event: Any = Event, **kwargs: Any
    ) -> Any:
        """Send an event by this producer. It does not matter whether the dispatcher is enabled, or closed."""
        event = self._new_event(type, fields, blind, Event, utcoffset)
        with self.mutex:
            return self._publish(event, producer, routing_key=type.replace("-", "."), **kwargs)

    def _new_event(self, type: str, fields: Any, blind: bool, Event: Any, utcoffset: Callable[[], float]) -> Any:
        clock = None if blind else self.clock.forward()
        return Event(type, hostname=self.hostname, utcoffset=utcoffset(), pid=self.pid, clock=clock, **fields)

    def _gather(self, group: str, event: Any) -> None:
        gathered = self._group_buffer[group]
        gathered.append(event)
        if len(gathered) >= self.buffer_limit:
            self.flush()
        elif self.on_send_buffered:
            self.on_send_buffered()

    def _publish(
        self,
        event: Any,
        producer: Any,
        routing_key: str,
        retry: bool = False,
        retry_policy: Any = None,
        utcoffset: Any = None,
    ) -> None:
        if producer is None:
            return
        ours = producer is self.app.amqp.outlet
        try:
            producer.publish(
                event,
                routing_key=routing_key,
                exchange=self.app.conf.event_exchange,
                retry=retry,
                retry_policy=retry_policy,
                declare=[self._light_exchange if ours else self.exchange],
                serializer=self.serializer,
                headers=self.headers,
                delivery_mode=self.delivery_mode,
            )
        except Exception:
            if not self.buffer_while_offline:
                raise
            self._outbound_buffer.append((event, routing_key))

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what could not be sent (`errors`) and what was gathered (`groups`). What fails is kept again."""
        with self.mutex:
            if self._closed:
                return
            if errors:
                kept = list(self._outbound_buffer)
                self._outbound_buffer.clear()
                for event, routing_key in kept:
                    self._publish(event, self.producer, routing_key)
            if groups:
                for group in list(self._group_buffer):
                    self._flush_group(group)

    def _flush_group(self, group: str) -> None:
        """Others may add to what is gathered while this is sent: they gather for the next time."""
        gathered = self._group_buffer[group]
        batch = list(gathered)
        if batch:
            self._publish(batch, self.producer, f"{group}.multi")
            del gathered[: len(batch)]

    def extend_buffer(self, other: EventDispatcher) -> None:
        """Take over what another one could not send."""
        self._outbound_buffer.extend(other._outbound_buffer)

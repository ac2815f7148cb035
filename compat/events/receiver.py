"""`EventReceiver`: hears the events of a cluster and hands each to its handler.

Law: given a kombu connection or channel it consumes there, as Celery's does. Given nothing, or a broker of ours, it
listens through that. What is no event is passed over with a line in the log: nobody's message ends a monitor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from operator import itemgetter
from typing import Any

from kombu.connection import maybe_channel
from kombu.entity import Exchange, Queue
from kombu.mixins import ConsumerMixin

from ...worker.brokers.base import Broker, Delivery
from ..app import app_or_default
from ..exceptions import ImproperlyConfigured
from ..utils import uuid
from ..utils.log import get_logger
from ..utils.time import adjust_timestamp
from .dispatcher import driver_of
from .event import exchange_type, get_exchange

__all__ = ("EventReceiver",)

CLIENT_CLOCK_SKEW = -1
_TZGETTER = itemgetter("utcoffset", "timestamp")
_AT_ONCE = 1000
_LONGEST_PAUSE = 32.0

logger = get_logger(__name__)

_of_kombu: Any = ConsumerMixin  # it is not typed


class EventReceiver(ConsumerMixin):
    """Hears events. `handlers`: type of event -> function; `*` gets those that no other is for."""

    app: Any = None

    def __init__(
        self,
        channel: Any = None,
        handlers: Any = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Any = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
    ) -> None:
        self.app = app_or_default(app or self.app)
        conf = self.app.conf
        self._broker: Broker | None = channel if _is_broker(channel) else None
        self.channel = None if self._broker is not None else maybe_channel(channel)
        self.handlers = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id or uuid()
        self.queue_prefix = queue_prefix or conf.event_queue_prefix
        exclusive = conf.event_queue_exclusive if queue_exclusive is None else queue_exclusive
        durable = conf.event_queue_durable if queue_durable is None else queue_durable
        if exclusive and durable:
            raise ImproperlyConfigured(
                "A queue for events is exclusive or durable: unset event_queue_exclusive or event_queue_durable."
            )
        self.exchange = self._exchange(conf.event_exchange)
        self.queue = Queue(
            f"{self.queue_prefix}.{self.node_id}",
            exchange=self.exchange,
            routing_key=routing_key,
            auto_delete=not durable,
            durable=durable,
            exclusive=exclusive,
            message_ttl=conf.event_queue_ttl if queue_ttl is None else queue_ttl,
            expires=conf.event_queue_expires if queue_expires is None else queue_expires,
        )
        self.clock = self.app.clock
        self.adjust_clock = self.clock.adjust
        self.forward_clock = self.clock.forward
        self.accept = {conf.event_serializer, "json"} if accept is None else accept

    def _exchange(self, name: str) -> Any:
        if self.channel is not None:
            return get_exchange(self.connection, name=name)
        return Exchange(name, type=exchange_type(driver_of(self.app)))

    @property
    def connection(self) -> Any:
        """kombu's, if that is what was given."""
        return self.channel.connection.client if self.channel else None

    # --- hearing

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Hear events until `should_stop` is set, or an error comes: TimeoutError when none came for so long."""
        for _ in self.consume(limit=limit, timeout=timeout, wakeup=wakeup):
            pass

    def itercapture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> Any:
        """As `capture`; comes back after each message."""
        return self.consume(limit=limit, timeout=timeout, wakeup=wakeup)

    def consume(
        self, limit: int | None = None, timeout: float | None = None, safety_interval: float = 1, **kwargs: Any
    ) -> Any:
        """Hear events; comes back after each message."""
        if self.channel is not None:
            return _of_kombu.consume(self, limit=limit, timeout=timeout, safety_interval=safety_interval, **kwargs)
        return self._listen(limit, timeout, safety_interval, **kwargs)

    def run(self, _tokens: int = 1, **kwargs: Any) -> None:
        """Hear events until `should_stop` is set, over lost connections too."""
        if self.channel is not None:
            _of_kombu.run(self, _tokens, **kwargs)
            return
        from kombu.exceptions import OperationalError

        pause = 1.0
        while not self.should_stop:
            try:
                for _ in self.consume(limit=None, **kwargs):
                    pause = 1.0
            except OperationalError as problem:  # noqa: PERF203 - once a connection
                if self._broker is not None:
                    raise  # whoever gave it closes it
                logger.warning("No events: %s. Trying again in %s seconds.", problem, pause)
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _listen(
        self, limit: int | None, timeout: float | None, safety_interval: float, **kwargs: Any
    ) -> Iterator[None]:
        from ..app.mailing import connect

        hooks: Any = self  # kombu's class is not typed
        with ExitStack() as stack:
            broker = self._broker
            if broker is None:
                broker = stack.enter_context(closing(connect(self.app)))
            broker.listen(self.app.amqp.outlet.declared([self.queue]), credit=0x7FFF, acks=False)
            self.on_consume_ready(None, None, [], **kwargs)
            heard, since = 0, time.monotonic()
            while not self.should_stop and not (limit and heard >= limit):
                hooks.on_iteration()
                broker.tend(time.time())
                room = _AT_ONCE if limit is None else min(_AT_ONCE, limit - heard)
                for delivery in broker.take(room, safety_interval):
                    self._read(delivery)
                    heard, since = heard + 1, time.monotonic()
                    yield
                if timeout and time.monotonic() - since >= timeout:
                    raise TimeoutError(f"no event for {timeout} seconds")

    def _read(self, delivery: Delivery) -> None:
        from kombu.serialization import loads, prepare_accept_content

        message = delivery.message
        try:
            body = loads(
                message.body, message.content_type, message.content_encoding, accept=prepare_accept_content(self.accept)
            )
        except Exception as problem:  # noqa: BLE001 - whatever a decoder raises: it is one message
            logger.warning("An event cannot be read: %r", problem)
            return
        self._receive(body, message)

    def wakeup_workers(self, channel: Any = None) -> None:
        """Ask every worker for a heartbeat, so that we know of it."""
        from kombu.exceptions import OperationalError

        connection = self.connection
        try:
            self.app.control.broadcast("heartbeat", connection=connection, channel=channel)
        except OperationalError:
            if connection is not None:
                raise
            self.app.control.broadcast("heartbeat")  # the first one was sent by a connection that had died in the pool

    # --- what kombu's loop asks for

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        return [Consumer(queues=[self.queue], callbacks=[self._receive], no_ack=True, accept=self.accept)]

    def on_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, wakeup: bool = True, **kwargs: Any
    ) -> None:
        if wakeup:
            self.wakeup_workers(channel=channel)

    # --- one message

    def _receive(self, body: Any, message: Any) -> None:
        for event in body if isinstance(body, list) else (body,):
            if isinstance(event, dict) and isinstance(event.get("type"), str):
                self.process(*self.event_from_message(event))
            else:
                logger.warning("This is no event, it has no type: %.200r", event)

    def process(self, type: str, event: Any) -> None:
        """Give an event to its handler."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler:
            handler(event)

    def event_from_message(
        self,
        body: Any,
        localize: bool = True,
        now: Callable[[], float] = time.time,
        tzfields: Callable[[Any], Any] = _TZGETTER,
        adjust_timestamp: Callable[..., float] = adjust_timestamp,
        CLIENT_CLOCK_SKEW: int = CLIENT_CLOCK_SKEW,
    ) -> tuple[str, Any]:
        """Complete an event: its clock, its time as ours (`localize`), and when it came. Moves our clock."""
        if body["type"] == "task-sent":  # clients hear nobody: what their clocks say means nothing
            body["clock"] = (self.clock.value or 1) + CLIENT_CLOCK_SKEW
            self.adjust_clock(body["clock"])
        elif isinstance(body.get("clock"), int):
            self.adjust_clock(body["clock"])
        else:
            body["clock"] = self.forward_clock()
        if localize:
            try:
                offset, timestamp = tzfields(body)
                body["timestamp"] = adjust_timestamp(timestamp, offset)
            except (KeyError, TypeError):
                pass  # it does not say where its clock stands
        body["local_received"] = now()
        return body["type"], body


def _is_broker(given: Any) -> bool:
    return all(hasattr(given, name) for name in ("listen", "take", "tend"))

"""How the messages of an app leave: what kombu's producer does, through the brokers of worker/.

Law: an `Outlet` publishes as `kombu.Producer.publish` does, with its arguments; whoever gives a kombu producer is
published for through that one. What only kombu can serialize, compress or declare is left to kombu.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property

from ...protocol.errors import BadCall
from ...protocol.hints import Any
from ...protocol.rules.routing import Queue as LightQueue
from ...protocol.wire.message import Message, Posting, properties_of
from ...protocol.wire.serializers import encode
from ...worker import brokers
from ...worker.broker_options import BrokerOptions
from ...worker.brokers.base import Parcel, Queue
from ...worker.producer import Patience, Producer
from .. import signals
from .defaults import DEFAULTS
from .settings_for_broker import broker_options

_DELIVERY_MODES = {"transient": 1, "persistent": 2, "1": 1, "2": 2}
_REDIS = (".redis", ".embedded")
_TURN = 30.0  # seconds that a thread waits for a connection, where the configuration sets no bound


def kind_of(url: str) -> str:
    """The module that serves this URL, see `worker.brokers.TABLE`."""
    return brokers.TABLE.get(url.partition("://")[0].partition("+")[0], brokers.FALLBACK)


class Outlet:
    """What an app sends through."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._native: dict[Any, tuple[Queue, ...]] = {}
        self._by_kombu: dict[int, Any] = {}

    @cached_property
    def told(self) -> BrokerOptions:
        return broker_options(self.app.conf, write=True)

    @cached_property
    def kind(self) -> str:
        return kind_of(self.told.urls[0])

    @cached_property
    def producer(self) -> Producer:
        told = self.told
        options = {"heartbeat": 0, **told.options} if self.kind == ".amqp" else told.options  # nobody idle sends one
        return Producer.to(
            told.urls, options, timeout=told.timeout, limit=told.pool_limit, wait=told.pool_wait or _TURN
        )

    def close(self) -> None:
        """Leave the broker. The next send reads the configuration anew."""
        self.__dict__.pop("told", None)
        self.__dict__.pop("kind", None)
        producer = self.__dict__.pop("producer", None)
        if producer is not None:
            producer.close()

    @property
    def serializer(self) -> Any:
        return self.app.conf.task_serializer

    @property
    def connection(self) -> Any:
        """A kombu connection, for backends that declare or publish by themselves."""
        return self.app.pool.connection if hasattr(self.app.pool, "connection") else self.app.connection_for_write()

    @property
    def channel(self) -> Any:
        return self.connection.default_channel

    def publish(
        self,
        body: Any,
        routing_key: str | None = None,
        delivery_mode: Any = None,
        mandatory: bool = False,
        immediate: bool = False,
        priority: Any = 0,
        content_type: str | None = None,
        content_encoding: str | None = None,
        serializer: str | None = None,
        headers: dict[str, Any] | None = None,
        compression: str | None = None,
        exchange: Any = None,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        declare: Iterable[Any] | None = None,
        expiration: float | None = None,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **properties: Any,
    ) -> None:
        """What `kombu.Producer.publish` does. Every wait has the deadlines of the connection.

        `confirm_timeout`, or else `timeout`, is for RabbitMQ's answer; other brokers have no use for it, in kombu too.
        """
        headers = {} if headers is None else headers
        if content_type is None:
            content_type, content_encoding, content = serialized(body, serializer or self.serializer)
        else:
            content_encoding = content_encoding or ("utf-8" if isinstance(body, str) else "binary")
            content = body.encode(content_encoding) if isinstance(body, str) else body
        if compression:
            content, headers["compression"] = compressed(content, compression)
        declare = list(declare or ())
        message = Message(
            content,
            content_type,
            content_encoding,
            headers,
            _properties(properties, delivery_mode, priority, expiration),
        )
        name, kind = _exchange(exchange, declare)
        queues = self.declared(declare)
        parcel = Parcel(message, routing_key or "", name, kind)
        within = timeout if confirm_timeout is None else confirm_timeout
        self.producer.send([parcel], queues, patience(retry, retry_policy), within)

    def declared(self, entities: Sequence[Any]) -> tuple[Queue, ...]:
        """kombu's queues, or light ones, as a broker declares them. What no broker of ours can, kombu has declared."""
        if len(entities) == 1:
            return self._declared(entities[0])
        return tuple(queue for entity in entities for queue in self._declared(entity))

    def _declared(self, entity: Any) -> tuple[Queue, ...]:
        if isinstance(entity, LightQueue):
            known = self._native.get(entity)
            if known is None:
                queue = Queue(entity.name, entity.exchange, entity.exchange_type, entity.routing_key)
                known = self._native[entity] = (queue,)
            return known
        if getattr(entity, "no_declare", False):
            return ()
        queues = _native(entity)
        if queues is None:
            self._declare_by_kombu(entity)
            return ()
        return queues

    def _declare_by_kombu(self, entity: Any) -> None:
        if self._by_kombu.get(id(entity)) is entity:
            return
        from kombu.common import maybe_declare

        with self.app.connection_or_acquire() as connection:
            maybe_declare(entity, connection.default_channel)
        self._by_kombu[id(entity)] = entity

    def tell(self, kind: str, fields: Mapping[str, Any], retry: bool, policy: Mapping[str, Any]) -> None:
        """Publish an event."""
        from ...protocol.wire import event  # for who sends events, `task_send_sent_event`
        from .amqp import origin

        conf, hostname = self.app.conf, origin()
        document = event.document(
            kind,
            fields,
            hostname=hostname,
            utcoffset=_hours_west(),
            pid=int(hostname[3 : hostname.index("@")]),
            clock=self.app.clock.forward(),
            timestamp=time.time(),
        )
        content_type, content_encoding, body = serialized(document, conf.event_serializer)
        message = Message(body, content_type, content_encoding, *_event_parts(hostname))
        exchange = conf.event_exchange
        exchange_type = "fanout" if self.kind in _REDIS else "topic"
        parcel = Parcel(message, event.routing_key(kind), exchange, exchange_type)
        self.producer.send([parcel], (Queue("", exchange, exchange_type),), patience(retry, policy))


def _event_parts(hostname: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from ...protocol.wire import event

    like = event.message(b"", hostname)
    return like.headers, like.properties


def _hours_west() -> float:
    return (time.altzone if time.localtime().tm_isdst else time.timezone) / 3600


_TOO_DEEP = (
    "The arguments, or what follows the task, are nested deeper than Python can write (sys.getrecursionlimit() is {}: "
    "room for some 480 links, or chord bodies, each in the one before). Put them side by side, chains instead of "
    "links, or raise the limit here and in the workers, which have to read it."
)
# What `kombu.Connection.ensure` takes; a connection that is new needs no reviving here, and says so to nobody.
_POLICY = frozenset({"errback", "interval_max", "interval_start", "interval_step", "max_retries", "retry_errors"})


_CONNECTING = frozenset({"errback", "interval_max", "interval_start", "interval_step", "max_retries"})


def publish_policy(conf: Any) -> Any:
    """`task_publish_retry_policy`. What kombu's policy of connecting says in `broker_transport_options` is said of
    sends too: where that setting is not set it counts, as it bounds a send of stock Celery's to a broker that is away.
    """
    policy = conf.task_publish_retry_policy
    told = conf.broker_transport_options or {}
    if policy != DEFAULTS["task_publish_retry_policy"] or _CONNECTING.isdisjoint(told):
        return policy
    return {**policy, **{name: told[name] for name in _CONNECTING if name in told}}


def patience(retry: Any, policy: Mapping[str, Any] | None) -> Patience | None:
    """kombu's retry policy. Without a number of retries there is no end to them, as in kombu."""
    if not retry:
        return None
    policy = policy or {}
    if not _POLICY.issuperset(policy):
        strange = ", ".join(repr(name) for name in policy if name not in _POLICY)
        raise TypeError(f"retry_policy knows {', '.join(sorted(_POLICY))}, not {strange}")
    return Patience(
        retries=policy.get("max_retries"),
        first_pause=policy.get("interval_start") or 0.0,
        longer_by=policy.get("interval_step") or 0.0,
        longest_pause=_number(policy.get("interval_max"), 1.0),
        errors=tuple(policy.get("retry_errors") or ()),
        tell=policy.get("errback"),
    )


def _number(value: Any, default: float) -> float:
    return default if value is None else float(value)


def serialized(body: Any, serializer: str) -> tuple[str, str, bytes]:
    """As a body. What ours cannot write, kombu may: serializers and types that were registered there."""
    try:
        return encode(body, serializer)
    except BadCall as problem:
        if isinstance(problem.__cause__, RecursionError):
            from kombu.exceptions import EncodeError

            raise EncodeError(_TOO_DEEP.format(sys.getrecursionlimit())) from problem
        from kombu.serialization import dumps

        content_type, content_encoding, payload = dumps(body, serializer=serializer)
        return content_type, content_encoding, payload.encode() if isinstance(payload, str) else payload


def compressed(body: bytes, compression: str) -> tuple[bytes, str]:
    from ...protocol.wire.compression import BUILTIN as COMPRESSIONS
    from ...protocol.wire.compression import compress

    if compression in COMPRESSIONS:
        return compress(body, compression)
    from kombu.compression import compress as compress_by_kombu
    from kombu.compression import encoders

    try:
        payload, content_type = compress_by_kombu(body, compression)
    except KeyError:
        there = sorted({*COMPRESSIONS, *encoders()})
        names = ", ".join(name for name in there if "/" not in name)
        raise _unknown_compression()(f"no compression {compression!r}; there are {names}") from None
    return payload, content_type


@cache
def _unknown_compression() -> type[Exception]:
    """By the broker stock Celery raises the one or the other."""
    from kombu.exceptions import OperationalError

    class UnknownCompression(OperationalError, KeyError):
        """No compression of this name."""

        __str__ = Exception.__str__

    return UnknownCompression


def _properties(given: dict[str, Any], delivery_mode: Any, priority: Any, expiration: Any) -> dict[str, Any]:
    reply_to = given.get("reply_to")
    if reply_to is not None and not isinstance(reply_to, str):
        given["reply_to"] = reply_to.name
    mode = _DELIVERY_MODES.get(delivery_mode, delivery_mode) or 2
    left = None if expiration is None else str(int(expiration * 1000))
    posting = Posting(delivery_mode=mode, priority=priority, expiration=left, extra=given)
    properties = properties_of("", posting)
    for name in ("correlation_id", "reply_to"):
        if name not in given:
            del properties[name]
    return properties


def _exchange(exchange: Any, declare: Sequence[Any]) -> tuple[str, str]:
    """Its name and its type, which a name alone does not tell."""
    if exchange is None or exchange == "":
        return "", "direct"
    if not isinstance(exchange, str):
        return exchange.name, exchange.type
    for entity in declare:
        for bound in getattr(entity, "bindings", None) or (entity,):
            name, kind, _ = seen(bound)
            if name == exchange:
                return exchange, kind or "direct"
    return exchange, "direct"


def seen(queue: Any) -> tuple[str, str | None, Any]:
    """The exchange of a queue: its name, its type, how it delivers."""
    if isinstance(queue, LightQueue):
        return queue.exchange, queue.exchange_type, None
    exchange = getattr(queue, "exchange", queue)
    return getattr(exchange, "name", ""), getattr(exchange, "type", None), getattr(exchange, "delivery_mode", None)


def _native(entity: Any) -> tuple[Queue, ...] | None:
    """A kombu queue with its bindings; None for what our brokers have no words for."""
    if not hasattr(entity, "routing_key"):
        return None
    exchange = entity.exchange
    special = (
        not entity.name
        or entity.binding_arguments
        or getattr(entity, "on_declared", None)
        or (exchange is not None and (exchange.arguments or exchange.passive or exchange.no_declare))
        or any(bound.arguments for bound in entity.bindings)
    )
    if special:
        return None
    # A queue with bindings of its own is bound by those alone: kombu loses its exchange on the way to the broker.
    places = [(bound.exchange, bound.routing_key or "") for bound in entity.bindings if bound.exchange is not None]
    if not entity.bindings and exchange is not None and exchange.name:
        places = [(exchange, entity.routing_key or "")]
    return tuple(_queue(entity, where, key) for where, key in places) or (_queue(entity, None, ""),)


def _queue(entity: Any, exchange: Any, routing_key: str) -> Queue:
    arguments = dict(entity.queue_arguments or {})
    limits = (
        ("x-message-ttl", entity.message_ttl and int(float(entity.message_ttl) * 1000)),
        ("x-max-length", entity.max_length),
        ("x-max-length-bytes", entity.max_length_bytes),
        ("x-max-priority", entity.max_priority),
    )
    arguments.update((name, int(limit)) for name, limit in limits if limit is not None)
    return Queue(
        entity.name,
        exchange=exchange.name if exchange else "",
        exchange_type=exchange.type if exchange else "direct",
        routing_key=routing_key,
        durable=entity.durable,
        exclusive=entity.exclusive,
        auto_delete=entity.auto_delete,
        expires=entity.expires,
        arguments=arguments,
        exchange_durable=exchange.durable if exchange else True,
        exchange_auto_delete=exchange.auto_delete if exchange else False,
    )


class TaskSender:
    """`app.amqp.send_task_message`: from a message that is not written yet to the broker, with signals and events."""

    def __init__(self, amqp: Any) -> None:
        self._amqp = amqp
        self._app = amqp.app

    def __call__(
        self,
        producer: Any,
        name: str,
        message: Any,
        exchange: Any = None,
        routing_key: str | None = None,
        queue: Any = None,
        event_dispatcher: Any = None,
        retry: bool | None = None,
        retry_policy: Mapping[str, Any] | None = None,
        serializer: str | None = None,
        delivery_mode: Any = None,
        compression: str | None = None,
        declare: Any = None,
        headers: Mapping[str, Any] | None = None,
        exchange_type: str | None = None,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        amqp, conf = self._amqp, self._app.conf
        headers2, properties, body, sent_event = message
        if headers:
            headers2.update(headers)
        if kwargs:
            properties.update(kwargs)
        if conf.task_send_timestamp:
            properties.setdefault("timestamp", int(time.time()))
        queue, qname = self._queue(queue, exchange, light=self._may_be_light(producer))
        exchange, routing_key = self._place(queue, qname, exchange, routing_key, exchange_type)
        if delivery_mode is None:
            delivery_mode = (seen(queue)[2] if queue is not None else None) or conf.task_default_delivery_mode
        if declare is None and queue is not None and type(queue).__name__ != "Broadcast":
            declare = [queue]
        retry = conf.task_publish_retry if retry is None else retry
        policy = {**publish_policy(conf), **(retry_policy or {})}
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            _show_signatures(self._app, body)
        if signals.before_task_publish.receivers:
            signals.before_task_publish.send(
                sender=name,
                body=body,
                exchange=exchange,
                routing_key=routing_key,
                declare=declare,
                headers=headers2,
                properties=properties,
                retry_policy=policy,
            )
        done = producer.publish(
            body,
            exchange=exchange,
            routing_key=routing_key,
            serializer=serializer or conf.task_serializer,
            compression=compression or conf.task_compression,
            retry=retry,
            retry_policy=policy,
            delivery_mode=delivery_mode,
            declare=declare,
            headers=headers2,
            timeout=timeout,
            confirm_timeout=confirm_timeout,
            **properties,
        )
        if signals.after_task_publish.receivers:
            signals.after_task_publish.send(
                sender=name, body=body, headers=headers2, exchange=exchange, routing_key=routing_key
            )
        if signals.task_sent.receivers:
            signals.task_sent.send(sender=name, task=name, **_sent(headers2, body))
        if sent_event:
            sent_event.update(queue=qname, exchange=getattr(exchange, "name", exchange), routing_key=routing_key)
            if event_dispatcher is None and isinstance(producer, Outlet):
                producer.tell("task-sent", sent_event, retry, policy)
            else:
                dispatcher = event_dispatcher or amqp._event_dispatcher
                dispatcher.publish("task-sent", sent_event, producer, retry=retry, retry_policy=policy)
        return done

    def _may_be_light(self, producer: Any) -> bool:
        return isinstance(producer, Outlet) and self._amqp.is_plain and not signals.before_task_publish.receivers

    def _queue(self, queue: Any, exchange: Any, *, light: bool) -> tuple[Any, str | None]:
        """The queue and its name, where the message is for one. Those who look at it get kombu's."""
        amqp = self._amqp
        queues = amqp.light_router.queues if light else None
        if queue is None:
            if exchange is not None:
                return None, None
            queue = amqp.default_queue if queues is None else queues[self._app.conf.task_default_queue]
        if isinstance(queue, str):
            return (amqp.queues if queues is None else queues)[queue], queue
        if isinstance(queue, LightQueue) and queues is None:
            queue = amqp.queues[queue.name]
        return queue, queue.name

    def _place(
        self, queue: Any, qname: str | None, exchange: Any, routing_key: str | None, exchange_type: str | None
    ) -> tuple[Any, str | None]:
        """Where it is published: to a direct exchange by the queue's name, but for who says otherwise twice."""
        own, kind, _ = seen(queue) if queue is not None else ("", None, None)
        if (not exchange or not routing_key) and (exchange_type or kind or "direct") == "direct":
            return "", qname
        if exchange is None:
            exchange = own or (self._amqp.default_exchange if queue is None else self._app.conf.task_default_exchange)
            routing_key = routing_key or queue.routing_key or self._app.conf.task_default_routing_key
        return exchange, routing_key


def _show_signatures(app: Any, body: Any) -> None:
    """Receivers see what follows a task as signatures, which are written as they were."""
    from ..canvas import Signature

    def shown(one: Any) -> Any:
        if not isinstance(one, dict) or isinstance(one, Signature) or "subtask_type" not in one:
            return one
        kind: Any = Signature.TYPES.get(one["subtask_type"], Signature)
        made = kind.__new__(kind)  # not `from_dict`, which would compose it anew
        made.update(one)
        made._app = app
        return made

    following = body[2] if isinstance(body, tuple) else body
    for name in ("callbacks", "errbacks", "chain"):
        if following.get(name):
            following[name] = [shown(each) for each in following[name]]
    following["chord"] = shown(following.get("chord"))


def _sent(headers: Mapping[str, Any], body: Any) -> dict[str, Any]:
    """What the signal `task_sent` is sent with."""
    if isinstance(body, tuple):
        return {
            "task_id": headers["id"],
            "args": body[0],
            "kwargs": body[1],
            "eta": headers["eta"],
            "taskset": headers["group"],
        }
    return {
        "task_id": body["id"],
        "args": body["args"],
        "kwargs": body["kwargs"],
        "eta": body["eta"],
        "taskset": body["taskset"],
    }

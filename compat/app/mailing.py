"""Remote control as the app sees it: a command to the workers, and their replies.

Law: what goes over the wire is `protocol/wire/control`'s, how it gets there is `worker/brokers`'. Whoever waits for
replies has a connection and a reply queue for that alone, so that nobody takes another's, and leaves nothing behind.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from typing import Any

from ...protocol.errors import BadMessage
from ...protocol.values import replace
from ...protocol.wire import control
from ...protocol.wire.message import Message
from ...protocol.wire.message_reading import Reader
from ...protocol.wire.serializers import accepted
from ...worker import brokers
from ...worker.brokers import failover
from ...worker.brokers.base import Broker, Parcel, Queue
from ..backends.foreign import codecs
from .producing import kind_of
from .settings_for_broker import broker_options

_AT_ONCE = 100  # replies in one taking


def connect(app: Any) -> Broker:
    """A connection of one's own to the broker that the app sends to."""
    told = broker_options(app.conf, write=True)
    options = {**told.options, "heartbeat": 0} if kind_of(told.urls[0]) == ".amqp" else told.options
    return failover.first_that_answers(
        told.urls, lambda each: brokers.connect(each, options, told.timeout), options.get("failover_strategy")
    )


def cast(app: Any, request: control.Request) -> None:
    """Tell the workers, and wait for nobody."""
    app.amqp.outlet.producer.send([_parcel(app, request)], (_requests(app),))


def ask(
    app: Any, request: control.Request, timeout: float, limit: int | None, callback: Callable[[Any], Any] | None
) -> list[dict[str, Any]]:
    """Tell the workers, and give what they reply: `{node: reply}` each, in the order of arrival.

    Ends after `limit` replies, or when none has come for `timeout` seconds.
    """
    oid, ticket = str(uuid.uuid4()), str(uuid.uuid4())
    exchange = f"reply.{app.conf.control_exchange}.pidbox"
    home = _replies(app, exchange, oid)
    request = replace(request, ticket=ticket, reply_to=control.ReplyTo(exchange, oid), expires=time.time() + timeout)
    with closing(connect(app)) as broker:
        broker.listen([home], credit=0x7FFF, acks=False)
        broker.declare([_requests(app)])
        broker.send([_parcel(app, request)])
        return list(_replies_to(app, broker, ticket, timeout, limit, callback))


def _replies_to(
    app: Any,
    broker: Broker,
    ticket: str,
    timeout: float,
    limit: int | None,
    callback: Callable[[Any], Any] | None,
) -> Any:
    left = count() if limit is None else range(limit)
    arrived: list[Any] = []
    for _ in left:
        until = time.monotonic() + timeout
        while not arrived:
            wait = until - time.monotonic()
            if wait <= 0:
                return
            for delivery in broker.take(_AT_ONCE, wait):
                reply = _read(app, delivery.message)
                if reply is not None and reply.ticket in (ticket, None):
                    app.clock.adjust(reply.clock)
                    arrived.append({reply.node: reply.value})
        reply = arrived.pop(0)
        if callback:
            callback(reply)
        yield reply


def _read(app: Any, message: Message) -> control.Reply | None:
    """A reply; None for what is none: whoever wrote it, it must not cost us the others."""
    try:
        return control.parse_reply(message, _speech(app))
    except BadMessage as problem:
        import logging

        logging.getLogger("celery.app.control").warning("A reply of a worker cannot be read: %s", problem)
        return None


def _parcel(app: Any, request: control.Request) -> Parcel:
    message = control.build_request(replace(request, clock=app.clock.forward()), _speech(app))
    return Parcel(message, "", f"{app.conf.control_exchange}.pidbox", "fanout")


def _speech(app: Any) -> control.Speech:
    """As kombu's mailbox has it: `task_serializer` writes, `accept_content` reads, and others read nothing of ours."""
    accept, serializer = app.conf.accept_content, app.conf.task_serializer
    known = codecs([*accept, serializer])
    return control.Speech(Reader(accepted(accept, known.serializers), known), serializer)


def _requests(app: Any) -> Queue:
    """The exchange that every worker's own queue is bound to."""
    return Queue("", f"{app.conf.control_exchange}.pidbox", "fanout", exchange_durable=False)


def _replies(app: Any, exchange: str, oid: str) -> Queue:
    conf = app.conf
    ttl = conf.control_queue_ttl
    return Queue(
        f"{oid}.{exchange}",
        exchange,
        "direct",
        oid,
        durable=bool(conf.control_queue_durable),
        exclusive=bool(conf.control_queue_exclusive),
        auto_delete=not conf.control_queue_durable,
        expires=conf.control_queue_expires,
        arguments={} if ttl is None else {"x-message-ttl": int(ttl * 1000)},
        exchange_durable=False,
    )


def purge(app: Any, queues: Sequence[str]) -> int:
    """Delete what waits in these queues, and say how much that was."""
    with closing(connect(app)) as broker:
        return sum(broker.purge(queue) for queue in queues)

"""Tasks whose requests are of a class of their own (`Task.Request`): made by it, run by its `execute_using_pool`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...protocol.rules.outcome import Fate
from ...worker.pools.base import Job
from ..utils.imports import symbol_by_name
from .receiving import Message
from .request import Request, create_request_cls


def own_class(task: Any) -> Any:
    """The class of this task's requests; `Request` is the usual one."""
    return symbol_by_name(getattr(task, "Request", None) or Request)


def made(consumer: Any, request: Any, cls: Any) -> Any:
    """The request of a delivery, of this class."""
    message = Message(consumer, request)
    head = request.head(consumer.core.reader)
    payload = message.payload
    if isinstance(payload, dict):
        from .strategy import hybrid_to_proto2

        body, headers, decoded, utc = hybrid_to_proto2(message, payload)
    else:
        body, headers, decoded, utc = message.body, message.headers, False, head.utc
    return create_request_cls(cls, request.kind.task, consumer.pool, consumer.hostname, consumer.event_dispatcher)(
        message,
        app=consumer.app,
        hostname=consumer.hostname,
        eventer=consumer.event_dispatcher,
        task=request.kind.task,
        body=body,
        headers=headers,
        decoded=decoded,
        utc=utc,
    )


def run_own(consumer: Any, cls: Any) -> Callable[[Any], None]:
    """Hands a request to the pool by its own method. What it acknowledges or rejects decides about its delivery."""

    def run(request: Any) -> None:
        delivery, kind = request.delivery, request.kind
        seen = request.owner if isinstance(request.owner, cls) else made(consumer, request, cls)
        request.owner = seen
        said: list[Fate] = []
        seen.on_ack = lambda *_: said.append(Fate.DONE)
        seen.on_reject = lambda *args: said.append(Fate.REQUEUED if args and args[-1] is True else Fate.REJECTED)
        pool = consumer.pool
        pool.hosting = Job(
            request.number,
            request.name,
            request.id,
            delivery.message,
            delivery.queue,
            delivery.exchange,
            delivery.routing_key,
            delivery.redelivered,
            delivery.priority,
            held=kind.held,
        )
        pool.said = said
        try:
            seen.execute_using_pool(pool)
        finally:
            pool.hosting = pool.said = None

    return run

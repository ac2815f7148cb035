"""The worker's mailbox: requests come from a fanout exchange, replies go to whoever asked. kombu's pidbox.

Law: a request that cannot be read, or is for somebody else, costs nothing but a line in the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from ...protocol.errors import BadMessage
from ...protocol.wire import control
from ...protocol.wire.control import PLAIN, Reply, Speech
from ..brokers.base import Broker, Delivery, Parcel, Queue
from ..options import Telling
from . import act, ask
from .registry import NO_REPLY, Desk

log = logging.getLogger("celery.worker.control")

TABLES = (ask, act)
"""The modules whose commands are there because they were imported."""


def request_exchange(telling: Telling) -> Queue:
    """The exchange alone, with nothing bound to it."""
    return Queue("", f"{telling.control_exchange}.pidbox", "fanout", exchange_durable=False)


def _private(name: str, exchange: str, kind: str, key: str, telling: Telling) -> Queue:
    ttl = telling.control_queue_ttl
    return Queue(
        name,
        exchange,
        kind,
        key,
        durable=telling.control_queue_durable,
        exclusive=telling.control_queue_exclusive,
        auto_delete=not telling.control_queue_durable,
        expires=telling.control_queue_expires,
        arguments={} if ttl is None else {"x-message-ttl": int(ttl * 1000)},
        exchange_durable=False,
    )


def reply_queue(oid: str, telling: Telling) -> Queue:
    exchange = f"reply.{telling.control_exchange}.pidbox"
    return _private(control.reply_queue(oid, exchange), exchange, "direct", oid, telling)


class Mailbox:
    """Reads requests, has the desk answer them, sends the replies."""

    def __init__(self, desk: Desk, telling: Telling, speech: Speech = PLAIN) -> None:
        self._desk = desk
        self._telling = telling
        self._speech = speech

    def queues(self, hostname: str) -> Sequence[Queue]:
        namespace = self._telling.control_exchange
        name = control.request_queue(hostname, namespace)
        return [_private(name, f"{namespace}.pidbox", "fanout", "", self._telling)]

    def heard(self, broker: Broker, delivery: Delivery, now: float) -> None:
        worker = self._desk.worker
        try:
            request = control.parse_request(delivery.message, self._speech)
            worker.owner.clock_adjust(max(request.clock, 0))
            if not request.addressed_to(worker.hostname):
                return
        except BadMessage as bad:
            log.error("A control request that cannot be read: %s", bad)  # noqa: TRY400 - the text says it all
            return
        log.debug("pidbox received method %s(%s)", request.method, request.arguments)
        value = self._desk.answer(request.method, request.arguments)
        if request.reply_to is None or not request.ticket or value is NO_REPLY:
            return
        reply = Reply(worker.hostname, value, request.ticket, worker.owner.clock_forward())
        try:
            message = control.build_reply(reply, self._speech)
        except (TypeError, ValueError) as exc:
            value = control_error(exc)
            message = control.build_reply(Reply(worker.hostname, value, request.ticket, reply.clock), self._speech)
        where = request.reply_to
        broker.send([Parcel(message, where.routing_key, where.exchange, "direct")])
        log.debug("pidbox answered %s after %.3f s", request.method, time.time() - now)


def control_error(exc: Exception) -> dict[str, str]:
    """A reply that cannot be written."""
    return {"error": repr(exc)}

"""Mingle: a worker that starts asks the others for their clock and for what they know to be revoked."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

from ..protocol.errors import BadMessage
from ..protocol.rules.revokes import Revokes
from ..protocol.wire import control
from ..protocol.wire.control import PLAIN, ReplyTo, Request, Speech
from .brokers.base import Broker, Parcel
from .control.mailbox import reply_queue, request_exchange
from .options import Telling
from .ports import Owner

log = logging.getLogger("celery.worker.consumer.mingle")

_PATIENCE = 1.0


def ask(
    connect: Callable[[], Broker],
    hostname: str,
    owner: Owner,
    revokes: Revokes,
    telling: Telling,
    speech: Speech = PLAIN,
) -> None:
    """Waits a second for answers; on a connection of its own, since it listens to something else."""
    log.info("mingle: searching for neighbors")
    broker = connect()
    try:
        told = _answers(broker, hostname, owner, revokes, telling, speech)
    finally:
        broker.close()
    if not told:
        log.info("mingle: all alone")
        return
    log.info("mingle: sync with %s nodes", len(told))
    for node, hello in told.items():
        owner.clock_adjust(max(hello.clock, 0))
        revokes.merge(hello.revoked, time.time())
        log.debug("mingle: synced with %s", node)
    log.info("mingle: sync complete")


def _answers(
    broker: Broker, hostname: str, owner: Owner, revokes: Revokes, telling: Telling, speech: Speech
) -> dict[str, control.Hello]:
    oid, ticket = str(uuid.uuid4()), str(uuid.uuid4())
    queue = reply_queue(oid, telling)
    broker.listen([queue], credit=100, acks=False)
    exchange = request_exchange(telling)
    broker.declare([exchange])
    request = Request(
        "hello",
        control.hello(hostname, revokes.ids(time.time())),
        ticket=ticket,
        reply_to=ReplyTo(queue.exchange, oid),
        clock=owner.clock_forward(),
        expires=time.time() + _PATIENCE,
    )
    broker.send([Parcel(control.build_request(request, speech), "", exchange.exchange, "fanout")])
    told: dict[str, control.Hello] = {}
    until = time.monotonic() + _PATIENCE
    while (left := until - time.monotonic()) > 0:
        for delivery in broker.take(100, left):
            try:
                reply = control.parse_reply(delivery.message, speech)
                hello = control.read_hello(reply.value) if reply.node != hostname else None
            except BadMessage as bad:
                log.debug("mingle: an answer that cannot be read: %s", bad)
                continue
            if reply.ticket in (ticket, None) and hello is not None:
                told[reply.node] = hello
    return told

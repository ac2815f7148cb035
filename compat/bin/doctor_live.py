"""What the doctor asks of a running system: the fleet's versions, queues, litter, foreign clients, clocks.

Law: nothing is changed; each step stands alone and yields findings.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from .doctor_rules import FAULT, NOTE, RISK, Finding
from .queues import consumers, is_redis

_SKEW = 2.0
_LOOKED_AT = 200
_SOFTWARE = re.compile(r"celery:(\S+)(?: \(\w+\))?(?: celeriac:(\S+))?")


def fleet(app: Any, timeout: float) -> Iterator[Finding]:
    """Which versions answer."""
    replies = app.control.inspect(timeout=timeout).report() or {}
    if not replies:
        yield Finding(RISK, "fleet", "workers", "none answers", "start one: celeriac -A <app> worker")
        return
    versions: Counter[str] = Counter()
    for reply in replies.values():
        text = reply.get("ok", "") if isinstance(reply, dict) else ""
        found = _SOFTWARE.search(text)
        told = (
            "an unknown version"
            if found is None
            else f"celery {found[1]}" + (f" by celeriac {found[2]}" if found[2] else "")
        )
        versions[told] += 1
    shown = ", ".join(f"{count} x {version}" for version, count in sorted(versions.items()))
    yield Finding(NOTE, "fleet", "workers", f"{len(replies)} answer: {shown}")


def unserved(app: Any, timeout: float) -> Iterator[Finding]:
    """Queues in which something waits and from which nobody takes."""
    from ..app.mailing import connect

    takers = consumers(app, timeout)
    with closing(connect(app)) as broker:
        for name in sorted(app.amqp.queues.keys()):
            waiting = broker.size(name)
            if waiting and not takers.get(name):
                text = f"{waiting} messages wait, and nobody takes from it"
                yield Finding(RISK, "queue", name, text, f"start a worker with -Q {name}")


def arguments(app: Any, _: float) -> Iterator[Finding]:
    """Queues that were declared otherwise than the app wants them: a stock worker does not start beside them."""
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
        if connection.transport.driver_type != "amqp":
            return
        for name, queue in sorted(app.amqp.queues.items()):
            try:
                with connection.channel() as channel:
                    channel.queue_declare(queue=name, passive=True)
            except connection.channel_errors:
                continue  # it is not there yet
            try:
                with connection.channel() as channel:
                    queue.bind(channel).queue_declare()
            except connection.channel_errors as problem:
                advice = "delete the queue when it is empty, or declare it as it is in task_queues"
                yield Finding(FAULT, "queue", name, str(problem), advice)


def redis(app: Any, _: float) -> Iterator[Finding]:
    """Litter, foreign clients and the clock, as Redis tells them."""
    from ...worker.brokers.redis_survey import Survey
    from ..app.settings_for_broker import broker_options

    told = broker_options(app.conf)
    if not is_redis(told.urls[0]):
        return
    with closing(Survey(told.urls[0], told.options, told.timeout)) as survey:
        before = time.time()
        skew = survey.clock() - (before + time.time()) / 2
        if abs(skew) > _SKEW:
            text = f"this machine's clock and Redis' differ by {abs(skew):.1f} s"
            yield Finding(RISK, "clock", "clock", text, "synchronise the clocks: ETAs and expiry go by them")
        litter = survey.litter(3600)
        if litter:
            text = f"{len(litter)} queues of processes that are gone"
            yield Finding(NOTE, "litter", "broker", text, "celeriac janitor shows and removes them")
        for name in sorted(app.amqp.queues.keys()):
            clients = Counter(filter(None, map(_foreigner, survey.peek(name, _LOOKED_AT))))
            for client, count in sorted(clients.items()):
                yield Finding(NOTE, "clients", name, f"{count} messages of {client} wait in it")


def _foreigner(data: bytes) -> str | None:
    """Who wrote a message, if it was no Celery of Python."""
    from ...protocol.errors import BadMessage
    from ...protocol.wire import envelope

    try:
        message = envelope.parse(data).message
    except BadMessage:
        return "an unknown client (no envelope)"
    headers = message.headers
    if "task" not in headers:
        return "a client of protocol 1 (gocelery, or Celery before 4)"
    lang = headers.get("lang")
    return None if lang in {"py", None} else f"a client in {lang}"


STEPS = (fleet, unserved, arguments, redis)

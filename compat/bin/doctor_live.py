"""What the doctor asks of a running system: the fleet's versions, queues, litter, foreign clients, clocks.

Law: nothing is changed; each step stands alone and yields findings.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

from ...worker.brokers.rabbit_management import Management, Unanswered
from ..app.connecting import answering
from .doctor_clients import ADVICE, client_of
from .doctor_finding import FAULT, NOTE, RISK, Finding
from .queues import NO_ANSWER, is_redis, look, one_of_several, surveyed, unserved
from .queues_rabbit import asked, is_rabbit

_SKEW = 2.0
_START = "start one: celeriac -A <app> worker; one with -P solo answers between its tasks only"
_HEARTBEATS = 6.0
"""Seconds in which each worker is asked for a heartbeat and, if it is an old one, sends one by itself."""
_PYTHON = frozenset({"py-amqp", "celeriac", "librabbitmq"})
_LOOKED_AT = 200
_SOFTWARE = re.compile(r"celery:(\S+)(?: \(\w+\))?(?: celeriac:(\S+))?")


def fleet(app: Any, timeout: float) -> Iterator[Finding]:
    """Which versions answer."""
    replies = app.control.inspect(timeout=timeout).report() or {}
    if not replies:
        yield Finding(RISK, "fleet", "workers", "none answers", _START)
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


def queues(app: Any, timeout: float) -> Iterator[Finding]:
    """Of all queues that the broker lists: those from which nobody takes, dead letters, litter; else why not."""
    from ..app.settings_for_broker import broker_options

    found = look(app, timeout, thorough=True)
    if note := one_of_several(broker_options(app.conf), found["broker"]):
        yield Finding(NOTE, "broker", "broker_url", note)
    for row in found["queues"]:
        name, waiting = row["queue"], row["ready"]
        if row["dead"]:
            text = f"{waiting} messages that could not be run"
            yield Finding(RISK, "dead", name, text, "celeriac dead list shows them; dead replay sends them again")
        elif unserved(row) == NO_ANSWER:
            text = f"{waiting} messages wait, {row['unacked']} are held, and no worker that takes from it answers"
            yield Finding(
                RISK, "queue", name, text, "it may be busy (-P solo answers between tasks), or gone: look at it"
            )
        elif unserved(row):
            text = f"{waiting} messages wait, and nobody takes from it"
            yield Finding(RISK, "queue", name, text, f"start a worker with -Q {name}")
    if found["litter"]:
        text = f"{len(found['litter'])} queues of processes that are gone"
        yield Finding(NOTE, "litter", "broker", text, "celeriac janitor shows and removes them")
    elif "litter" in found["unknown"]:
        text = f"only the queues of this app and of its workers were looked at: {found['unknown']['litter']}"
        yield Finding(NOTE, "unknown", "broker", text, "RabbitMQ lists its queues through its management plugin alone")


def arguments(app: Any, _: float) -> Iterator[Finding]:
    """Queues that were declared otherwise than the app wants them: a stock worker does not start beside them."""
    with answering(app) as connection:
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


def clocks(app: Any, timeout: float) -> Iterator[Finding]:
    """Clocks that differ from this machine's: the broker's, if it tells, and each worker's, by its next heartbeat."""
    from ..app.settings_for_broker import broker_options

    told = broker_options(app.conf)
    if is_redis(told.urls[0]):
        with closing(surveyed(told)) as survey:
            before = time.time()
            yield from _skewed("Redis", survey.clock() - (before + time.time()) / 2)
    nodes = {node for reply in app.control.ping(timeout=timeout) or () for node in reply}
    heard: dict[str, float] = {}

    def hear(event: Any) -> None:
        node, stamp = event.get("hostname"), event.get("timestamp")
        if node in nodes and isinstance(stamp, (int, float)):
            apart = stamp - event["local_received"]
            # What comes late looks as if its clock were slow; the nearest of all is the truest.
            heard[node] = min(heard.get(node, apart), apart, key=abs)
        receiver.should_stop = heard.keys() == nodes

    if not nodes:
        return
    receiver = app.events.Receiver(None, handlers={"*": hear})
    receiver.event_from_message = partial(receiver.event_from_message, localize=False)
    over = threading.Timer(_HEARTBEATS, setattr, (receiver, "should_stop", True))
    over.daemon = True
    over.start()
    try:
        receiver.capture(limit=None, timeout=None)  # each worker is asked for a heartbeat
    finally:
        over.cancel()
    for node in sorted(nodes):
        if node in heard:
            yield from _skewed(node, heard[node])
        else:
            text = f"no event was heard of it within {_HEARTBEATS:g} s: how its clock goes is not known"
            yield Finding(NOTE, "clock", node, text, "was it started with --without-heartbeat?")


def _skewed(whose: str, skew: float) -> Iterator[Finding]:
    if abs(skew) > _SKEW:
        text = f"its clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        yield Finding(RISK, "clock", whose, text, "synchronise the clocks: ETAs and expiry go by them")


def clients(app: Any, _: float) -> Iterator[Finding]:
    """Who else is there: on Redis by the messages that wait, on RabbitMQ by what who is connected says of itself."""
    from ..app.settings_for_broker import broker_options

    told = broker_options(app.conf)
    if not is_redis(told.urls[0]):
        yield from _connected(app)
        return
    with closing(surveyed(told)) as survey:
        names = {each.name for each in survey.depths(app.amqp.queues.keys())}
        for name in sorted(names | survey.others(names)):
            found = Counter(filter(None, map(client_of, survey.peek(name, _LOOKED_AT))))
            for client, count in sorted(found.items()):
                text = f"{count} messages of {client} wait in it"
                yield Finding(NOTE, "clients", name, text, ADVICE.get(client, ""))


def _connected(app: Any) -> Iterator[Finding]:
    if app.conf.broker_management_url == "" or not is_rabbit(app):
        return  # that is told with the queues
    try:
        products = Counter(
            f"{each.get('product', 'a client that does not say its name')} {each.get('version', '')}".strip()
            for each in asked(app, Management.clients)
            if each.get("product") not in _PYTHON
        )
    except Unanswered:
        return
    for product, count in sorted(products.items()):
        yield Finding(NOTE, "clients", "broker", f"{count} connections of {product}, which is no Celery of Python")


STEPS = (fleet, clocks, queues, arguments, clients)

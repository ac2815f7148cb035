"""What can be known of RabbitMQ's queues, and why of the rest it cannot.

Law: looking changes nothing, and only litter is ever removed. No message is taken to be looked at, for each would come
back marked as redelivered. AMQP counts what is ready and who takes. What is held the management plugin tells, or the
workers themselves where they are all that take from a queue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ...protocol.wire.amqp import delayed
from ...worker.brokers.rabbit_management import Management, Standing, Unanswered
from ..app.producing import kind_of
from ..app.settings_for_broker import broker_options

T = TypeVar("T")

_OURS = ("celeryev.", "celery_delayed_")
_ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\Z")


def is_rabbit(app: Any) -> bool:
    return kind_of(broker_options(app.conf).urls[0]) == ".amqp"


def asked(app: Any, question: Callable[[Management], T]) -> T:
    """What the management plugin says, of the first broker in `broker_url` whose plugin answers."""
    told, where = broker_options(app.conf), app.conf.broker_management_url
    refusals = []
    rabbits = [url for url in told.urls if kind_of(url) == ".amqp"]
    for url in rabbits[:1] if where else rabbits:
        try:
            return question(Management(url, told.options, where))
        except Unanswered as why:  # noqa: PERF203 - each has its turn
            refusals.append(str(why))
    raise Unanswered("; ".join(refusals))


def standing(app: Any) -> tuple[dict[str, Standing], str]:
    """All queues by name; or none, and why."""
    if app.conf.broker_management_url == "":
        return {}, "broker_management_url is empty: the management plugin is not asked"
    try:
        return {each.name: each for each in asked(app, Management.queues)}, ""
    except Unanswered as why:
        return {}, str(why)


def is_private(name: str) -> bool:
    """Queues of one process, of one task's result, and those in which RabbitMQ itself has messages wait."""
    return name.startswith(_OURS) or name.endswith("pidbox") or _ID.match(name) is not None


def is_litter(each: Standing, older: float) -> bool:
    """Nobody takes from it, nobody has used it for so many seconds, and it is no queue of tasks."""
    theirs = is_private(each.name) and not each.name.startswith("celery_delayed_")
    return theirs and not (each.consumers or each.exclusive) and each.idle is not None and each.idle >= older


def count(connection: Any, name: str) -> tuple[int | None, int | None]:
    """How many wait, and how many take; None: there is no such queue, or nobody can say."""
    try:
        with connection.channel() as channel:
            told = channel.queue_declare(queue=name, passive=True)
            takers = told.consumer_count if connection.transport.driver_type == "amqp" else None
            return told.message_count, takers
    except connection.channel_errors:
        return None, None


def remove(connection: Any, name: str) -> bool:
    """Delete the queue, if nobody takes from it now."""
    try:
        with connection.channel() as channel:
            channel.queue_delete(queue=name, if_unused=True)
    except connection.channel_errors:
        return False
    return True


def parked(connection: Any) -> int:
    """How many messages RabbitMQ keeps until their time, in all."""
    levels = reversed(range(delayed.LEVELS))
    first = count(connection, delayed.level_name(next(levels)))[0]
    if first is None:
        return 0  # nobody has had it keep any
    return first + sum(count(connection, delayed.level_name(level))[0] or 0 for level in levels)


def held(app: Any, replies: Mapping[str, Any], timeout: float) -> dict[str, int]:
    """What workers have taken and not settled, by queue: reserved, waiting for its time, or running with late acks."""
    nodes = list(replies)
    if not nodes:
        return {}
    places = dict(_places(replies))
    asked = app.control.inspect(destination=nodes, timeout=max(timeout, 1.0), limit=len(nodes))
    found = dict.fromkeys(places.values(), 0)
    for method in (asked.reserved, asked.scheduled, asked.active):
        answers = method() or {}
        for node in nodes:
            if not isinstance(answers.get(node), list):  # what one does not tell is missing from its queues
                for queue in _queues_of(replies[node]):
                    found.pop(queue, None)
        for request in (each for rows in answers.values() if isinstance(rows, list) for each in rows):
            inner = request.get("request", request) if isinstance(request, dict) else {}
            info = inner.get("delivery_info") or {}
            name = places.get((info.get("exchange") or "", info.get("routing_key")))
            if name in found and not inner.get("acknowledged"):
                found[name] += 1
    return found


def _queues_of(reply: Any) -> list[str]:
    return [str(each.get("name")) for each in reply if isinstance(each, dict)] if isinstance(reply, list) else []


def _places(replies: Mapping[str, Any]) -> Iterable[tuple[tuple[str, Any], str]]:
    """How a message that came from a queue is addressed: through its exchange, or by its name alone."""
    for reply in replies.values():
        for each in reply if isinstance(reply, list) else ():
            if isinstance(each, dict) and isinstance(each.get("name"), str):
                exchange = each.get("exchange")
                yield ("", each["name"]), each["name"]
                if isinstance(exchange, dict):
                    yield (str(exchange.get("name") or ""), each.get("routing_key")), each["name"]

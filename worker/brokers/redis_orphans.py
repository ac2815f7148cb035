"""Bindings of processes that are gone, in a Redis broker: of their queues of commands, events and replies.

Law: what may have a living owner is left alone. There are two proofs that it has none: everybody who listens for
commands has answered, and this one is not among them; or nobody else is connected to this database at all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ...protocol.wire import control
from ...protocol.wire.redis import publish
from ...protocol.wire.resp import ErrorReply
from .base import Parcel
from .redis_envelopes import Envelopes

if TYPE_CHECKING:
    from .redis_survey import Litter, Survey

_NOBODY = "nobody@janitor"
"""No worker's name: who hears a command for it passes over it."""
UNANSWERED = (
    "{0} more listen for commands than have answered: bindings of their queues are left alone. Ask again "
    "when workers are less busy, or with a longer --timeout"
)
CONNECTED = "others are connected: whether bindings of events and replies have an owner cannot be known"


def found(survey: Survey, answered: Collection[str], namespace: str) -> tuple[list[Litter], str]:
    """Bindings without an owner, and what could not be known. `answered`: the workers that did, just now."""
    from .redis_survey import Litter

    exchange = f"{namespace}.pidbox"
    lists = {name for name, _ in survey.private_keys()}
    bound = sorted({(table, queue) for table, queue in survey.bound() if queue and queue not in lists})
    living = {control.request_queue(node, namespace) for node in answered}
    boxes = [queue for table, queue in bound if table == exchange and queue.endswith(exchange) and queue not in living]
    others = [
        queue
        for table, queue in bound
        if (table == "celeryev" and queue.startswith("celeryev."))
        or (table == f"reply.{exchange}" and queue.endswith(f".reply.{exchange}"))
    ]
    unknown = []
    silent = _listeners(survey, exchange) - len(answered) if boxes else 0
    if silent > 0:
        boxes = []
        unknown.append(UNANSWERED.format(silent))
    if others and not _is_alone(survey):
        others = []
        unknown.append(CONNECTED)
    return [Litter("binding", queue) for queue in (*boxes, *others)], "; ".join(unknown)


def _listeners(survey: Survey, exchange: str) -> int:
    """How many hear what is sent there: they are told of something that is for nobody."""
    message = control.build_request(control.Request("ping", destination=(_NOBODY,)))
    data = Envelopes().seal(Parcel(message, "", exchange, "fanout"), 0)
    return max(int(survey.link.call(*command)) for command in publish(survey.layout, exchange, "", data))


def _is_alone(survey: Survey) -> bool:
    """Whether nobody else is connected to this database; False where the server does not tell."""
    ours, listed, place = survey.link.ask(("CLIENT", "ID"), ("CLIENT", "LIST"), ("CLIENT", "INFO"))
    if any(type(each) is ErrorReply for each in (ours, listed, place)):
        return False
    db = _fields(place.decode(errors="replace")).get("db")
    for line in listed.decode(errors="replace").splitlines():
        told = _fields(line)
        is_server = set(told.get("flags", "")) & set("MS")  # a replica, or its master
        if told.get("id") != str(ours) and told.get("db") == db and not is_server:
            return False
    return True


def _fields(line: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in line.split())

"""One delivery as the worker knows it, and what it knows of the task that it is for.

Law: what is not needed to schedule a task is not read. The usual message is told by its headers, in a few looks; any
other goes through `message_reading`, which knows them all and refuses what is none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..protocol.errors import BadMessage, shown
from ..protocol.rules.decisions import Arrival, Manner
from ..protocol.wire import message_reading
from ..protocol.wire.commands import DELIVERY_KEYS, REQUEST_KEYS
from ..protocol.wire.message_reading import Head, Reader
from ..protocol.wire.sealed import Sealed
from .brokers.base import Delivery

log = logging.getLogger("celery.worker.request")

_NO_LIMITS = (None, None)
_JSON = "application/json"


class Kind:
    """A registered task, as far as its messages concern the worker. Made again when something about it changes."""

    __slots__ = ("hard", "held", "manner", "name", "rate", "runner", "soft", "strategy", "task", "tells")

    def __init__(self, task: Any, *, soft: float | None = None, hard: float | None = None) -> None:
        self.task = task
        self.name: str = task.name
        self.manner = Manner(
            late=bool(task.acks_late),
            ack_failures=_said(task, "acks_on_failure", default=True),
            ack_timeouts=_said(task, "acks_on_timeout", default=True),
            requeue_lost=_said(task, "reject_on_worker_lost", default=False),
            retry_lost=_said(task, "retry_on_worker_lost", default=False),
            max_retries=getattr(task, "max_retries", 3),
        )
        self.held = not self.manner.late
        self.soft = _seconds(task, "soft_time_limit", soft)
        self.hard = _seconds(task, "time_limit", hard)
        self.rate: Any = getattr(task, "rate_limit", None)
        self.tells = bool(getattr(task, "send_events", True))
        self.strategy: Callable[[Request], None] | None = None
        """How its messages are received, where that is the task's own affair."""
        self.runner: Callable[[Request], None] | None = None
        """How they are run, where its requests are of a class of their own."""


def _seconds(task: Any, name: str, default: float | None) -> float | None:
    """Whoever wrote the task may have written anything: what is no limit limits nothing, and is said."""
    value = getattr(task, name, None) or default
    if value is None:
        return None
    seconds = read_limit(value)
    if seconds is None:
        log.error("Task %s: %s is no number of seconds, and limits nothing: %s", task.name, name, shown(value))
    return seconds


def read_limit(value: Any) -> float | None:
    """A time limit in seconds; a text with a number in it is one. None: that cannot be a limit."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if _is_limit(value) and value else None


def _said(task: Any, name: str, *, default: bool) -> bool:
    value = getattr(task, name, None)
    return default if value is None else bool(value)


class Request:
    """One delivery. `head` is None until somebody needs more than the usual."""

    __slots__ = ("_head", "begun", "buried", "delivery", "hard", "id", "kind", "name", "number", "owner", "pid", "soft")

    def __init__(self, number: int, delivery: Delivery, name: str, task_id: str, head: Head | None) -> None:
        self.number = number
        self.delivery = delivery
        self.name = name
        self.id = task_id
        self.kind: Kind | None = None
        self._head = head
        self.soft: float | None = None
        self.hard: float | None = None
        self.begun: float | None = None
        self.pid: int | None = None
        self.buried = False
        self.owner: Any = None
        """What the app made of it."""

    def head(self, reader: Reader) -> Head:
        if self._head is None:
            self._head = message_reading.read_head(self.delivery.message, reader)
        return self._head

    @property
    def headers(self) -> Mapping[str, Any]:
        """The fields of a task message, wherever it keeps them."""
        return self.delivery.message.headers if self._head is None else self._head.fields

    @property
    def shown_name(self) -> str:
        return self.headers.get("shadow") or self.name


def open_request(number: int, delivery: Delivery, reader: Reader) -> Request:
    """Raises BadMessage for what is no task message."""
    message: Any = delivery.message  # a `Sealed` has all that a `Message` has, and is none
    if type(message) is Sealed and _JSON in reader.accept:
        return Request(number, delivery, message.task, message.id, None)
    headers = message.headers
    if (
        type(headers) is dict
        and headers.get("eta") is None
        and headers.get("expires") is None
        and not headers.get("stamps")
        and type(task_id := headers.get("id")) is str
        and type(name := headers.get("task")) is str
        and task_id
        and name
        and task_id.isascii()
        and name.isascii()
        and message.content_type == _JSON
        and "compression" not in headers
        and message.body[:1] == b"["
        and type(headers.get("retries", 0)) is int
        and _JSON in reader.accept
    ):
        limits = headers.get("timelimit")
        request = Request(number, delivery, name, task_id, None)
        if limits is None or limits == [None, None]:
            return request
        if type(limits) in (list, tuple) and len(limits) == len(_NO_LIMITS):
            hard, soft = limits
            if _is_limit(hard) and _is_limit(soft):
                request.hard, request.soft = hard, soft
                return request
    head = message_reading.read_head(message, reader)
    request = Request(number, delivery, head.name, head.id, head)
    request.hard, request.soft = head.timelimit
    return request


def _is_limit(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < 1e9)  # noqa: PLR2004 - 30 years


def arrival(request: Request, manner: Manner) -> Arrival:
    delivery, head = request.delivery, request._head  # noqa: SLF001 - the other half of it
    owed = delivery.tag is not None
    if head is None:
        message: Any = delivery.message
        retries = message.retries if type(message) is Sealed else message.headers.get("retries", 0)
        task_id, name, redelivered, losses = request.id, request.name, delivery.redelivered, delivery.losses
        # As `Arrival(...)` makes it, without its arguments.
        return tuple.__new__(Arrival, (task_id, name, manner, None, None, _NOTHING, retries, redelivered, owed, losses))
    return Arrival(
        head.id,
        head.name,
        manner,
        _epoch(head.eta),
        _epoch(head.expires),
        {name: head.stamps.get(name) for name in head.stamped_headers or ()} if head.stamps else _NOTHING,
        head.retries,
        delivery.redelivered,
        owed,
        delivery.losses,
    )


_NOTHING: Mapping[str, Any] = {}


def _epoch(when: datetime | None) -> float | None:
    try:
        return None if when is None else when.timestamp()
    except (OverflowError, ValueError, OSError):
        return None


def info(request: Request, reader: Reader, hostname: str, *, acknowledged: bool, safe: bool = False) -> dict[str, Any]:
    """As `inspect active` and its like show it."""
    delivery, headers = request.delivery, request.headers
    args: Any = headers.get("argsrepr")
    kwargs: Any = headers.get("kwargsrepr")
    if not safe:
        try:
            body = message_reading.read_body(delivery.message, request.head(reader), reader)
            args, kwargs = body.args, body.kwargs
        except BadMessage:
            pass  # what they look like must do
    priority = delivery.message.properties.get("priority")
    where = (delivery.exchange, delivery.routing_key, priority, delivery.redelivered)
    values = (
        *(request.id, request.name, args, kwargs, request.name, hostname, request.begun, acknowledged),
        *(dict(zip(DELIVERY_KEYS, where, strict=True)), request.pid),
    )
    return dict(zip(REQUEST_KEYS, values, strict=True))

"""From one call to the one message that it sends: what `apply_async` and `send_task` decide before they publish.

Law: `now` and new ids are arguments; where the message goes has been decided already (`routing`). What cannot be sent
is BadCall, and TypeError or ValueError with it, as in Celery; what Celery would send only for every worker to drop
(an `eta` that is no date) is BadCall too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import BadCall, BadMessage, shown
from ..hints import Any
from ..moments import datetime, timedelta, timezone, tzinfo
from ..values import dataclass, field, replace
from ..wire.message import CODECS, Codecs, Message, Posting, Signature, Task, build
from ..wire.reprs import saferepr
from .routing import Queue, Route

EARLIEST = -(2**31)
_DELIVERY_MODES = {"transient": 1, "persistent": 2}


class WrongType(BadCall, TypeError):
    """A part of the call is of a type that it cannot be of."""


@dataclass(frozen=True, slots=True)
class Call:
    """One `apply_async`: what to run, with what, and every option of the caller, `task_id` among them."""

    name: str
    args: Any = ()
    kwargs: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sender:
    """What is the same for all that one app sends. `queue_protocols` names the queues that are read by old peers."""

    origin: str
    reply_to: str = ""
    timezone: tzinfo = timezone.utc
    utc: bool = True
    protocol: int = 2
    queue_protocols: Mapping[str, int] = field(default_factory=dict)
    serializer: str = "json"
    compression: str | None = None
    delivery_mode: int | str = 2
    argsrepr_maxsize: int = 1024
    kwargsrepr_maxsize: int = 1024
    repr_maxlevels: int = 3
    inherit_priority: bool = False
    codecs: Codecs = CODECS

    def protocol_of(self, queue: str | None) -> int:
        return self.protocol if queue is None else self.queue_protocols.get(queue, self.protocol)


@dataclass(frozen=True, slots=True)
class Parent:
    """The task in whose course the call is made."""

    id: str
    root_id: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and where it goes. `lost` names what the protocol of its queue had no place for."""

    message: Message
    exchange: str
    routing_key: str
    queue: Queue | None
    task: Task
    mandatory: bool = False
    lost: tuple[str, ...] = ()


# Options that are about sending and leave no trace in the message.
_UNSEEN = frozenset(
    (
        *("producer", "publisher", "connection", "router", "result_cls", "add_to_parent", "route_name", "task_type"),
        *("exchange", "routing_key", "queue", "exchange_type", "declare", "event_dispatcher", "retry", "retry_policy"),
        *("timeout", "confirm_timeout", "mandatory", "immediate"),
    )
)
# Options that become fields of the message. What is in neither set becomes a property, `argsrepr` and `origin` too.
_FIELDS = frozenset(
    (
        *(
            "task_id",
            "countdown",
            "eta",
            "expires",
            "link",
            "link_error",
            "group_id",
            "group_index",
            "retries",
            "chord",
        ),
        *("reply_to", "time_limit", "soft_time_limit", "root_id", "parent_id", "shadow", "chain", "ignore_result"),
        *("replaced_task_nesting", "stamped_headers", "headers", "priority", "expiration", "delivery_mode"),
        *("serializer", "compression"),
    )
)
# Names that Celery hands on under another name, or decides itself; a caller who gives them has mistaken something.
_REFUSED = {
    "args": "it is the call's own",
    "kwargs": "it is the call's own",
    "name": "it is the call's own",
    "body": "it is made of the arguments",
    "callbacks": "use link",
    "errbacks": "use link_error",
    "content_type": "use serializer",
    "content_encoding": "use serializer",
}


def compose(
    call: Call, sender: Sender, route: Route, now: datetime, *, new_id: str = "", parent: Parent | None = None
) -> Outgoing:
    """The message of a call whose options are those of its task and its route too, and whose place is known.

    A priority of None means no priority at all, which is what `queue=` without one comes to; without the option it
    is 0. `task_id` is taken from the options, or is `new_id`.
    """
    task, posting = draft(call, sender, now, new_id=new_id, parent=parent)
    task, lost = in_protocol(task, sender.protocol_of(route.queue.name if route.queue else None))
    message = build(task, posting, sender.codecs)
    mandatory = bool(call.options.get("mandatory"))
    return Outgoing(message, route.exchange, route.routing_key, route.queue, task, mandatory, tuple(lost))


def draft(
    call: Call, sender: Sender, now: datetime, *, new_id: str = "", parent: Parent | None = None
) -> tuple[Task, Posting]:
    """What `compose` decides before anything is written: for whoever has more to say, or writes many alike."""
    options = call.options
    for name in _REFUSED.keys() & options.keys():
        raise BadCall(f"{call.name}: {name} is no option: {_REFUSED[name]}")
    stamped = options.get("stamped_headers")
    stamps = {name: _stamp(call, options, name) for name in stamped or ()}
    moment = now.astimezone(sender.timezone)
    expires, expiration = _expiry(options, moment)
    task_id = options.get("task_id") or new_id or _no_id(call)
    root_id, parent_id = _lineage(options, parent)
    args, kwargs = _arguments(call)
    task = Task(
        name=call.name,
        id=task_id,
        args=args,
        kwargs=kwargs,
        callbacks=_links("link", options),
        errbacks=_links("link_error", options),
        chain=options.get("chain"),
        chord=options.get("chord"),
        shadow=options.get("shadow"),
        eta=eta_text(options, moment),
        expires=expires,
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        retries=options.get("retries", 0),
        timelimit=(options.get("time_limit"), options.get("soft_time_limit")),
        root_id=root_id or task_id,
        parent_id=parent_id,
        argsrepr=_repr(options, "argsrepr", args, sender.argsrepr_maxsize, sender),
        kwargsrepr=_repr(options, "kwargsrepr", kwargs, sender.kwargsrepr_maxsize, sender),
        origin=options.get("origin") or sender.origin,
        ignore_result=options.get("ignore_result"),
        replaced_task_nesting=options.get("replaced_task_nesting", 0),
        stamped_headers=stamped,
        stamps=stamps,
        headers=_own_headers(call, options),
        protocol=2,
        utc=sender.utc,
    )
    return task, _posting(call, sender, expiration, parent)


def sent_event(task: Task) -> dict[str, Any]:
    """The fields of `task-sent`, but for where it went. Protocol 1 tells no lineage."""
    lineage = {} if task.protocol == 1 else {"root_id": task.root_id, "parent_id": task.parent_id}
    return {
        "uuid": task.id,
        **lineage,
        "name": task.name,
        "args": task.argsrepr,
        "kwargs": task.kwargsrepr,
        "retries": task.retries,
        "eta": task.eta,
        "expires": task.expires,
    }


def in_protocol(task: Task, protocol: int) -> tuple[Task, list[str]]:
    """The task as that protocol can carry it, and the names of what it cannot."""
    if protocol != 1:
        return replace(task, protocol=protocol), []
    from ..wire.message_v1 import to_v1  # few have peers that old

    return to_v1(task)


def _arguments(call: Call) -> tuple[Sequence[Any], Mapping[str, Any]]:
    args, kwargs = call.args or (), call.kwargs or {}
    if not isinstance(args, (list, tuple)):
        raise WrongType(f"{call.name}: task args must be a list or tuple, not {shown(args)}")
    if not isinstance(kwargs, Mapping):
        raise WrongType(f"{call.name}: task keyword arguments must be a mapping, not {shown(kwargs)}")
    return args, kwargs if isinstance(kwargs, dict) else dict(kwargs)


def _no_id(call: Call) -> str:
    raise BadCall(f"{call.name}: neither a task_id nor a new id is given")


def _stamp(call: Call, options: Mapping[str, Any], name: str) -> Any:
    if name not in options:
        raise BadCall(f"{call.name}: stamped_headers names {name!r}, and no option has its value")
    return options[name]


def _lineage(options: Mapping[str, Any], parent: Parent | None) -> tuple[str | None, str | None]:
    """The root and the parent. The caller may name either; the task that is running names the rest."""
    root_id, parent_id = options.get("root_id"), options.get("parent_id")
    if parent is not None:
        root_id, parent_id = root_id or parent.root_id or parent.id, parent_id or parent.id
    return root_id, parent_id


def _links(name: str, options: Mapping[str, Any]) -> Sequence[Signature] | None:
    """One signature or many, as a list; in `link` an empty list stays one."""
    link = options.get(name)
    if link is None or isinstance(link, (list, tuple)):
        return link
    if isinstance(link, Mapping):
        return [link]  # type: ignore[list-item]  # a signature class may be any mapping
    raise WrongType(f"{name} takes a signature or a list of them, not {shown(link)}")


def _own_headers(call: Call, options: Mapping[str, Any]) -> Mapping[str, Any]:
    headers = options.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise WrongType(f"{call.name}: headers must be a mapping, not {shown(headers)}")
    return headers


def _repr(options: Mapping[str, Any], name: str, value: Any, size: int, sender: Sender) -> str:
    """The caller may show other arguments than there are, secrets blotted out."""
    given: str | None = options.get(name)
    return saferepr(value, size, sender.repr_maxlevels) if given is None else given


def eta_text(options: Mapping[str, Any], now: datetime) -> str | None:
    """A countdown wins over an eta, and one of 0 is none."""
    countdown, eta = options.get("countdown"), options.get("eta")
    if countdown:
        return _later(now, _seconds("countdown", countdown), "countdown").isoformat()
    if eta is None:
        return None
    if not isinstance(eta, (str, datetime)):
        raise WrongType(f"eta takes a datetime, not {shown(eta)}")
    _moment("eta", eta)
    return eta if isinstance(eta, str) else eta.isoformat()


def _expiry(options: Mapping[str, Any], now: datetime) -> tuple[str | None, str | None]:
    """The header, and what is left of the time in milliseconds: RabbitMQ drops the message when that has passed."""
    expires = options.get("expires")
    if expires is None:
        left = options.get("expiration")
        return None, None if left is None else _milliseconds(_seconds("expiration", left), "expiration")
    if _is_number(expires):
        seconds = _seconds("expires", expires)
        return _later(now, seconds, "expires").isoformat(), _milliseconds(max(seconds, 0), "expires")
    if not isinstance(expires, (str, datetime)):
        raise WrongType(f"expires takes seconds or a datetime, not {shown(expires)}")
    seconds = (_moment("expires", expires) - now).total_seconds()
    text = expires if isinstance(expires, str) else expires.isoformat()
    return text, _milliseconds(max(seconds, 0), "expires")


def _is_number(value: Any) -> bool:
    if isinstance(value, (str, datetime)):
        return False
    from numbers import Real  # decimal's and numpy's numbers too

    return isinstance(value, Real)


def _moment(name: str, value: str | datetime) -> datetime:
    """Where there is no zone it is UTC, as workers take it."""
    if isinstance(value, datetime):
        return value if value.utcoffset() is not None else value.replace(tzinfo=timezone.utc)
    from ..wire.dates import parse_iso  # for who writes dates as texts

    try:
        return parse_iso(value, what=name)
    except BadMessage as problem:
        raise BadCall(str(problem)) from None


def _seconds(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise WrongType(f"{name} takes seconds, not {shown(value)}")
    if value < EARLIEST:
        raise BadCall(f"{name} is out of range: {shown(value)}")
    return value


def _later(now: datetime, seconds: float, name: str) -> datetime:
    """Elapsed time, so that a change of the clocks in between does not count."""
    try:
        return (now.astimezone(timezone.utc) + timedelta(seconds=seconds)).astimezone(now.tzinfo)
    except (OverflowError, ValueError) as problem:
        raise BadCall(f"{name} is out of range: {shown(seconds)}: {problem}") from None


def _milliseconds(seconds: float, name: str) -> str:
    try:
        return str(int(seconds * 1000))
    except (OverflowError, ValueError):
        raise BadCall(f"{name} is out of range: {shown(seconds)}") from None


def _posting(call: Call, sender: Sender, expiration: str | None, parent: Parent | None) -> Posting:
    options = call.options
    hidden = {*_UNSEEN, *_FIELDS, *(options.get("stamped_headers") or ())}
    return Posting(
        reply_to=options.get("reply_to") or sender.reply_to,
        delivery_mode=_delivery_mode(options.get("delivery_mode") or sender.delivery_mode),
        priority=_priority(options, sender, parent),
        expiration=expiration,
        extra={name: value for name, value in options.items() if name not in hidden},
        serializer=options.get("serializer") or sender.serializer,
        compression=options.get("compression") or sender.compression,
    )


def _priority(options: Mapping[str, Any], sender: Sender, parent: Parent | None) -> int | None:
    """A task started by another inherits its priority where the app says so, unless its lineage was given by hand."""
    if "priority" in options:
        return options["priority"]  # type: ignore[no-any-return]  # a number or None
    by_hand = options.get("root_id") and options.get("parent_id")
    return parent.priority if parent and sender.inherit_priority and not by_hand else 0


def _delivery_mode(mode: Any) -> int:
    found = _DELIVERY_MODES.get(mode) if isinstance(mode, str) else mode
    if not isinstance(found, int):
        raise BadCall(f"delivery_mode is 1 or 2, transient or persistent, not {shown(mode)}")
    return found

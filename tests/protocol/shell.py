"""A shell that understands the calls of the captures (`chain(T.add.s(1, 2), T.mul.s(3))()`) and gives their steps.

It is as thin as it can be: every name in a call leads straight to protocol/rules. Nothing is sent.
"""

from __future__ import annotations

import builtins
import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from celeriac.protocol.rules import canvas
from celeriac.protocol.rules import signature as sigs
from celeriac.protocol.rules.calling import Call, Outgoing, Sender, compose
from celeriac.protocol.rules.freezing import Node, frozen
from celeriac.protocol.rules.publishing import Facts, SaveGroup, Step, publish
from celeriac.protocol.rules.routing import Queue, Route, RouteMap
from celeriac.protocol.rules.stamping import Visitor, stamped

REPLY_TO = "00000000-aaaa-3aaa-8aaa-000000000000"


def numbered() -> Callable[[], str]:
    """Ids that say in which order they were given."""
    count = itertools.count(1)
    return lambda: f"{next(count):08x}-bbbb-4bbb-8bbb-000000000000"


class Sig(dict[str, Any]):
    """A signature with Celery's methods; the values in it are plain."""

    shell: Shell

    def __init__(self, shell: Shell, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.shell = shell

    @property
    def plain(self) -> dict[str, Any]:
        return dict(self)

    @property
    def tasks(self) -> list[Any]:
        return [Sig(self.shell, task) for task in sigs.members(self)]

    def _become(self, data: Mapping[str, Any]) -> Sig:
        self.update(data)
        return self

    def clone(self, args: Any = (), kwargs: Any = None, **options: Any) -> Sig:
        return Sig(self.shell, sigs.cloned(self, args, kwargs, options))

    def set(self, immutable: bool | None = None, **options: Any) -> Sig:
        if immutable is not None:
            self._become(sigs.immutable(self, immutable))
        return self._become({"options": {**self["options"], **options}})

    def link(self, callback: Sig) -> Sig:
        self._become(sigs.linked(self, callback.plain))
        return callback

    def link_error(self, errback: Sig) -> Sig:
        self._become(sigs.linked_error(self, errback.plain))
        return errback

    def on_error(self, errback: Sig) -> Sig:
        self.link_error(errback)
        return self

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **stamps: Any) -> Sig:
        return self._become(stamped(self, visitor, append=append_stamps, **stamps))

    def freeze(self, _id: str | None = None) -> Node:
        data, node = frozen(self, self.shell.ids, REPLY_TO, _id, linked_chains=self.shell.facts.protocol == 1)
        self._become(data)
        return node

    def group(self) -> Sig:
        return Sig(self.shell, canvas.chunk_group(self))

    def __or__(self, other: Any) -> Sig:  # type: ignore[override]
        return Sig(self.shell, canvas.joined(self.plain, other.plain))

    def __ior__(self, other: Any) -> Sig:  # type: ignore[override,misc]  # noqa: PYI034 - a new one, as with |
        return self | other

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        sig = self.plain
        if sig["task"] in (sigs.MAP, sigs.STARMAP, sigs.CHUNKS):
            inner = sig["kwargs"]["task"]
            options["route_name"] = inner["task"] if isinstance(inner, dict) else inner
        if sig["task"] == sigs.CHUNKS:
            sig = canvas.chunk_group(sig)
        return self.shell.send(sig, args, kwargs, options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self["subtask_type"] == sigs.CHORD:
            body = {"body": args[0].plain} if args and args[0] else {}
            return self.apply_async((), body, **options)
        if self["subtask_type"] == sigs.CHAIN:
            return self.apply_async(args, options)
        return self.apply_async(args, **options)


class Task:
    def __init__(self, shell: Shell, name: str) -> None:
        self.shell = shell
        self.name = name

    def signature(self, args: Any = (), kwargs: Any = None, options: Any = None, **more: Any) -> Sig:
        immutable = more.pop("immutable", False)
        return Sig(
            self.shell,
            sigs.signature(self.name, args or (), kwargs, {**(options or {}), **more}, immutable=immutable),
        )

    def s(self, *args: Any, **kwargs: Any) -> Sig:
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Sig:
        return self.signature(args, kwargs, immutable=True)

    def map(self, it: Any) -> Sig:
        return Sig(self.shell, sigs.xmap(self.s().plain, it))

    def starmap(self, it: Any) -> Sig:
        return Sig(self.shell, sigs.starmap(self.s().plain, it))

    def chunks(self, it: Any, n: int) -> Sig:
        return Sig(self.shell, sigs.chunks(self.s().plain, it, n))

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        # Not through a signature: its arguments keep their type, which the reprs show.
        sig = sigs.signature(self.name, (), kwargs)
        sig["args"] = args or ()
        return self.shell.send(sig, (), None, options)


class Tasks:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def __getattr__(self, name: str) -> Task:
        return Task(self._shell, f"wire.{name}")

    def __getitem__(self, name: str) -> Task:
        return Task(self._shell, name)


@dataclass
class Sent:
    """What `apply_async` returns."""

    shell: Shell
    node: Node | None

    def save(self) -> None:
        assert self.node is not None
        self.shell.steps.append(SaveGroup(self.node.id, self.node.as_tuple()))


class Shell:
    """Evaluates calls. `steps` is all that they would have sent, in order."""

    def __init__(self, facts: Facts | None = None, ids: Callable[[], str] | None = None) -> None:
        self.facts = facts or Facts(REPLY_TO)
        self.ids = ids or numbered()
        self.steps: list[Step] = []
        self.by_name: set[int] = set()
        self.app_conf = SimpleNamespace()
        self.node: Node | None = None

    def send(self, sig: dict[str, Any], args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        def sending() -> Any:
            self.node = yield from publish(
                sig, _plain(args), _plain(kwargs), _plain(options), ids=self.ids, facts=self.facts
            )

        self.steps.extend(sending())
        return Sent(self, self.node)

    def send_task(self, name: str, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        self.by_name.add(len(self.steps))
        sig = sigs.signature(name, (), kwargs)
        sig["args"] = args or ()
        return self.send(sig, (), None, options)

    def evaluate(self, text: str) -> list[Step]:
        exec(text, self.names())
        return self.steps

    def value(self, text: str) -> Any:
        return eval(text, self.names())

    def names(self) -> dict[str, Any]:
        def wrap(make: Callable[..., Any]) -> Callable[..., Sig]:
            return lambda *args, **options: Sig(self, make(*_plain(args), **_plain(options)))

        app = SimpleNamespace(send_task=self.send_task, tasks=Tasks(self), conf=self.app_conf)
        names: dict[str, Any] = {
            "T": Tasks(self),
            "app": app,
            "chain": wrap(canvas.chain),
            "group": wrap(canvas.group),
            "chord": lambda head, body=None, **options: _chord(self, head, body, options),
            "signature": wrap(sigs.signature),
            "datetime": dt,
            "time": SimpleNamespace(sleep=lambda _seconds: None, time=time.time),
        }
        known = {"celery.canvas": SimpleNamespace(StampingVisitor=Visitor, **names), "celery": SimpleNamespace(**names)}

        def find(name: str, *rest: Any, **more: Any) -> Any:
            return known[name] if name in known else builtins.__import__(name, *rest, **more)

        names["__builtins__"] = {**vars(builtins), "__import__": find}
        return names


def _chord(shell: Shell, head: Any, body: Any, options: dict[str, Any]) -> Sig:
    return Sig(shell, canvas.chord(_plain(head), _plain(body), **_plain(options)))


def _plain(value: Any) -> Any:
    """Signatures as the plain dicts that they are, anywhere in a value; iterators stay iterators."""
    if isinstance(value, Sig):
        return _plain(value.plain)
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "__next__"):
        return map(_plain, value)
    return value


# --- from a call to its message -----------------------------------------------------------------------------

NOW = dt.datetime(2026, 11, 21, 3, 4, 5, 678901, tzinfo=dt.timezone.utc)
EXECUTION = (
    *("queue", "routing_key", "exchange", "priority", "expires", "serializer", "delivery_mode", "compression"),
    *("time_limit", "soft_time_limit", "immediate", "mandatory"),
)
# What the tasks of the captures say of themselves.
TASKS: dict[str, dict[str, Any]] = {
    "wire.prio": {"priority": 7},
    "wire.limited": {"time_limit": 30, "soft_time_limit": 20},
    "wire.ignored_result": {"ignore_result": True},
    "celery.chord_unlock": {"ignore_result": True},
}


def over_the_tasks(attributes: Mapping[str, Any], options: Mapping[str, Any], *, by_name: bool) -> dict[str, Any]:
    """A call's options over its task's: for `apply_async` all of them, for `send_task` those that say something."""
    return {**{name: value for name, value in attributes.items() if value is not None or not by_name}, **options}


class Router:
    """Where a call goes, for the calls of the captures. An app's own router is `compat/app/routes`."""

    def __init__(self, queues: Iterable[Queue] = (), default: str = "celery", routes: Any = None) -> None:
        self.queues = {queue.name: queue for queue in queues}
        self.default = default
        routes = () if routes is None else routes if isinstance(routes, (list, tuple)) else (routes,)
        self.rules = [RouteMap(route) if isinstance(route, (Mapping, list, tuple)) else route for route in routes]

    def find(self, name: str) -> Queue:
        return self.queues.setdefault(name, Queue(name, name, "direct", name))

    def expand(self, options: Mapping[str, Any], name: str, args: Any = (), kwargs: Any = None) -> dict[str, Any]:
        own = self._with_queue(options)
        for rule in self.rules:
            target = rule(name, args, kwargs or {}, own, task=None)
            if target is not None:
                return _over(self._with_queue(target), own)
        return own if "queue" in own else _over({"queue": self.find(self.default)}, own)

    def _with_queue(self, target: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"queue": target} if isinstance(target, str) else dict(target)
        queue = options.pop("queue", None)
        return {**options, "queue": queue if isinstance(queue, Queue) else self.find(queue)} if queue else options

    def resolve(self, options: Mapping[str, Any]) -> Route:
        exchange, routing_key, queue = (options.get(name) for name in ("exchange", "routing_key", "queue"))
        kind = options.get("exchange_type") or (queue.exchange_type if queue else "direct")
        if queue is not None and kind == "direct" and not (exchange and routing_key):
            return Route("", queue.name, queue)
        if queue is not None and exchange is None:
            exchange, routing_key = queue.exchange, routing_key or queue.routing_key or "celery"
        return Route(exchange or "", routing_key or "", queue, kind)


def _over(low: dict[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    return {**low, **{name: value for name, value in high.items() if value is not None}}


class App:
    """The settings of an app, as far as they show in a message."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self.priority = conf.get("task_default_priority")
        self.sender = Sender(
            origin="ORIGIN",
            reply_to=REPLY_TO,
            timezone=ZoneInfo(conf.get("timezone", "UTC")),
            utc=conf.get("enable_utc", True),
            protocol=conf.get("task_protocol", 2),
            serializer=conf.get("task_serializer", "json"),
            compression=conf.get("task_compression"),
            delivery_mode=conf.get("task_default_delivery_mode", 2),
        )
        default = conf.get("task_default_queue", "celery")
        self.router = Router(map(_queue, conf.get("_queues", ())), default, conf.get("task_routes"))

    def message(self, call: Call, *, by_name: bool = False) -> Outgoing:
        attributes: dict[str, Any] = dict.fromkeys(EXECUTION)
        if not by_name:
            attributes["ignore_result"] = False
        attributes |= {"priority": self.priority, **TASKS.get(call.name, {})}
        options = over_the_tasks(attributes, call.options, by_name=by_name)
        name = options.pop("route_name", None) or call.name
        options = self.router.expand(options, name, call.args, call.kwargs)
        return compose(Call(call.name, call.args, call.kwargs, options), self.sender, self.router.resolve(options), NOW)


def _queue(said: Mapping[str, str]) -> Queue:
    if "broadcast" in said:
        return Queue(said["broadcast"], said["broadcast"], "fanout")
    name = said["name"]
    return Queue(name, said.get("exchange", name), said.get("type", "direct"), said.get("routing_key", name))

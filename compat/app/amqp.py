"""`app.amqp`: Celery's queues, its router and its task messages, with kombu's objects for whoever asks for them.

Law: kombu is loaded when somebody asks for an object of its, and not in order to send a task. As long as nobody has
looked at `queues` and none are configured, tasks are routed by light stand-ins of the queues that kombu would make.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from ...protocol.hints import Any, NamedTuple
from ...protocol.moments import datetime, timezone
from ...protocol.rules import calling
from ...protocol.rules.calling import Call, Sender
from ...protocol.rules.routing import Queue as LightQueue
from ...protocol.wire.message import shape_v1, shape_v2
from ...protocol.wire.reprs import saferepr
from ...worker import sockets
from .. import alias
from . import producing
from . import routes as _routes
from .shortcuts import CHANGES, Shortcuts

__all__ = ("AMQP", "Queues", "task_message")

QUEUE_FORMAT = ".> {0.name:<16} exchange={0.exchange.name}({0.exchange.type}) key={0.routing_key}"
LIGHT_FORMAT = ".> {0.name:<16} exchange={0.exchange}({0.exchange_type}) key={0.routing_key}"


class task_message(NamedTuple):
    """A task message that is not written yet."""

    headers: Any
    properties: Any
    body: Any
    sent_event: Any


def utf8dict(d: Mapping[Any, Any], encoding: str = "utf-8") -> dict[Any, Any]:
    """With texts for keys."""
    return {key.decode(encoding) if isinstance(key, bytes) else key: value for key, value in d.items()}


class Queues(dict[str, Any]):
    """kombu's queues by name and by alias. A name that is unknown becomes a queue, where `create_missing` says so."""

    _consume_from: dict[str, Any] | None = None

    def __init__(
        self,
        queues: Any = None,
        default_exchange: Any = None,
        create_missing: bool = True,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Callable[[str], Any] | None = None,
        max_priority: int | None = None,
        default_routing_key: str | None = None,
    ) -> None:
        from weakref import WeakValueDictionary

        from kombu.entity import Exchange, Queue

        super().__init__()
        self.aliases: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self.default_exchange = default_exchange
        self.default_routing_key = default_routing_key
        self.create_missing = create_missing
        self.create_missing_queue_type = create_missing_queue_type
        self.create_missing_queue_exchange_type = create_missing_queue_exchange_type
        self.autoexchange = Exchange if autoexchange is None else autoexchange
        self.max_priority = max_priority
        if queues is not None and not isinstance(queues, Mapping):
            queues = {queue.name: queue for queue in queues}
        for name, queue in (queues or {}).items():
            if isinstance(queue, Queue):
                self.add(queue)
            else:
                self.add_compat(name, **queue)
        self._default_consume_from: dict[str, Any] = {**self}

    def __getitem__(self, name: str) -> Any:
        try:
            return self.aliases[name]
        except KeyError:
            return super().__getitem__(name)

    def __setitem__(self, name: str, queue: Any) -> None:
        if self.default_exchange and not queue.exchange:
            queue.exchange = self.default_exchange
        if not queue.routing_key:
            queue.routing_key = self.default_routing_key
        if self.max_priority is not None:
            if queue.queue_arguments is None:
                queue.queue_arguments = {}
            queue.queue_arguments.setdefault("x-max-priority", self.max_priority)
        super().__setitem__(name, queue)
        if queue.alias:
            self.aliases[queue.alias] = queue
        CHANGES.happened()

    def __missing__(self, name: str) -> Any:
        if self.create_missing:
            return self.add(self.new_missing(name))
        raise KeyError(name)

    def add(self, queue: Any, **kwargs: Any) -> Any:
        """Add a queue: kombu's, or one by its name and its options."""
        from kombu.entity import Queue

        return self._add(queue) if isinstance(queue, Queue) else self.add_compat(queue, **kwargs)

    def add_compat(self, name: str, **options: Any) -> Any:
        """Add a queue by its options; `binding_key` is an old name of its routing key."""
        from kombu.entity import Queue

        options.setdefault("routing_key", options.get("binding_key"))
        if options["routing_key"] is None:
            options["routing_key"] = name
        return self._add(Queue.from_dict(name, **options))

    def _add(self, queue: Any) -> Any:
        if self.default_exchange and (queue.exchange is None or queue.exchange.name == ""):
            queue.exchange = self.default_exchange
        self[queue.name] = queue
        return queue

    def format(self, indent: int = 0, indent_first: bool = True) -> str:
        """The queues that are consumed from, one on a line."""
        first, *rest = (" " * indent + line for line in _lines(self.consume_from)) if self.consume_from else ("",)
        return "\n".join([first if indent_first else first[indent:], *rest])

    def select_add(self, queue: Any, **kwargs: Any) -> Any:
        """Add a queue that is consumed from, whatever was selected."""
        added = self.add(queue, **kwargs)
        self.consume_from[added.name] = added
        return added

    def select(self, include: Any) -> None:
        """Consume from these alone."""
        if include:
            self._consume_from = {}
            for name in _listed(include):
                queue = self[name]
                self._consume_from[queue.name] = queue

    def deselect(self, exclude: Any) -> None:
        """Do not consume from these."""
        for name in _listed(exclude or ()):
            alias = self.aliases.get(name)
            self.consume_from.pop(name if alias is None else alias.name, None)

    def new_missing(self, name: str) -> Any:
        """The queue that an unknown name becomes."""
        from kombu.entity import Exchange, Queue

        kind = self.create_missing_queue_type or "classic"
        if kind not in ("classic", "quorum"):
            raise ValueError(f"Invalid queue type '{kind}'. Valid types are 'classic' and 'quorum'.")
        if self.create_missing_queue_exchange_type:
            exchange = Exchange(name, self.create_missing_queue_exchange_type)
        else:
            exchange = self.autoexchange(name)
        return Queue(name, exchange, name, queue_arguments=None if kind == "classic" else {"x-queue-type": kind})

    @property
    def consume_from(self) -> dict[str, Any]:
        return self._default_consume_from if self._consume_from is None else self._consume_from


class LightQueues(dict[str, LightQueue]):
    """What `Queues` holds when nothing is configured, without kombu: the default queue, and names as they come."""

    def __init__(self, default: LightQueue, create_missing: bool, exchange_type: str) -> None:
        super().__init__({default.name: default})
        self._create_missing = create_missing
        self._exchange_type = exchange_type

    def __missing__(self, name: str) -> LightQueue:
        if not self._create_missing:
            raise KeyError(name)
        queue = self[name] = LightQueue(name, name, self._exchange_type, name)
        return queue


def _lines(queues: Mapping[str, Any]) -> list[str]:
    """As the banner of a worker shows them, kombu's or light ones."""
    return [
        LIGHT_FORMAT.format(queue) if isinstance(queue, LightQueue) else QUEUE_FORMAT.format(queue)
        for _, queue in sorted(queues.items())
    ]


class _FromKombu:
    """A class of kombu's as an attribute, loaded when it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        import kombu

        return getattr(kombu, self._name)


class _Kept(cached_property[Any]):
    """A cached property; what is assigned to it goes through `made` first."""

    def __init__(self, function: Callable[[Any], Any], made: Callable[[Any, Any], Any]) -> None:
        super().__init__(function)
        self._made = made

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.attrname] = self._made(instance, value)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is not None and self.attrname in instance.__dict__:
            return instance.__dict__[self.attrname]
        return super().__get__(instance, owner)

    def __delete__(self, instance: Any) -> None:
        del instance.__dict__[self.attrname or ""]


def _outlet(app: Any) -> producing.Outlet:
    """Agents that write into messages do it around kombu's `publish`."""
    if alias.watchers() or "kombu.messaging" in sys.modules:
        from . import overheard

        if overheard.wrapped():
            return overheard.OverheardOutlet(app)
    return producing.Outlet(app)


class AMQP:
    """What an app knows of its broker."""

    Connection: Any = _FromKombu("Connection")
    Consumer: Any = _FromKombu("Consumer")
    Producer: Any = _FromKombu("Producer")
    BrokerConnection: Any = _FromKombu("Connection")

    queues_cls: Any = Queues

    #: What gives queues that are made up their exchange; None: one of their own name.
    autoexchange: Any = None

    #: How long the arguments may be that a message shows.
    argsrepr_maxsize = 1024
    kwargsrepr_maxsize = 1024

    _rtable: Any = None
    _producer_pool: Any = None
    _taken: tuple[str, ...] | None = None
    """What a worker takes from, if it was told so while there were only light queues."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.task_protocols = {1: self.as_task_v1, 2: self.as_task_v2}
        self.outlet = _outlet(app)
        self.shortcuts = Shortcuts(app)
        self.app._conf.bind_to(self._handle_conf_update)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        CHANGES.happened()

    # --- queues and routes

    def Queues(
        self,
        queues: Any,
        create_missing: bool | None = None,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Any = None,
        max_priority: int | None = None,
    ) -> Any:
        """A `Queues` with the defaults that the app is configured with."""
        conf = self.app.conf
        if not queues and conf.task_default_queue:
            from kombu.entity import Queue

            quorum = {"x-queue-type": "quorum"} if conf.task_default_queue_type == "quorum" else None
            queues = (
                Queue(
                    conf.task_default_queue,
                    exchange=self.default_exchange,
                    routing_key=conf.task_default_routing_key,
                    queue_arguments=quorum,
                ),
            )
        return self.queues_cls(
            queues,
            default_exchange=self.default_exchange,
            create_missing=_or(create_missing, conf.task_create_missing_queues),
            create_missing_queue_type=_or(create_missing_queue_type, conf.task_create_missing_queue_type),
            create_missing_queue_exchange_type=_or(
                create_missing_queue_exchange_type, conf.task_create_missing_queue_exchange_type
            ),
            autoexchange=_or(autoexchange, self.autoexchange),
            max_priority=_or(max_priority, conf.task_queue_max_priority),
            default_routing_key=conf.task_default_routing_key,
        )

    def Router(self, queues: Any = None, create_missing: bool | None = None) -> Any:
        """A router with the app's routes."""
        missing = self.app.either("task_create_missing_queues", create_missing)
        return _routes.Router(self.routes, queues or self.queues, missing, app=self.app)

    queues: Any = _Kept(lambda self: self._all_queues(), lambda self, queues: self.Queues(queues))
    router: Any = _Kept(lambda self: self.Router(), lambda _self, router: router)

    def _all_queues(self) -> Any:
        queues = self.Queues(self.app.conf.task_queues)
        if self._taken is not None:
            queues._consume_from = {name: queues[name] for name in self._taken}
        return queues

    def select(self, include: Any) -> None:
        """Consume from these alone. As `queues.select`, without kombu where light queues do."""
        if not self.is_plain:
            self.queues.select(include)
        elif include:
            self._taken = tuple(self.light_router.queues[name].name for name in _listed(include))

    def deselect(self, exclude: Any) -> None:
        """Do not consume from these."""
        if not self.is_plain:
            self.queues.deselect(exclude)
        elif exclude:
            gone = set(_listed(exclude))
            self._taken = tuple(name for name in self.taken if name not in gone)

    @property
    def taken(self) -> Mapping[str, Any]:
        """The queues that a worker takes from, by name."""
        if not self.is_plain:
            return self.queues.consume_from  # type: ignore[no-any-return]  # whatever class somebody has put there
        queues, default = self.light_router.queues, self.app.conf.task_default_queue
        return {name: queues[name] for name in ((default,) if self._taken is None else self._taken)}

    def shown_taken(self) -> str:
        """The same, one on a line."""
        return "\n".join(_lines(self.taken))

    @property
    def routes(self) -> Any:
        if self._rtable is None:
            self.flush_routes()
        return self._rtable

    def flush_routes(self) -> None:
        """Read the setting `task_routes` again."""
        self._rtable = _routes.prepare(self.app.conf.task_routes)
        self.__dict__.pop("light_router", None)

    @cached_property
    def default_queue(self) -> Any:
        return self.queues[self.app.conf.task_default_queue]

    @cached_property
    def default_exchange(self) -> Any:
        from kombu.entity import Exchange

        return Exchange(self.app.conf.task_default_exchange, self.app.conf.task_default_exchange_type)

    @property
    def is_plain(self) -> bool:
        """Whether nobody has looked at the queues or the router, so that light ones say the same."""
        seen = self.__dict__
        return "queues" not in seen and "router" not in seen and self.light_router is not None

    @cached_property
    def light_router(self) -> Any:
        """A router with light queues; None where the configuration asks for what only kombu's can say."""
        conf, mine = self.app.conf, type(self)
        special = (
            conf.task_queues
            or conf.task_queue_max_priority is not None
            or "quorum" in (conf.task_default_queue_type, conf.task_create_missing_queue_type)
            or self.autoexchange is not None
            or self.queues_cls is not Queues
            or mine.Queues is not AMQP.Queues
            or mine.Router is not AMQP.Router
            or any(not isinstance(route, _routes.MapRoute) for route in self.routes)
            or not conf.task_default_queue
        )
        if special:
            return None
        default = LightQueue(
            conf.task_default_queue,
            conf.task_default_exchange,
            conf.task_default_exchange_type,
            conf.task_default_routing_key,
        )
        exchange_type = conf.task_create_missing_queue_exchange_type or "direct"
        queues = LightQueues(default, conf.task_create_missing_queues, exchange_type)
        return _routes.Router(self.routes, queues, conf.task_create_missing_queues, app=self.app)

    def _handle_conf_update(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.pop("light_router", None)
        given = {*kwargs, *(args[0] if args else ())}
        if given & set(self.app.conf._to_keys("task_routes")):
            self.flush_routes()
            if "router" in self.__dict__:
                self.router = self.Router()

    # --- messages

    @cached_property
    def create_task_message(self) -> Any:
        return self.task_protocols[self.app.conf.task_protocol]

    @cached_property
    def send_task_message(self) -> Any:
        return self._create_task_sender()

    def _create_task_sender(self) -> Any:
        return producing.TaskSender(self)

    def as_task_v2(
        self,
        task_id: str,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: float | None = None,
        eta: Any = None,
        group_id: str | None = None,
        group_index: int | None = None,
        expires: Any = None,
        retries: int = 0,
        chord: Any = None,
        callbacks: Any = None,
        errbacks: Any = None,
        reply_to: str | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        create_sent_event: bool = False,
        root_id: str | None = None,
        parent_id: str | None = None,
        shadow: str | None = None,
        chain: Any = None,
        now: datetime | None = None,
        timezone: Any = None,
        origin: str | None = None,
        ignore_result: bool | None = False,
        argsrepr: str | None = None,
        kwargsrepr: str | None = None,
        stamped_headers: Any = None,
        replaced_task_nesting: int = 0,
        **options: Any,
    ) -> task_message:
        """A message of protocol 2."""
        told: dict[str, Any] = {name: options[name] for name in stamped_headers or ()}
        told.update(
            task_id=task_id,
            countdown=countdown,
            eta=eta,
            group_id=group_id,
            group_index=group_index,
            expires=expires,
            retries=retries,
            chord=chord,
            link=callbacks,
            link_error=errbacks,
            time_limit=time_limit,
            soft_time_limit=soft_time_limit,
            root_id=root_id,
            parent_id=parent_id,
            shadow=shadow,
            chain=chain,
            origin=origin,
            ignore_result=ignore_result,
            argsrepr=argsrepr,
            kwargsrepr=kwargsrepr,
            stamped_headers=stamped_headers,
            replaced_task_nesting=replaced_task_nesting,
        )
        task, _ = calling.draft(Call(name, args, kwargs, told), self._sender(timezone), now or self.app.now())
        headers, body = shape_v2(task)
        sent_event = calling.sent_event(task) if create_sent_event else None
        return task_message(headers, {"correlation_id": task_id, "reply_to": reply_to or ""}, body, sent_event)

    def as_task_v1(
        self,
        task_id: str,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: float | None = None,
        eta: Any = None,
        group_id: str | None = None,
        group_index: int | None = None,
        expires: Any = None,
        retries: int = 0,
        chord: Any = None,
        callbacks: Any = None,
        errbacks: Any = None,
        reply_to: str | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        create_sent_event: bool = False,
        root_id: str | None = None,
        parent_id: str | None = None,
        shadow: str | None = None,
        now: datetime | None = None,
        timezone: Any = None,
        **compat_kwargs: Any,
    ) -> task_message:
        """A message of protocol 1. The rest of a chain travels as callbacks within callbacks."""
        told = {
            "task_id": task_id,
            "countdown": countdown,
            "eta": eta,
            "group_id": group_id,
            "group_index": group_index,
            "expires": expires,
            "retries": retries,
            "chord": chord,
            "link": callbacks,
            "link_error": errbacks,
            "time_limit": time_limit,
            "soft_time_limit": soft_time_limit,
            "chain": compat_kwargs.get("chain"),
        }
        task, _ = calling.draft(Call(name, args, kwargs, told), self._sender(timezone), now or self.app.now())
        task, _ = calling.in_protocol(task, 1)
        headers, body = shape_v1(task)
        sent_event = None
        if create_sent_event:  # of any length: the setting of protocol 2 is not asked
            shown = {"args": saferepr(task.args), "kwargs": saferepr(task.kwargs)}
            sent_event = {**calling.sent_event(task), **shown}
        return task_message(headers, {"correlation_id": task_id, "reply_to": reply_to or ""}, body, sent_event)

    def _sender(self, zone: Any = None) -> Sender:
        return Sender(
            origin=origin(),
            timezone=zone or self.app.timezone or timezone.utc,
            utc=self.utc,
            argsrepr_maxsize=self.argsrepr_maxsize,
            kwargsrepr_maxsize=self.kwargsrepr_maxsize,
            repr_maxlevels=self.app.conf.task_repr_maxlevels,
        )

    def _retry_publish(self, publish: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Publish a callback; every send of ours is tried again on its own as its policy says."""
        return publish(*args, **kwargs)

    # --- kombu's objects, for whoever asks for them

    def TaskConsumer(self, channel: Any, queues: Any = None, accept: Any = None, **kw: Any) -> Any:
        """A kombu consumer of the queues that are consumed from."""
        accept = self.app.conf.accept_content if accept is None else accept
        return self.Consumer(channel, accept=accept, queues=queues or list(self.queues.consume_from.values()), **kw)

    @property
    def producer_pool(self) -> Any:
        """kombu's pool of producers."""
        if self._producer_pool is None:
            from kombu import pools

            self._producer_pool = pools.producers[self.app.connection_for_write()]
            self._producer_pool.limit = self.app.pool.limit
        return self._producer_pool

    publisher_pool = producer_pool

    @cached_property
    def utc(self) -> Any:
        return self.app.conf.enable_utc

    @cached_property
    def _event_dispatcher(self) -> Any:
        return self.app.events.Dispatcher(enabled=False)


def origin() -> str:
    """Who sends, where no node has a name: `gen<pid>@<host>`."""
    return f"gen{os.getpid()}@{sockets.hostname()}"


def _or(given: Any, default: Any) -> Any:
    return default if given is None else given


def _listed(given: Iterable[Any] | str) -> Iterable[Any]:
    return (given,) if isinstance(given, str) else given

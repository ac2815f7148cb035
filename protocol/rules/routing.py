"""Where a task goes: from the setting `task_routes` and the options of a call to an exchange and a routing key.

Two questions, in this order: which options does a route give this task (`Router.expand`), and where is a message
with these options published (`Router.resolve`). Law: routes given as import paths are resolved by the caller, who
may do I/O; a route given as a function is called here, with what Celery calls it with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import BadCall, shown
from ..hints import TYPE_CHECKING, Any
from ..values import dataclass

if TYPE_CHECKING:
    import re


@dataclass(frozen=True, slots=True)
class Queue:
    """What routing must know of a queue. How it is declared is the wire's business."""

    name: str
    exchange: str
    exchange_type: str = "direct"
    routing_key: str = ""
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where one message is published. `queue` is None for an exchange that no known queue stands behind."""

    exchange: str
    routing_key: str
    queue: Queue | None
    exchange_type: str = "direct"


Target = str | Mapping[str, Any]
"""What a route answers: a queue's name, or options."""

RouteRule = Callable[..., Target | None]
"""Called as `rule(name, args, kwargs, options, task=task)`; None leaves the task to the next rule."""


class RouteMap:
    """A mapping (or a list of pairs) of task names, globs or compiled patterns to targets.

    An exact name wins over every pattern; patterns are tried in the order they stand. A key is a glob when it holds
    a `*`, as in Celery: `feed.tasks.?` is a name.
    """

    __slots__ = ("names", "patterns")

    def __init__(self, pairs: Mapping[Any, Target] | Iterable[tuple[Any, Target]]) -> None:
        self.names: dict[str, Target] = {}
        self.patterns: list[tuple[re.Pattern[str], Target]] = []
        for pair in pairs.items() if isinstance(pairs, Mapping) else pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:  # noqa: PLR2004 (a pair is two)
                raise BadCall(f"task_routes: expected pairs of a name and a target, got {shown(pair)}")
            self._add(*pair)

    def _add(self, key: Any, target: Target) -> None:
        if not isinstance(target, (str, Mapping)):
            raise BadCall(f"task_routes: {key!r}: expected a queue name or a mapping of options, got {shown(target)}")
        if isinstance(key, str) and "*" not in key:
            self.names[key] = target
            return
        import re
        from fnmatch import translate

        if isinstance(key, str):
            key = re.compile(translate(key))
        elif not isinstance(key, re.Pattern):
            raise BadCall(f"task_routes: expected a task name, a glob or a compiled pattern, got {shown(key)}")
        self.patterns.append((key, target))

    def __call__(self, name: str, *_args: Any, **_kwargs: Any) -> Target | None:
        target = self.names.get(name)
        if target is not None:
            return target
        return next((target for pattern, target in self.patterns if pattern.match(name)), None)


def read_routes(setting: Any) -> tuple[RouteRule, ...]:
    """The setting `task_routes` in any of its forms: None, a mapping, a function, or a list of these.

    A list of pairs, `[("feed.*", "feeds"), ...]`, is one map only inside another list, as in Celery.
    """
    if setting is None:
        return ()
    if not isinstance(setting, (list, tuple)):
        setting = (setting,)
    return tuple(map(_rule, setting))


def _rule(route: Any) -> RouteRule:
    if isinstance(route, (Mapping, list, tuple)):
        return RouteMap(route)
    instance_method = getattr(route, "route_for_task", None)
    if instance_method is not None:
        return lambda name, args, kwargs, _options, **_kw: instance_method(name, args, kwargs)
    if callable(route):
        rule: RouteRule = route
        return rule
    raise BadCall(f"task_routes: expected a mapping, a function or a router object, got {shown(route)}")


@dataclass(frozen=True, slots=True)
class Missing:
    """What becomes of a queue that a call names and nobody configured (`task_create_missing_queues` and kin)."""

    create: bool = True
    exchange_type: str = "direct"


class Queues(dict[str, Queue]):
    """The configured queues by name and by alias; unknown names are made up as `Missing` says."""

    def __init__(self, queues: Iterable[Queue] = (), missing: Missing | None = None) -> None:
        super().__init__({queue.name: queue for queue in queues})
        self._missing = missing or Missing()
        self._aliases = {queue.alias: queue for queue in self.values() if queue.alias}

    def find(self, name: str) -> Queue:
        queue = self._aliases.get(name) or self.get(name)
        if queue is not None:
            return queue
        if not self._missing.create:
            raise BadCall(f"Queue {name!r} missing from task_queues")
        queue = Queue(name, name, self._missing.exchange_type, name)
        self[name] = queue
        return queue


@dataclass(frozen=True, slots=True)
class Router:
    """The routes and the queues of one app."""

    queues: Queues
    default_queue: str = "celery"
    rules: Sequence[RouteRule] = ()
    default_exchange: str = "celery"
    default_routing_key: str = "celery"

    def expand(
        self,
        options: Mapping[str, Any],
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        task: Any = None,
    ) -> dict[str, Any]:
        """The options of a call with what its route adds. What the call itself says wins, unless it says None."""
        own = self._with_queue(options)
        for rule in self.rules:
            target = rule(name, args, kwargs or {}, own, task=task)
            if target is None:
                continue
            if not target:
                break  # an empty answer ends the search and adds nothing
            return _merge(self._with_queue(target), own)
        if "queue" not in own:
            return _merge({"queue": self.queues.find(self.default_queue)}, own)
        return own

    def _with_queue(self, target: Target) -> dict[str, Any]:
        options: dict[str, Any] = {"queue": target} if isinstance(target, str) else dict(target)
        queue = options.pop("queue", None)
        if queue:
            options["queue"] = queue if isinstance(queue, Queue) else self.queues.find(_text("queue", queue))
        return options

    def resolve(self, options: Mapping[str, Any]) -> Route:
        """Where a message with these options goes.

        A direct exchange is never published to by name unless both it and a routing key are given: the message goes
        through the anonymous exchange straight to its queue. A lone `routing_key` is therefore ignored.
        """
        exchange, routing_key, queue = (
            options.get("exchange"),
            options.get("routing_key"),
            options.get("queue"),
        )
        if queue is None and exchange is None:
            queue = self.queues.find(self.default_queue)
        elif queue is not None and not isinstance(queue, Queue):
            queue = self.queues.find(_text("queue", queue))
        exchange_type = options.get("exchange_type") or (queue.exchange_type if queue else "direct")
        if exchange_type == "direct" and not (exchange and routing_key):
            if queue is None:
                raise BadCall(f"exchange {exchange!r} is given without a routing_key or a queue: nobody would get it")
            return Route("", queue.name, queue)
        if queue is not None and exchange is None:
            exchange = queue.exchange or self.default_exchange
            routing_key = routing_key or queue.routing_key or self.default_routing_key
        return Route(_text("exchange", exchange), _text("routing_key", routing_key or ""), queue, exchange_type)


def _merge(low: dict[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    low.update((key, value) for key, value in high.items() if value is not None)
    return low


def _text(field_name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise BadCall(f"{field_name}: expected a name, got {shown(value)}")


def topic_matches(pattern: str, routing_key: str) -> bool:
    """AMQP's topic rule: `*` is exactly one word, `#` any number of them, none included.

    RabbitMQ's reading; kombu's on Redis differs where `#` stands beside a dot (see `wire.redis`). Linear in the
    product of both lengths, whatever the pattern.
    """
    words = routing_key.split(".") if routing_key else []
    reached = {0}
    for part in pattern.split(".") if pattern else []:
        if part == "#":
            reached = set(range(min(reached), len(words) + 1))
        else:
            reached = {i + 1 for i in reached if i < len(words) and part in ("*", words[i])}
        if not reached:
            return False
    return len(words) in reached


def matches(exchange_type: str, binding_key: str, routing_key: str) -> bool:
    """Whether a queue bound with this key to an exchange of this type gets a message with that key."""
    rule = _MATCHES.get(exchange_type)
    if rule is None:
        raise BadCall(f"exchange type {exchange_type!r} is unknown; known are {', '.join(sorted(_MATCHES))}")
    return rule(binding_key, routing_key)


_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "direct": str.__eq__,
    "fanout": lambda _binding, _key: True,
    "topic": topic_matches,
}

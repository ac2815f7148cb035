"""Which target a route gives a task, and which queues get a message.

Law: nothing is looked up here: routes given as import paths, functions and router objects are asked by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

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

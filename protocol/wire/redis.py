"""kombu's layout of a Redis broker: the names of all keys and channels, and the commands that use queues.

Law: a command is a tuple, a door gives the list of them and sends nothing. With `MULTI` in front the list is one
transaction. Names are kombu 5.7's, so that any stock worker finds what we leave and we find what it leaves.
What is taken and not yet acknowledged is `redis_held`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import BadCall, shown
from ..hints import Any
from ..values import dataclass
from .envelope import clamped
from .redis_bindings import Binding, member, pattern_of
from .redis_order import STRATEGIES
from .redis_scripts import REFRESH_BINDING, SWEEP_BINDINGS
from .resp import Command

FANOUT_PREFIX = "/{db}."
BINDING_LIFETIME = 3_600_000  # ms; a binding of a queue that expires lives at least this long
_LIFETIMES = 2  # ...and this many times its queue's x-expires
_MULTI: Command = ("MULTI",)
_EXEC: Command = ("EXEC",)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one broker's keys are called. Field names are kombu's transport options."""

    db: int = 0
    global_keyprefix: str = ""
    sep: str = "\x06\x16"
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)
    queue_order_strategy: str = "round_robin"
    fanout_prefix: str = FANOUT_PREFIX
    fanout_patterns: bool = True
    sentinel_fanout_compat: bool = False
    ack_emulation: bool = True
    unacked_key: str = "unacked"
    unacked_index_key: str = "unacked_index"
    unacked_mutex_key: str = "unacked_mutex"
    unacked_mutex_expire: float = 300
    unacked_restore_limit: int | None = None
    visibility_timeout: float = 3600

    def __post_init__(self) -> None:
        for name, (wanted, right) in _RULES.items():
            value = getattr(self, name)
            if not right(value):
                raise BadCall(f"transport option {name}: expected {wanted}, got {shown(value)}")

    @classmethod
    def from_options(cls, options: Mapping[str, Any], db: int = 0) -> Layout:
        """From `broker_transport_options`; the many that do not touch the layout are not looked at."""
        chosen = {name: options[name] for name in cls.__match_args__ if name in options and name != "db"}
        steps = chosen.get("priority_steps")
        if isinstance(steps, (list, range)):
            chosen["priority_steps"] = tuple(steps)
        prefix = chosen.get("fanout_prefix", True)
        if prefix is True or not prefix:
            chosen["fanout_prefix"] = FANOUT_PREFIX if prefix else ""
        return cls(db=db, **chosen)

    def key(self, name: str) -> str:
        return self.global_keyprefix + name

    def step(self, priority: object) -> int:
        """The list a priority belongs to: the last step that it reaches."""
        reached = clamped(priority)
        return next((step for step in reversed(self.priority_steps) if step <= reached), self.priority_steps[-1])

    def list_key(self, queue: str, priority: object = 0) -> str:
        step = self.step(priority)
        return self.global_keyprefix + (f"{queue}{self.sep}{step}" if step else queue)

    def list_keys(self, *queues: str) -> list[str]:
        """In the order in which they are asked: the lowest step first, the queues inside each step."""
        return [self.list_key(queue, step) for step in self.priority_steps for queue in queues]

    @property
    def unacked(self) -> str:
        return self.global_keyprefix + self.unacked_key

    @property
    def unacked_index(self) -> str:
        return self.global_keyprefix + self.unacked_index_key

    @property
    def unacked_mutex(self) -> str:
        return self.global_keyprefix + self.unacked_mutex_key

    def binding(self, exchange: str) -> str:
        return f"{self.global_keyprefix}_kombu.binding.{exchange}"

    def permanent_binding(self, exchange: str) -> str:
        return f"{self.global_keyprefix}_kombu.binding_permanent.{exchange}"

    @property
    def binding_deadlines(self) -> str:
        return f"{self.global_keyprefix}_kombu.binding_deadlines"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_flag(value: object) -> bool:
    return isinstance(value, (bool, int))


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


def _are_steps(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and bool(value)
        and all(isinstance(step, int) and not isinstance(step, bool) and step >= 0 for step in value)
        and list(value) == sorted(set(value))
    )


# Option -> what it must be, in words and as a test.
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "db": ("a number from 0", lambda value: isinstance(value, int) and value >= 0),
    "global_keyprefix": ("a text", _is_text),
    "sep": ("a text that is not empty", _is_name),
    "priority_steps": ("ascending integers from 0", _are_steps),
    "queue_order_strategy": (f"one of {', '.join(STRATEGIES)}", lambda value: value in STRATEGIES),
    "fanout_prefix": ("a text, True or False", _is_text),
    "fanout_patterns": ("True or False", _is_flag),
    "sentinel_fanout_compat": ("True or False", _is_flag),
    "ack_emulation": ("True or False", _is_flag),
    "unacked_key": ("a text that is not empty", _is_name),
    "unacked_index_key": ("a text that is not empty", _is_name),
    "unacked_mutex_key": ("a text that is not empty", _is_name),
    "unacked_mutex_expire": ("seconds", _is_duration),
    "unacked_restore_limit": ("a positive integer or None", _is_limit),
    "visibility_timeout": ("seconds", _is_duration),
}


# Queues


def size(layout: Layout, *queues: str) -> list[Command]:
    """How much waits; EXEC's answers add up to it. Kombu declares a queue by this and nothing else."""
    return [_MULTI, *(("LLEN", key) for queue in queues for key in layout.list_keys(queue)), _EXEC]


def declare(layout: Layout, queue: str) -> list[Command]:
    return size(layout, queue)


def purge(layout: Layout, queue: str) -> list[Command]:
    """EXEC's answers: how much was in each list, then the reply to its DEL."""
    return [
        _MULTI,
        *(command for key in layout.list_keys(queue) for command in (("LLEN", key), ("DEL", key))),
        _EXEC,
    ]


def purged(exec_values: Sequence[Any]) -> int:
    return sum(value for value in exec_values[::2] if isinstance(value, int))


def pops(layout: Layout, queue: str) -> list[Command]:
    """`basic.get`: one after the other, until one brings something."""
    return [("RPOP", key) for key in layout.list_keys(queue)]


def block(layout: Layout, queues: Sequence[str], timeout: float) -> Command:
    """Takes one message as kombu does, into nobody's hands: whoever dies now has lost it (see redis_scripts.TAKE)."""
    return ("BRPOP", *layout.list_keys(*queues), timeout)


def watch(layout: Layout, queue: str, timeout: float, priority: object = 0) -> Command:
    """Blocks until this one list holds something and leaves it as it is. Redis 6.2."""
    key = layout.list_key(queue, priority)
    return ("BLMOVE", key, key, "RIGHT", "RIGHT", timeout)


# Publishing


def push(
    layout: Layout, queue: str, envelopes: Sequence[bytes], priority: object = 0, expires: int | None = None
) -> list[Command]:
    """Messages into one list, the first of them served first. `expires`: the queue's x-expires in ms."""
    if not envelopes:
        raise BadCall("nothing to push")
    pushed: Command = ("LPUSH", layout.list_key(queue, priority), *envelopes)
    if expires is None:
        return [pushed]
    return [_MULTI, pushed, *(("PEXPIRE", key, expires) for key in layout.list_keys(queue)), _EXEC]


def members(layout: Layout, exchange: str) -> Command:
    """Asks for an exchange's bindings, for `redis_bindings.parse_members` and `reached`."""
    return ("SMEMBERS", layout.binding(exchange))


# Bindings


def binding_of(exchange_type: str, routing_key: str, queue: str) -> Binding:
    return Binding(routing_key, pattern_of(routing_key) if exchange_type == "topic" else "", queue)


def bind(
    layout: Layout,
    exchange: str,
    routing_key: str,
    queue: str,
    exchange_type: str = "direct",
    *,
    expires: int | None = None,
    permanent: bool = True,
) -> list[Command]:
    """`expires`: the queue's x-expires in ms; its binding then has a deadline, to be bound anew before a third of it.

    `permanent=False` is what kombu did before 5.7: a sweep by a newer kombu may then take the set with an expiring
    queue's deadline.
    """
    entry = member(binding_of(exchange_type, routing_key, queue), layout.sep)
    key = layout.binding(exchange)
    if expires is not None:
        lifetime = max(expires * _LIFETIMES, BINDING_LIFETIME)
        return [REFRESH_BINDING.call((key, layout.binding_deadlines), (entry, exchange, lifetime))]
    if not permanent:
        return [("SADD", key, entry)]
    return [_MULTI, ("SADD", key, entry), ("SADD", layout.permanent_binding(exchange), entry), _EXEC]


def delete(layout: Layout, exchange: str, routing_key: str, queue: str, exchange_type: str = "direct") -> list[Command]:
    """A queue with one of its bindings."""
    entry = member(binding_of(exchange_type, routing_key, queue), layout.sep)
    return [
        ("SREM", layout.binding(exchange), entry),
        ("SREM", layout.permanent_binding(exchange), entry),
        _MULTI,
        *(("DEL", key) for key in layout.list_keys(queue)),
        _EXEC,
    ]


def sweep_bindings(layout: Layout, limit: int = 100) -> Command:
    """Deletes binding sets whose deadline has passed and that no lasting queue needs."""
    return SWEEP_BINDINGS.call((layout.binding_deadlines,), (layout.binding(""), layout.permanent_binding(""), limit))


# Fanout


def channels(layout: Layout, exchange: str, routing_key: str) -> list[str]:
    """Where a fanout message is published: one channel, two while kombu < 5.4 listens behind the same sentinels."""
    suffix = f"/{routing_key}" if routing_key and layout.fanout_patterns else ""
    prefix = layout.fanout_prefix.replace("{db}", str(layout.db))
    prefixes = [prefix]
    if layout.sentinel_fanout_compat and prefix != layout.fanout_prefix:
        prefixes.append(layout.fanout_prefix)
    return [f"{layout.global_keyprefix}{each}{exchange}{suffix}" for each in prefixes]


def publish(layout: Layout, exchange: str, routing_key: str, envelope: bytes) -> list[Command]:
    return [("PUBLISH", channel, envelope) for channel in channels(layout, exchange, routing_key)]


def subscribe(layout: Layout, bindings: Iterable[tuple[str, str]]) -> Command:
    """To (exchange, routing key) pairs; `#` in a key is any text."""
    return ("PSUBSCRIBE", *_subscriptions(layout, bindings))


def unsubscribe(layout: Layout, bindings: Iterable[tuple[str, str]]) -> Command:
    return ("PUNSUBSCRIBE", *_subscriptions(layout, bindings))


def _subscriptions(layout: Layout, bindings: Iterable[tuple[str, str]]) -> list[str]:
    return [
        channel
        for exchange, routing_key in bindings
        for channel in channels(layout, exchange, routing_key.replace("#", "*"))
    ]


def exchange_of(layout: Layout, channel: bytes) -> str:
    """The exchange whose fanout arrived on this channel."""
    name = channel.decode(errors="replace").removeprefix(layout.global_keyprefix)
    own = layout.fanout_prefix.replace("{db}", str(layout.db))
    if own and name.startswith(own):
        name = name.removeprefix(own)
    elif name.startswith("/"):
        name = name.partition(".")[2]
    return name.partition("/")[0]

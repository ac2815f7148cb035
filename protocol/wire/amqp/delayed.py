"""Native delayed delivery: RabbitMQ itself holds a message until it is due.

Law: the layout is kombu's, so that any worker may declare it and any producer use it. Level n is a queue that keeps a
message for 2**n seconds and hands it on to the exchange of level n-1; a message enters at the highest level with its
delay as binary digits in front of its routing key, and each exchange reads one digit: 1 waits, 0 passes.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import BadCall, shown
from ...hints import Any, NamedTuple
from .topology import Binding, Exchange, ExchangeBinding, Queue, Topology

LEVELS = 28
MAX_DELAY = (1 << LEVELS) - 1  # seconds: eight and a half years

_QUEUE_TYPES: Mapping[str, Mapping[str, Any]] = {
    "quorum": {"x-dead-letter-strategy": "at-least-once"},
    "classic": {},
}


class Delayed(NamedTuple):
    seconds: int
    routing_key: str


def level_name(level: int, prefix: str = "") -> str:
    """The exchange and the queue of a level."""
    return f"{_prefixed(prefix)}celery_delayed_{level}"


def delivery_exchange(prefix: str = "") -> str:
    """The exchange at which a message arrives when it is due."""
    return f"{_prefixed(prefix)}celery_delayed_delivery"


def entry_exchange(prefix: str = "", levels: int = LEVELS) -> str:
    """The exchange to which a delayed message is published."""
    return level_name(levels - 1, prefix)


def _prefixed(prefix: str) -> str:
    return f"{prefix}_" if prefix else ""


def delayed_topology(queue_type: str = "quorum", prefix: str = "", levels: int = LEVELS) -> Topology:
    """All levels, in the order in which a worker declares them. Fewer levels are for trying it out."""
    extra = _QUEUE_TYPES.get(queue_type)
    if extra is None:
        raise BadCall(f"queues of delayed delivery are quorum or classic, not {shown(queue_type)}")
    after = {level: level_name(level - 1, prefix) for level in range(1, levels)} | {0: delivery_exchange(prefix)}
    declarations: list[Exchange | Queue | Binding | ExchangeBinding] = []
    for level in reversed(range(levels)):
        name = level_name(level, prefix)
        arguments = {
            "x-queue-type": queue_type,
            "x-overflow": "reject-publish",
            "x-message-ttl": (1 << level) * 1000,
            "x-dead-letter-exchange": after[level],
            **extra,
        }
        declarations += (
            Exchange(name, "topic"),
            Queue(name, arguments=arguments),
            Binding(name, name, _digit(level, levels, "1")),
        )
    for level in reversed(range(levels)):
        if level == 0:
            declarations.append(Exchange(after[0], "topic"))
        source = level_name(level, prefix)
        declarations.append(ExchangeBinding(after[level], source, _digit(level, levels, "0")))
    return tuple(declarations)


def _digit(level: int, levels: int, digit: str) -> str:
    return "*." * (levels - 1 - level) + digit + ".#"


def delayed_bindings(queue: str, exchange: Exchange, routing_key: str, prefix: str = "") -> Topology:
    """What brings due messages to a task queue. Nothing for a direct exchange: it matches no pattern."""
    if exchange.type == "direct":
        return ()
    pattern = routing_key if routing_key.startswith("#") else f"#.{routing_key}"
    return (
        ExchangeBinding(exchange.name, delivery_exchange(prefix), pattern),
        Binding(queue, exchange.name, pattern),
    )


def delayed_routing_key(seconds: int, routing_key: str, levels: int = LEVELS) -> str:
    """The routing key under which a message waits that long.

    A key that already carries a delay loses it first. A delay beyond the levels waits as long as they reach; the task's
    own `eta` makes the worker wait for the rest.
    """
    if seconds < 1:
        raise BadCall(f"a delay is a whole second at least, got {shown(seconds)}")
    if not routing_key:
        raise BadCall("a delayed message needs a routing key")
    earlier = parse_delayed_routing_key(routing_key, levels)
    bits = min(seconds, (1 << levels) - 1)
    return f"{'.'.join(f'{bits:0{levels}b}')}.{earlier.routing_key if earlier else routing_key}"


def parse_delayed_routing_key(routing_key: str, levels: int = LEVELS) -> Delayed | None:
    """The delay and the routing key proper; None when the key carries no delay."""
    digits = routing_key[: 2 * levels]
    bits = digits[::2]
    if len(bits) != levels or digits[1::2] != "." * levels or bits.strip("01"):
        return None
    return Delayed(int(bits, 2), routing_key[2 * levels :])


def delayed_route(seconds: float, exchange_type: str, routing_key: str, prefix: str = "") -> tuple[str, str] | None:
    """Exchange and routing key for a message that is due in so many seconds; None when it is published as usual.

    Messages through a direct exchange cannot wait in the broker, and less than a second is for the worker to wait.
    """
    if exchange_type == "direct" or not seconds >= 1:
        return None
    whole = int(min(seconds, float(MAX_DELAY)))
    return entry_exchange(prefix), delayed_routing_key(whole, routing_key)

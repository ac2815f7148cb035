"""Exchanges, queues and bindings as Celery declares them on RabbitMQ.

Law: a declaration is a value, and a topology is a tuple of declarations in the order in which they are made. RabbitMQ
refuses (406) to declare a thing again with other flags or arguments: these are Celery's, to the letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...errors import BadCall
from ...errors import shown as shown_value
from ...hints import Any
from ...values import dataclass, field

QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum"}
WORKER_DIRECT_EXCHANGE = "C.dq2"
RESULT_EXPIRES = 86400.0
FOREIGN_RESULT_EXCHANGE = "celeryresults"


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    passive: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def call(self) -> tuple[str, dict[str, Any]]:
        """The method that makes it: name and fields, for `frames.write_call`."""
        return "exchange.declare", {
            "exchange": self.name,
            "type": self.type,
            "passive": self.passive,
            "durable": self.durable,
            "auto_delete": self.auto_delete,
            "internal": False,
            "no_wait": False,
            "arguments": dict(self.arguments),
        }


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    passive: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def call(self) -> tuple[str, dict[str, Any]]:
        return "queue.declare", {
            "queue": self.name,
            "passive": self.passive,
            "durable": self.durable,
            "exclusive": self.exclusive,
            "auto_delete": self.auto_delete,
            "no_wait": False,
            "arguments": dict(self.arguments),
        }


@dataclass(frozen=True, slots=True)
class Binding:
    """What arrives at `exchange` under `routing_key` goes to `queue` too."""

    queue: str
    exchange: str
    routing_key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def call(self) -> tuple[str, dict[str, Any]]:
        return "queue.bind", {
            "queue": self.queue,
            "exchange": self.exchange,
            "routing_key": self.routing_key,
            "no_wait": False,
            "arguments": dict(self.arguments),
        }


@dataclass(frozen=True, slots=True)
class ExchangeBinding:
    """What arrives at `source` under `routing_key` goes to the exchange `destination` too."""

    destination: str
    source: str
    routing_key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def call(self) -> tuple[str, dict[str, Any]]:
        return "exchange.bind", {
            "destination": self.destination,
            "source": self.source,
            "routing_key": self.routing_key,
            "no_wait": False,
            "arguments": dict(self.arguments),
        }


Declaration = Exchange | Queue | Binding | ExchangeBinding
Topology = tuple[Declaration, ...]


# -- arguments --


def queue_arguments(
    arguments: Mapping[str, Any] | None = None,
    *,
    expires: float | None = None,
    message_ttl: float | None = None,
    max_length: int | None = None,
    max_length_bytes: int | None = None,
    max_priority: int | None = None,
) -> dict[str, Any]:
    """The caller's arguments, then the options under RabbitMQ's names. Seconds become whole milliseconds."""
    options = {
        "x-expires": _milliseconds(expires),
        "x-message-ttl": _milliseconds(message_ttl),
        "x-max-length": max_length,
        "x-max-length-bytes": max_length_bytes,
        "x-max-priority": max_priority,
    }
    given = {name: int(value) for name, value in options.items() if value is not None}
    return {**(arguments or {}), **given}


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(float(seconds) * 1000.0)


def dead_letter_arguments(
    exchange: str, routing_key: str | None = None, *, at_least_once: bool = False
) -> dict[str, Any]:
    """Arguments of a queue that hands its rejected and expired messages on. At least once is for quorum queues."""
    arguments: dict[str, Any] = {"x-dead-letter-exchange": exchange}
    if routing_key is not None:
        arguments["x-dead-letter-routing-key"] = routing_key
    if at_least_once:
        arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    return arguments


def is_quorum(arguments: Mapping[str, Any] | None) -> bool:
    return arguments is not None and arguments.get("x-queue-type") == "quorum"


# -- topologies --


def task_queue(queue: Queue, exchange: Exchange | None = None, routing_key: str | None = None) -> Topology:
    """A queue of tasks, as worker and producer declare it: its exchange, itself, its binding.

    Without an exchange it gets one of its own name, as a queue gets that somebody only named. The default exchange
    (no name) binds every queue by itself; exchanges named `amq.` are the broker's own and are not declared.
    """
    if is_quorum(queue.arguments) and (
        queue.exclusive or queue.auto_delete or not queue.durable or "x-max-priority" in queue.arguments
    ):
        raise BadCall(
            f"queue {queue.name}: a quorum queue is durable and has no auto_delete, exclusive or x-max-priority"
        )
    exchange = Exchange(queue.name) if exchange is None else exchange
    if not exchange.name:
        return (queue,)
    binding = Binding(queue.name, exchange.name, queue.name if routing_key is None else routing_key)
    if exchange.name.startswith("amq."):
        return (queue, binding)
    return (exchange, queue, binding)


def worker_direct(node: str) -> Topology:
    """The queue that only this worker consumes."""
    return task_queue(Queue(f"{node}.dq2"), Exchange(WORKER_DIRECT_EXCHANGE), node)


def broadcast(name: str, unique: str, routing_key: str = "celery", *, queue: str | None = None) -> Topology:
    """A queue of this worker's own at an exchange that gives each worker a copy. `unique` is a fresh uuid.

    Producers declare nothing of it. The routing key is the default one of the app; a fanout exchange ignores it.
    """
    return task_queue(Queue(queue or f"bcast.{unique}", auto_delete=True), Exchange(name, "fanout"), routing_key)


def control_requests(
    node: str,
    *,
    namespace: str = "celery",
    durable: bool = False,
    exclusive: bool = True,
    message_ttl: float | None = 300.0,
    expires: float | None = 10.0,
) -> Topology:
    """Where a worker hears remote-control requests."""
    exchange = control_exchange(namespace)
    queue = _mailbox(f"{node}.{exchange.name}", durable, exclusive, message_ttl, expires)
    return (exchange, queue, Binding(queue.name, exchange.name, ""))


def control_replies(
    oid: str,
    *,
    namespace: str = "celery",
    durable: bool = False,
    exclusive: bool = True,
    message_ttl: float | None = 300.0,
    expires: float | None = 10.0,
) -> Topology:
    """Where a requester hears the answers."""
    exchange = reply_exchange(namespace)
    queue = _mailbox(f"{oid}.{exchange.name}", durable, exclusive, message_ttl, expires)
    return (exchange, queue, Binding(queue.name, exchange.name, oid))


def control_exchange(namespace: str = "celery") -> Exchange:
    return Exchange(f"{namespace}.pidbox", "fanout", durable=False)


def reply_exchange(namespace: str = "celery") -> Exchange:
    return Exchange(f"reply.{namespace}.pidbox", durable=False)


def events(
    unique: str,
    routing_key: str = "#",
    *,
    exchange: str = "celeryev",
    prefix: str = "celeryev",
    durable: bool = False,
    exclusive: bool = True,
    message_ttl: float | None = 5.0,
    expires: float | None = 60.0,
) -> Topology:
    """Where a monitor (`#`) or gossip (`worker.#`) hears events."""
    hub = event_exchange(exchange)
    queue = _mailbox(f"{prefix}.{unique}", durable, exclusive, message_ttl, expires)
    return (hub, queue, Binding(queue.name, hub.name, routing_key))


def event_exchange(name: str = "celeryev") -> Exchange:
    return Exchange(name, "topic")


def _mailbox(name: str, durable: bool, exclusive: bool, message_ttl: float | None, expires: float | None) -> Queue:
    if durable and exclusive:
        raise BadCall(f"queue {name}: an exclusive queue cannot be durable")
    arguments = queue_arguments(expires=expires, message_ttl=message_ttl)
    return Queue(name, durable=durable, exclusive=exclusive, auto_delete=not durable, arguments=arguments)


def rpc_replies(oid: str, expires: float | None = RESULT_EXPIRES) -> tuple[Queue]:
    """The queue of a producer whose results come as messages."""
    return (Queue(oid, auto_delete=True, arguments=queue_arguments(expires=expires)),)


def foreign_results(task_id: str) -> tuple[Queue]:
    """The queue in which gocelery, celery-node and node-celery look for one task's result."""
    return rpc_replies(task_id.replace("-", ""))


def foreign_result_exchange() -> Exchange:
    """node-celery binds its result queues to it and lives in a loop of reconnects when nobody has made it.

    Direct, as Celery before 5 declares it.
    """
    return Exchange(FOREIGN_RESULT_EXCHANGE, "direct")


# -- consuming --


def qos_is_global(server_properties: Mapping[str, Any], queues: Iterable[Queue] = ()) -> bool:
    """Whether the prefetch count is set for the whole channel (RabbitMQ's `global`).

    Classic queues of RabbitMQ 3.3 to 3.13 take it; quorum queues refuse it, and RabbitMQ 4 has dropped it.
    """
    if any(is_quorum(queue.arguments) for queue in queues) or server_properties.get("product") != "RabbitMQ":
        return False
    version = server_properties.get("version")
    return isinstance(version, str) and bool(version) and (3, 3) <= _version(version) < (4, 0)


def _version(text: str) -> tuple[int, int]:
    major, minor = (_number(part) for part in [*text.split("."), "0"][:2])
    return major, minor


def _number(digits: str) -> int:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else 0


_DIGITS = 9  # more are no version


def qos_call(prefetch_count: int, *, is_global: bool) -> tuple[str, dict[str, Any]]:
    if not 0 <= prefetch_count <= 0xFFFF:  # noqa: PLR2004 - two bytes; 0 is unlimited
        raise BadCall(f"a prefetch count is from 0 to 65535, got {shown_value(prefetch_count)}")
    return "basic.qos", {"prefetch_size": 0, "prefetch_count": prefetch_count, "global": is_global}

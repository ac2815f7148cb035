"""Where the peers meet: each broker with its result store, as URLs and settings, and how it is swept between two pairs.

Law: a pair begins with empty queues and an empty store, and shares neither with the pairs that run beside it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import amqp

from interop.peers import OURS, STOCK, Peer
from tests import servers

QUEUES = ("celery", "a", "b")
QUORUM = {"x-queue-type": "quorum"}
PREFIX = {"global_keyprefix": "mine:"}


@dataclass(frozen=True)
class Broker:
    """`meta` gives the raw result document of a task, or None where results cannot be looked at from outside."""

    name: str
    broker: str
    backend: str
    backend_of_python: str
    sweep: Callable[[], None]
    empty: Callable[[str], None]  # one queue, when whoever read it is gone, and a producer goes on
    store: servers.RedisServer | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    queue_arguments: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    only: frozenset[str] = frozenset()  # these capabilities alone, if any are named
    unasked: frozenset[str] = frozenset()  # capabilities that are no question here
    keeps: bool = True  # results can be looked at from outside
    rabbit: VirtualHost | None = None
    urgent_first: str = ""  # which priority goes first, "low" or "high", where any does

    @property
    def title(self) -> str:
        return TITLES.get(self.name, self.name)

    def variables(self, peer: Peer, queue: str, settings: Mapping[str, Any]) -> dict[str, str]:
        said = {**self.settings, **settings}
        given = {
            "BROKER": self.broker,
            "BACKEND": self.backend_of_python if peer.python else self.backend,
            "QUEUE": queue,
            "SETTINGS": json.dumps(said),
            "STORE": self.store.url if self.store else "",  # where tasks leave traces
        }
        if self.queue_arguments and peer.python:
            given["QUEUE_ARGUMENTS"] = json.dumps(self.queue_arguments)
        return given

    def meta(self, task_id: str) -> Any:
        if self.store is None or not self.keeps:
            return None
        raw = self.store.call("GET", f"{self.prefix}celery-task-meta-{task_id}")
        return None if raw is None else json.loads(raw)

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel of RabbitMQ, for what is sent by nobody's client."""
        assert self.rabbit
        with _connection(self.rabbit) as connection, connection.channel() as channel:
            yield channel

    def trace(self, key: str) -> list[Any]:
        """What tasks left under a key of the store, past whatever prefix results have."""
        if self.store is None:
            return []
        return [json.loads(each) for each in self.store.call("LRANGE", key, 0, -1)]

    def failed(self, queue: str) -> list[str]:
        """The ids of failed tasks that errbacks were told of by the worker of this queue."""
        assert self.store
        return [each.decode() for each in self.store.call("LRANGE", f"interop-errbacks-{queue}", 0, -1)]

    def among(self, who: Iterable[str]) -> Broker:
        """As it must be set among these."""
        if self.name == "prefix" and "celery-5.2.7" in who:  # which knows a prefix of messages, and none of results
            return replace(self, settings={"broker_transport_options": PREFIX}, prefix="")
        return self


@dataclass(frozen=True)
class VirtualHost:
    port: int
    name: str

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{self.name}"


class Servers:
    """What stands for a whole run: one RabbitMQ, started when first wanted, with a virtual host for each lane."""

    def __init__(self, lanes: int = 1) -> None:
        self._stack = ExitStack()
        self._names = [f"lane{number}" for number in range(lanes)]
        self._one = threading.Lock()
        self._rabbit: servers.RabbitServer | None = None

    def __enter__(self) -> Servers:  # noqa: PYI034 - nobody derives from it
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def virtual_host(self, lane: int) -> VirtualHost:
        with self._one:
            if self._rabbit is None:
                self._rabbit = self._stack.enter_context(servers.rabbitmq_server(*self._names))
        return VirtualHost(self._rabbit.port, self._names[lane])

    @contextmanager
    def lane(self, number: int) -> Iterator[Lane]:
        with ExitStack() as stack:
            yield Lane(self, number, stack)


class Lane:
    """Where one pair at a time meets, apart from those of other lanes: a Redis of its own, a virtual host."""

    def __init__(self, run: Servers, number: int, stack: ExitStack) -> None:
        self._run = run
        self._number = number
        self._stack = stack
        self._redis: servers.RedisServer | None = None
        self._sentinel: int | None = None

    @property
    def redis(self) -> servers.RedisServer:
        if self._redis is None:
            self._redis = self._stack.enter_context(servers.redis_server())
        return self._redis

    @property
    def sentinel(self) -> int:
        if self._sentinel is None:
            self._sentinel = self._stack.enter_context(servers.sentinel_server(self.redis))
        return self._sentinel

    @property
    def rabbit(self) -> VirtualHost:
        return self._run.virtual_host(self._number)

    def broker(self, name: str) -> Broker:
        return MAKERS[name](self)

    def flush(self) -> None:
        self.redis.call("FLUSHALL")

    def empty_list(self, name: str) -> None:
        for prefix in ("", PREFIX["global_keyprefix"]):
            self.redis.call("DEL", prefix + name)

    def drop_queues(self) -> None:
        self.flush()
        with _connection(self.rabbit) as connection:
            for name in QUEUES:
                with suppress(amqp.NotFound), connection.channel() as channel:
                    channel.queue_delete(name)

    def purge(self, name: str) -> None:
        """With what comes back from a consumer that is gone."""
        end = time.monotonic() + 2
        with _connection(self.rabbit) as connection, suppress(amqp.NotFound), connection.channel() as channel:
            while channel.queue_declare(name, passive=True).consumer_count and time.monotonic() < end:
                time.sleep(0.02)
            channel.queue_purge(name)


@contextmanager
def _connection(rabbit: VirtualHost) -> Iterator[Any]:
    connection = amqp.Connection(
        f"127.0.0.1:{rabbit.port}", userid="guest", password="guest", virtual_host=rabbit.name, connect_timeout=5
    )
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def _redis(here: Lane) -> Broker:
    url = here.redis.url
    return Broker("redis", url, url, url, here.flush, here.empty_list, here.redis)


def _rabbitmq(here: Lane) -> Broker:
    store = here.redis.url
    return Broker(
        "rabbitmq", here.rabbit.url, store, store, here.drop_queues, here.purge, here.redis, rabbit=here.rabbit,
    )  # fmt: skip


# Results that travel are read once, by their caller: nobody else can look whether they are there.
ABOUT_STORES = frozenset({"run", "retry seen", "ignore result"})


def _rpc(here: Lane) -> Broker:
    url = here.rabbit.url
    return Broker(
        "rpc", url, url, "rpc://", here.drop_queues, here.purge, here.redis, unasked=ABOUT_STORES,
        keeps=False,
    )  # fmt: skip


def _quorum(here: Lane) -> Broker:
    store = here.redis.url
    settings = {"task_default_queue_type": "quorum", "worker_detect_quorum_queues": True}
    return Broker(
        "quorum", here.rabbit.url, store, store, here.drop_queues, here.purge, here.redis, settings, QUORUM,
    )  # fmt: skip


def _prefix(here: Lane) -> Broker:
    url = here.redis.url
    settings = {"broker_transport_options": PREFIX, "result_backend_transport_options": PREFIX}
    return Broker(
        "prefix",
        url,
        url,
        url,
        here.flush,
        here.empty_list,
        here.redis,
        settings,
        prefix=PREFIX["global_keyprefix"],
    )


ABOUT_PRIORITIES = frozenset(
    {"run", "read", "kwargs", "fails", "retry", "revoke", "eta", "priority", "order", "chain", "chord"}
)


def _priorities(here: Lane) -> Broker:
    url = here.redis.url
    settings = {"broker_transport_options": {"queue_order_strategy": "priority"}, "worker_prefetch_multiplier": 1}
    return Broker(
        "priorities", url, url, url, here.flush, here.empty_list, here.redis, settings, only=ABOUT_PRIORITIES,
        urgent_first="low",
    )  # fmt: skip


def _rabbit_priorities(here: Lane) -> Broker:
    store = here.redis.url
    return Broker(
        "rabbitmq priorities", here.rabbit.url, store, store, here.drop_queues, here.purge, here.redis,
        {"worker_prefetch_multiplier": 1}, {"x-max-priority": 10}, only=ABOUT_PRIORITIES,
        urgent_first="high",
    )  # fmt: skip


def _sentinel(here: Lane) -> Broker:
    url = f"sentinel://127.0.0.1:{here.sentinel}/0"
    options = {"master_name": "mymaster"}
    settings = {"broker_transport_options": options, "result_backend_transport_options": options}
    return Broker(
        "sentinel", url, url, url, here.flush, here.empty_list, here.redis, settings,
    )  # fmt: skip


MAKERS: dict[str, Callable[[Lane], Broker]] = {
    "redis": _redis,
    "rabbitmq": _rabbitmq,
    "rpc": _rpc,
    "quorum": _quorum,
    "prefix": _prefix,
    "priorities": _priorities,
    "rabbitmq priorities": _rabbit_priorities,
    "sentinel": _sentinel,
}
TITLES = {
    "redis": "Redis",
    "priorities": "Redis, priorities",
    "prefix": "Redis, key prefix",
    "sentinel": "Redis, Sentinel",
    "rabbitmq": "RabbitMQ classic",
    "rpc": "RabbitMQ, results too",
    "rabbitmq priorities": "RabbitMQ, priorities",
    "quorum": "RabbitMQ quorum",
}
# Who knows such a thing at all, where not everybody does; and where two workers tell no more than one.
_KNOW_MORE = frozenset({STOCK, OURS, "celery-5.2.7", "celery-4.4.7"})
KNOWN_TO = {
    "priorities": _KNOW_MORE,
    "rabbitmq priorities": _KNOW_MORE,
    "sentinel": _KNOW_MORE | {"celery-node", "celery-ts"},
    "prefix": frozenset({STOCK, OURS, "celery-5.2.7", "celery-node"}),
}
NO_FLEETS = frozenset({"rpc", "priorities", "rabbitmq priorities"})

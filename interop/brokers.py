"""Where the peers meet: each broker with its result store, as URLs and settings, and how it is swept between two pairs.

Law: a pair begins with empty queues and an empty store; servers are private and stand for the whole run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import amqp

from interop.peers import OURS, STOCK, Peer
from tests import servers

QUEUES = ("celery", "a", "b")
KNOW_PREFIX = frozenset({STOCK, OURS})
QUORUM = {"x-queue-type": "quorum"}


@dataclass(frozen=True)
class Broker:
    """`meta` gives the raw result document of a task, or None where results cannot be looked at from outside."""

    name: str
    title: str
    broker: str
    backend: str
    backend_of_python: str
    sweep: Callable[[], None]
    store: servers.RedisServer | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    quorum: bool = False
    prefix: str = ""
    only: frozenset[str] = frozenset()  # these capabilities alone, if any are named
    peers: frozenset[str] = frozenset()  # these peers alone, if any are named: the others know no such thing

    def variables(self, peer: Peer, queue: str, settings: Mapping[str, Any]) -> dict[str, str]:
        said = {**self.settings, **settings}
        given = {
            "BROKER": self.broker,
            "BACKEND": self.backend_of_python if peer.python else self.backend,
            "QUEUE": queue,
            "SETTINGS": json.dumps(said),
        }
        if self.quorum and peer.python:
            given["QUEUE_ARGUMENTS"] = json.dumps(QUORUM)
        return given

    def meta(self, task_id: str) -> Any:
        if self.store is None:
            return None
        raw = self.store.call("GET", f"{self.prefix}celery-task-meta-{task_id}")
        return None if raw is None else json.loads(raw)

    def trace(self, key: str) -> list[Any]:
        """What tasks left under a key of the store, past whatever prefix results have."""
        if self.store is None:
            return []
        return [json.loads(each) for each in self.store.call("LRANGE", key, 0, -1)]


class Servers:
    """One Redis and one RabbitMQ for the whole run, started when first wanted."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._redis: servers.RedisServer | None = None
        self._rabbit: servers.RabbitServer | None = None

    def __enter__(self) -> Servers:  # noqa: PYI034 - nobody derives from it
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def redis(self) -> servers.RedisServer:
        if self._redis is None:
            self._redis = self._stack.enter_context(servers.redis_server())
        return self._redis

    @property
    def rabbit(self) -> servers.RabbitServer:
        if self._rabbit is None:
            self._rabbit = self._stack.enter_context(servers.rabbitmq_server())
        return self._rabbit

    def broker(self, name: str) -> Broker:
        return MAKERS[name](self)

    def flush(self) -> None:
        self.redis.call("FLUSHALL")

    def drop_queues(self) -> None:
        self.flush()
        with _channel(self.rabbit) as connection:
            for name in QUEUES:
                with suppress(amqp.NotFound), connection.channel() as channel:
                    channel.queue_delete(name)


@contextmanager
def _channel(rabbit: servers.RabbitServer) -> Iterator[Any]:
    connection = amqp.Connection(f"127.0.0.1:{rabbit.port}", userid="guest", password="guest", connect_timeout=5)
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def _redis(here: Servers) -> Broker:
    url = here.redis.url
    return Broker("redis", "Redis", url, url, url, here.flush, here.redis)


def _rabbitmq(here: Servers) -> Broker:
    store = here.redis.url
    return Broker(
        "rabbitmq", "RabbitMQ classic", here.rabbit.url, store, store, here.drop_queues, here.redis,
    )  # fmt: skip


def _rpc(here: Servers) -> Broker:
    url = here.rabbit.url
    only = frozenset({"read", "two reads", "kwargs", "unicode", "nested", "float", "null", "fails", "exception"})
    return Broker("rpc", "RabbitMQ, results too", url, url, "rpc://", here.drop_queues, None, only=only)


def _quorum(here: Servers) -> Broker:
    store = here.redis.url
    settings = {"task_default_queue_type": "quorum", "worker_detect_quorum_queues": True}
    return Broker(
        "quorum", "RabbitMQ quorum", here.rabbit.url, store, store, here.drop_queues, here.redis, settings, quorum=True,
    )  # fmt: skip


def _prefix(here: Servers) -> Broker:
    url = here.redis.url
    settings = {
        "broker_transport_options": {"global_keyprefix": "mine:"},
        "result_backend_transport_options": {"global_keyprefix": "mine:"},
    }
    return Broker(
        "prefix",
        "Redis, key prefix",
        url,
        url,
        url,
        here.flush,
        here.redis,
        settings,
        prefix="mine:",
        peers=KNOW_PREFIX,
    )


MAKERS: dict[str, Callable[[Servers], Broker]] = {
    "redis": _redis,
    "rabbitmq": _rabbitmq,
    "rpc": _rpc,
    "quorum": _quorum,
    "prefix": _prefix,
}
# Lanes run side by side, each with servers of its own; the brokers of a lane one after the other.
CORE = (("redis",), ("rabbitmq", "rpc"))
FULL = (("redis", "prefix"), ("rabbitmq", "rpc"), ("quorum",))

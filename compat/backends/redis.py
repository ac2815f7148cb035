"""The Redis result backends, by Celery's names."""

from __future__ import annotations

from typing import Any

from .asynchronous import AsyncBackendMixin, BaseResultConsumer
from .base import BaseKeyValueStoreBackend
from .stored import Stored

__all__ = ("RedisBackend", "SentinelBackend")


class ResultConsumer(BaseResultConsumer):
    """What Celery has listen for results; here the store does."""


class RedisBackend(Stored, BaseKeyValueStoreBackend, AsyncBackendMixin):
    """Results in Redis: who waits is told."""

    ResultConsumer = ResultConsumer

    scheme = "redis"
    supports_autoexpire = True
    implements_incr = False  # chords are counted by the store's own scripts

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        db: Any = None,
        password: str | None = None,
        max_connections: int | None = None,
        url: str | None = None,
        connection_pool: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(url=url, expires_type=int, **kwargs)
        given = {"host": host, "port": port, "db": db, "password": password, "max_connections": max_connections}
        self._given = {name: value for name, value in given.items() if value is not None}
        if host and "://" in host:
            self.url, self._given = host, {}

    # --- keys

    def get(self, key: Any) -> Any:
        return self.plain.get(_name(key))

    def mget(self, keys: Any) -> Any:
        return self.plain.get_many([_name(key) for key in keys])

    def set(self, key: Any, value: Any, **retry_policy: Any) -> Any:
        self.plain.put(_name(key), value, self.expires)

    def delete(self, key: Any) -> Any:
        self.plain.delete(_name(key))


class SentinelBackend(RedisBackend):
    """Results in the master that Sentinels name."""

    scheme = "sentinel"


def _name(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else key

"""The cache result backend, by Celery's names: memcached, and a dict of this process."""

from __future__ import annotations

from typing import Any

from ..exceptions import ImproperlyConfigured
from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("CacheBackend",)

UNKNOWN_BACKEND = "The cache backend {0!r} is unknown,\nPlease use one of the following backends instead: {1}"

_DUMMY_CLIENT_CACHE: dict[Any, Any] = {}
KINDS = ("memcache", "memcached", "pylibmc", "memory")


class DummyClient:
    """A memcached client that keeps all in a dict."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.cache = _DUMMY_CLIENT_CACHE

    def get(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return self.cache.get(key)

    def get_multi(self, keys: Any) -> dict[Any, Any]:
        return {key: self.cache[key] for key in keys if key in self.cache}

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        self.cache[key] = value

    def delete(self, key: Any, *args: Any, **kwargs: Any) -> None:
        self.cache.pop(key, None)

    def incr(self, key: Any, delta: int = 1) -> int:
        found: int = self.cache.get(key, 0) + delta
        self.cache[key] = found
        return found

    def touch(self, key: Any, expire: Any) -> None:
        """Nothing expires here."""


class CacheBackend(StoredKeys, KeyValueStoreBackend):
    """Results in memcached."""

    scheme = "cache"
    servers: Any = None
    backend: str
    supports_autoexpire = True

    def __init__(
        self,
        app: Any,
        expires: Any = None,
        backend: str | None = None,
        options: Any = None,
        url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(app, url=url, expires=expires, **kwargs)
        self.options = {**(app.conf.cache_backend_options or {}), **(options or {})}
        place = url or backend or app.conf.cache_backend or ""
        self.backend, _, servers = place.partition("://")
        self.servers = servers.rstrip("/").split(";")
        if self.backend not in KINDS:
            raise ImproperlyConfigured(UNKNOWN_BACKEND.format(self.backend, ", ".join(KINDS)))
        self._place = place

    def store_url(self) -> str:
        return f"cache+{self._place}" if "://" in self._place else f"cache+{self._place}://"

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        made = {"backend": self.as_uri(), "expires": self.expires, "options": self.options}
        return super().__reduce__(args, {**(kwargs or {}), **made})

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        """The URL, by Celery without its options."""
        return f"{self.backend}://{';'.join(self.servers)}/"

"""Results in memcached, by pymemcache, as `cache+memcached://host:11211;host2/`; `cache+memory://` is this process.

Law: keys and values are what Celery's cache backend writes. memcached forgets what it has no room for, and refuses
values beyond its item size (1 MB unless it was started with `-I`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from ...protocol.errors import BadCall, shown
from ...protocol.wire.chord_counter import number
from .base import Settings, Store
from .counting import CountingStore
from .memory import MemoryStore, shelf_named
from .seam import Seam, load

KINDS = frozenset({"memcache", "memcached", "pymemcache", "pylibmc"})
"""What Celery calls it. There has been one client library since 5.7."""

DEFAULTS = {"default_noreply": False, "connect_timeout": 5.0, "timeout": 5.0}
_FOREIGN = frozenset({"behaviors", "binary"})  # options of pylibmc, which Celery drops too
_RETRIES = {"retry_attempts": "attempts", "retry_delay": "retry_delay"} | {
    name: name for name in ("retry_for", "do_not_retry_for")
}

_LONGEST_KEY = 250
_LONGEST_RELATIVE = 30 * 86400  # memcached takes what is longer for a date
_TRIES = 100
_AT_ONCE = 500

T = TypeVar("T")


class CacheStore(CountingStore):
    """Results in one or several memcached servers."""

    can = CountingStore.can | {"expire"}

    def __init__(self, servers: Sequence[str], settings: Settings | None = None) -> None:
        super().__init__(settings)
        options = self.settings.options.get("cache_backend_options") or {}
        self._seam = Seam("memcached at " + ";".join(servers), lambda: _client(servers, options), _errors, _leave)

    # --- values

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self._do("read", lambda client: client.get(_key(key)))
        return found

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found: dict[str, bytes] = {}
        names = [_key(key) for key in keys]
        for start in range(0, len(names), _AT_ONCE):
            with self._seam.client("read") as client:
                found |= client.get_many(names[start : start + _AT_ONCE])
        return [found.get(name) for name in names]

    def put(self, key: str, value: bytes, expires: int) -> None:
        self._do("store", lambda client: client.set(_key(key), value, _when(expires)))

    def delete(self, key: str) -> None:
        self._do("delete", lambda client: client.delete(_key(key)))

    def delete_many(self, keys: Iterable[str]) -> None:
        names = [_key(key) for key in keys]
        self._do("delete", lambda client: client.delete_many(names))

    # --- what chords need

    def add(self, key: str, value: bytes, expires: int) -> bool:
        return bool(self._do("add", lambda client: client.add(_key(key), value, _when(expires))))

    def swap(self, key: str, old: bytes, new: bytes, expires: int) -> bool:
        found, ticket = self._do("read", lambda client: client.gets(_key(key)))
        if found != old:
            return False
        return bool(self._do("store", lambda client: client.cas(_key(key), new, ticket, _when(expires))))

    def count(self, key: str, by: int, expires: int) -> int:
        for _ in range(_TRIES):
            now: int | None = self._do("count", lambda client: client.incr(_key(key), by))
            if now is not None:
                return now
            self.add(key, b"0", expires)
        raise BadCall(f"memcached does not keep the counter {shown(key)} that it has just been given")

    def counted(self, key: str) -> int | None:
        return number(self.get(key))

    # --- the connection

    def close(self) -> None:
        self._seam.close()

    def _do(self, doing: str, use: Callable[[Any], T]) -> T:
        with self._seam.client(doing) as client:
            return use(client)


def _key(key: str) -> str:
    """The key itself, where memcached takes it; what else one may call a task is hashed."""
    if len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable() and " " not in key:
        return key
    return f"celeriac-{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _when(expires: int) -> int:
    return int(time.time()) + expires if expires > _LONGEST_RELATIVE else expires


def _client(servers: Sequence[str], given: Any) -> Any:
    base = load("pymemcache.client.base", "memcache")
    options: dict[str, Any] = {**DEFAULTS, **{key: given[key] for key in given if key not in _FOREIGN}}
    retries = {_RETRIES[name]: options.pop(name) for name in _RETRIES if name in options}
    try:
        if len(servers) > 1:
            client = load("pymemcache.client.hash", "memcache").HashClient(servers, **options)
        else:
            client = base.Client(servers[0], **options)
    except (TypeError, ValueError) as problem:
        raise BadCall(f"cache_backend_options or the URL of the cache: {problem}") from problem
    if retries.get("attempts") is None:
        return client
    return load("pymemcache.client.retrying", "memcache").RetryingClient(client, **retries)


def _leave(client: Any) -> None:
    client.close()


def _errors() -> tuple[type[BaseException], ...]:
    error: type[BaseException] = load("pymemcache.exceptions", "memcache").MemcacheError
    return (error,)


def connect(url: str, settings: Settings) -> Store:
    """`cache+memcached://host:port;host:port/`, or `cache` and the URL without `cache+` in `cache_backend`."""
    _, plus, rest = url.partition("+")
    given = rest if plus else settings.options.get("cache_backend") or ""
    kind, _, places = given.partition("://")
    if kind == "memory":
        return MemoryStore(shelf_named(f"cache+memory://{places.rstrip('/')}"), settings)
    if kind not in KINDS:
        raise BadCall(f"the cache backend {kind!r} is unknown; there are memory, {', '.join(sorted(KINDS))}")
    servers = [place for place in places.rstrip("/").split(";") if place]
    if not servers:
        raise BadCall("the cache backend names no server: cache+memcached://127.0.0.1:11211/")
    return CacheStore(servers, settings)

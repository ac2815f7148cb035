"""The Redis result backends, by Celery's names.

Law: results go through the store, which speaks to Redis itself; redis-py is imported for who asks for `client` alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from .asynchronous import AsyncBackendMixin
from .keyvalue import BaseKeyValueStoreBackend
from .redis_consumer import ResultConsumer
from .stored import StoredKeys, on_keys, overridden

if TYPE_CHECKING:
    from ...worker.backends.base import Store

__all__ = ("RedisBackend", "SentinelBackend")


class _Lazy:
    """Something of redis-py, by its name."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    def __get__(self, backend: Any, kind: Any) -> Any:
        from importlib import import_module

        module, _, name = self._name.rpartition(":")
        found = import_module(module or name or "redis")
        return getattr(found, name) if module else found


class RedisBackend(StoredKeys, BaseKeyValueStoreBackend, AsyncBackendMixin):
    """Results in Redis: who waits is told."""

    ResultConsumer = ResultConsumer

    redis: Any = _Lazy()
    connection_class_ssl: Any = _Lazy("redis:SSLConnection")

    scheme = "redis"
    max_connections: int | None = None
    supports_autoexpire = True

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
        if host and "://" in host:
            url, host = host, None
        super().__init__(url=url, expires_type=int, **kwargs)
        conf = self.app.conf
        self.max_connections = max_connections or conf.get("redis_max_connections") or self.max_connections
        failures = conf.get("result_failure_expires")
        self.failure_expires = self.expires if failures is None else self.prepare_expires(failures, type=int)
        self._given = (host, port, db, password)
        if self.compression and _as_text(self.url):
            warnings.warn(
                "decode_responses=true has Redis answer with text, which compressed results are not: "
                "result_compression is ignored.",
                UserWarning,
                stacklevel=2,
            )
            self.compression = None
        self._ConnectionPool = connection_pool

    def store_url(self) -> str:
        host, port, db, password = self._given
        if self.url or not any(self._given):
            return self.url or self.scheme
        conf = self.app.conf
        secret = password or conf.get("redis_password")
        user = f":{quote(secret, safe='')}@" if secret else ""
        place = f"{host or conf.get('redis_host') or 'localhost'}:{port or conf.get('redis_port') or 6379}"
        return f"redis://{user}{place}/{db or conf.get('redis_db') or 0}"

    @cached_property
    def plain(self) -> Store:
        store = super().plain
        if overridden(self, ("on_connection_error",)):

            def lost(most: int | None, problem: BaseException, seconds: float, retry: int) -> float:
                return float(self.on_connection_error(most, problem, iter([seconds]), retry) or seconds)

            on_keys(store, lambda redis: setattr(redis, "on_lost", lost))
        return store

    @cached_property
    def result_consumer(self) -> Any:
        """For who listens by himself: `get` and its kin wait by the store."""
        return self.ResultConsumer(self, self.app, self.accept, self._pending_results, self._pending_messages)

    # --- keys

    def set(self, key: Any, value: Any, expires: Any = None, **retry_policy: Any) -> Any:
        """Keep a value, and tell those who listen on the channel of this name."""
        seconds = self.plain.settings.expires if expires is None else int(expires)
        name = key.decode() if isinstance(key, bytes) else key
        data = value.encode() if isinstance(value, str) else value
        on_keys(self.plain, lambda store: store.put_and_tell(name, data, seconds))

    def _set(self, key: Any, value: Any, expires: Any = None) -> None:
        self.set(key, value, expires=expires)

    def _set_with_state(self, key: Any, value: Any, state: str) -> Any:
        if state == "FAILURE" and self.failure_expires != self.expires:
            return self.set(key, value, expires=self.failure_expires)
        return self.set(key, value)

    def incr(self, key: Any) -> Any:
        return on_keys(self.plain, lambda store: store.count(key.decode() if isinstance(key, bytes) else key))

    def expire(self, key: Any, value: Any) -> Any:
        name = key.decode() if isinstance(key, bytes) else key
        return on_keys(self.plain, lambda store: store.keep_for(name, int(value)))

    def add_to_chord(self, group_id: str, result: Any) -> Any:
        """One member more."""
        return super().add_to_chord(group_id, result)

    def on_chord_part_return(self, request: Any, state: str, result: Any, propagate: Any = None, **kwargs: Any) -> None:
        """A member of a chord has ended; the last sends the body."""
        super().on_chord_part_return(request, state, result, **kwargs)

    # --- connections

    @cached_property
    def retry_policy(self) -> Any:
        options = self.app.conf.get("result_backend_transport_options") or {}
        return {**BaseKeyValueStoreBackend.retry_policy, **(options.get("retry_policy") or {})}

    def ensure(self, fun: Callable[..., Any], args: Any, **policy: Any) -> Any:
        """Call it, again while the connection of redis-py fails."""
        from kombu.utils.functional import retry_over_time

        policy = {**self.retry_policy, **policy}
        most = policy.get("max_retries")

        def lost(exc: BaseException, intervals: Any, retries: int) -> Any:
            return self.on_connection_error(most, exc, intervals, retries)

        return retry_over_time(fun, self.connection_errors, args, {}, lost, **policy)

    def on_connection_error(self, max_retries: Any, exc: BaseException, intervals: Any, retries: int) -> Any:
        """A connection failed: how many seconds to wait before the next."""
        from ...worker.backends.redis import log_loss

        return log_loss(max_retries, exc, float(next(intervals)), retries)

    @cached_property
    def connection_errors(self) -> tuple[type[BaseException], ...]:
        from kombu.exceptions import OperationalError

        errors = self.redis.exceptions
        return OperationalError, errors.ConnectionError, errors.TimeoutError, OSError

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        return isinstance(exc, self.connection_errors)

    @property
    def connparams(self) -> dict[str, Any]:
        """What redis-py is told."""
        place = self._place()
        params = {
            "host": place.host,
            "port": place.port,
            "db": place.db,
            "username": place.username,
            "password": place.password,
            "credential_provider": place.credentials,
            "socket_timeout": place.timeout,
            "socket_connect_timeout": place.connect_timeout,
            "max_connections": self.max_connections,
            **self._tls(place.tls),
        }
        known = {name: value for name, value in params.items() if value is not None}
        return self._params_from_url(self.url, known) if self.url and "://" in self.url else known

    def _tls(self, tls: Any) -> dict[str, Any]:
        if tls is None:
            return {}
        named = {
            "ssl_cert_reqs": tls.verify,
            "ssl_check_hostname": tls.check_hostname,
            "ssl_ca_certs": tls.ca_certs,
            "ssl_ca_path": tls.ca_path,
            "ssl_ca_data": tls.ca_data,
            "ssl_certfile": tls.certfile,
            "ssl_keyfile": tls.keyfile,
            "ssl_password": tls.password,
            "ssl_ciphers": tls.ciphers,
            "ssl_min_version": tls.min_version,
        }
        return {"connection_class": self.connection_class_ssl, **named}

    def _params_from_url(self, url: str, defaults: Any) -> dict[str, Any]:
        """What redis-py is told of this place; what the URL says wins."""
        from ...worker.redis_place import parse

        parts = urlsplit(url)
        place = parse(url, self._options())
        params = {
            **defaults,
            **{name: getattr(place, name) for name in ("username", "password") if getattr(parts, name)},
            **({"host": place.host} if parts.hostname else {}),
            **({"port": place.port} if parts.port else {}),
            "db": place.db,
        }
        if place.path:
            params.update(connection_class=self.redis.UnixDomainSocketConnection, path=place.path)
            for name in ("host", "port", "socket_connect_timeout"):
                params.pop(name, None)
        elif place.tls:
            params.update((name, value) for name, value in self._tls(place.tls).items() if value is not None)
        readers = self.redis.connection.URL_QUERY_ARGUMENT_PARSERS
        for name, text in parse_qsl(parts.query):
            if name in ("virtual_host", "db") or (name in params and name.startswith("ssl_")):
                continue
            params[name] = place.credentials if name == "credential_provider" else readers.get(name, str)(text)
        if "decode_responses" in params:
            params["decode_responses"] = _as_text(url)  # redis-py takes any text for yes
        if params.get("credential_provider"):
            params.pop("username", None)
            params.pop("password", None)
        return params

    def _options(self) -> dict[str, Any]:
        return dict(self.app.conf.get("result_backend_transport_options") or {})

    def _place(self) -> Any:
        return on_keys(self.plain, lambda store: store.place)

    @property
    def ConnectionPool(self) -> Any:
        if self._ConnectionPool is None:
            self._ConnectionPool = self.redis.ConnectionPool
        return self._ConnectionPool

    @cached_property
    def client(self) -> Any:
        """A client of redis-py on the same Redis."""
        return self.redis.StrictRedis(connection_pool=self.ConnectionPool(**self.connparams))

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        return super().__reduce__(args, {**(kwargs or {}), "expires": self.expires, "url": self.url})


def _as_text(url: str | None) -> bool:
    said = dict(parse_qsl(urlsplit(url or "").query)).get("decode_responses", "")
    return said.lower() not in ("", "0", "f", "false", "n", "no")


class SentinelBackend(RedisBackend):
    """Results in the master that Sentinels name."""

    sentinel: Any = _Lazy("redis.sentinel")
    connection_class_ssl: Any = _Lazy("redis.sentinel:SentinelManagedSSLConnection")

    scheme = "sentinel"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def as_uri(self, include_password: bool = False) -> str | None:
        """The URLs, without their passwords."""
        if include_password:
            return self.url
        from ..app.showing import shown_url

        each = (shown_url(part) for part in (self.url or "").split(";"))
        return ";".join(uri[:-1] if uri.endswith(":///") else uri for uri in each)

    @cached_property
    def client(self) -> Any:
        place = self._place()
        options = self.app.conf.get("result_backend_transport_options") or {}
        sentinels = self.sentinel.Sentinel(
            list(place.sentinels.addresses), sentinel_kwargs=options.get("sentinel_kwargs"), password=place.password
        )
        return sentinels.master_for(place.sentinels.master, redis_class=self.redis.StrictRedis, db=place.db)

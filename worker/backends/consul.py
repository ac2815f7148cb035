"""Results in Consul's key-value store, by python-consul2: `consul://host:8500/path`.

Law: a key belongs to a session that ends, and takes the key with it, when the result is over. Consul's sessions last
from 10 seconds to a day. Untested against a server.
"""

from __future__ import annotations

from typing import Any

from .base import KeyValueStore, Settings
from .seam import Seam, Server, load, server

_SHORTEST, _LONGEST = 10, 86400


class ConsulStore(KeyValueStore):
    can = KeyValueStore.can | {"expire"}

    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)
        self._place = place
        self._seam: Seam[Any] = Seam(place, self._client, _errors)

    def _client(self) -> Any:
        place = self._place
        return load("consul", "consul").Consul(
            host=place.host or "127.0.0.1", port=place.port or 8500, consistency="consistent"
        )

    def _key(self, key: str) -> str:
        return f"{self._place.path}/{key}" if self._place.path else key

    def _found(self, client: Any, key: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = client.kv.get(self._key(key))[1]
        return found

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as client:
            found = self._found(client, key)
        return None if found is None else bytes(found["Value"] or b"")

    def put(self, key: str, value: bytes, expires: int) -> None:
        with self._seam.client("store") as client:
            found = self._found(client, key)
            session = (found or {}).get("Session")
            if session:  # its key may be written by anybody, and acquired by nobody else
                client.session.renew(session)
                client.kv.put(self._key(key), value)
            elif expires:
                seconds = min(max(expires, _SHORTEST), _LONGEST)
                session = client.session.create(name=key, behavior="delete", ttl=seconds, lock_delay=0)
                client.kv.put(self._key(key), value, acquire=session)
            else:
                client.kv.put(self._key(key), value)

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as client:
            client.kv.delete(self._key(key))

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    return load("consul.base", "consul").ConsulException, load("requests", "consul").RequestException


def connect(url: str, settings: Settings) -> ConsulStore:
    return ConsulStore(server(url), settings)

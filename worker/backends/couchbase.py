"""Results in a Couchbase bucket, by its own library: `couchbase://user:password@host/bucket`.

Law: a document is the stored text. Values that are no text are refused. Untested against a server.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .base import KeyValueStore, Settings
from .seam import Seam, Server, load, section, server, text

_KNOWN = ("host", "port", "username", "password", "bucket")


class CouchbaseStore(KeyValueStore):
    can = KeyValueStore.can | {"expire"}

    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)
        self._place = place
        self._given = section(settings.options, "couchbase_backend_settings", _KNOWN)
        secrets = (place.password, self._given.get("password"))
        self._seam: Seam[Any] = Seam(place, self._client, _errors, secrets=secrets)

    def _client(self) -> Any:
        place, given = self._place, self._given
        host, port = place.host or given.get("host", "localhost"), place.port or given.get("port")
        user, password = place.user or given.get("username"), place.password or given.get("password")
        login = load("couchbase.auth", "couchbase").PasswordAuthenticator(user or "", password or "")
        options = load("couchbase.options", "couchbase").ClusterOptions(login)
        cluster = load("couchbase.cluster", "couchbase").Cluster(
            f"couchbase://{host}{f':{port}' if port else ''}", options
        )
        cluster.wait_until_ready(timedelta(seconds=10))
        return cluster.bucket(place.path or given.get("bucket", "default")).default_collection()

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as client:
            try:
                found: str = client.get(key).content_as[str]
            except load("couchbase.exceptions", "couchbase").DocumentNotFoundException:
                return None
        return found.encode()

    def put(self, key: str, value: bytes, expires: int) -> None:
        said = text(value, "Couchbase")
        options = load("couchbase.options", "couchbase").UpsertOptions(expiry=timedelta(seconds=expires))
        with self._seam.client("store") as client:
            client.upsert(key, said, options)

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as client:
            try:
                client.remove(key)
            except load("couchbase.exceptions", "couchbase").DocumentNotFoundException:
                return

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    error: type[BaseException] = load("couchbase.exceptions", "couchbase").CouchbaseException
    return (error,)


def connect(url: str, settings: Settings) -> CouchbaseStore:
    return CouchbaseStore(server(url), settings)

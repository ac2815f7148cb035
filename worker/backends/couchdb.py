"""Results in CouchDB, by pycouchdb: `couchdb://user:password@host:5984/container`.

Law: a document is Celery's, with the stored text in `value`. Values that are no text are refused. CouchDB forgets
nothing by itself. Untested against a server.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .base import KeyValueStore, Settings
from .seam import Seam, Server, load, server, text


class CouchStore(KeyValueStore):
    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)
        self._place = place
        self._seam: Seam[Any] = Seam(place, self._client, _errors, secrets=(place.password,))

    def _client(self) -> Any:
        place = self._place
        who = f"{quote(place.user)}:{quote(place.password)}@" if place.user and place.password else ""
        url = f"http://{who}{place.host or 'localhost'}:{place.port or 5984}/"
        couch = load("pycouchdb", "couchdb").Server(url, authmethod="basic")
        name = place.path or "default"
        try:
            return couch.database(name)
        except load("pycouchdb.exceptions", "couchdb").NotFound:
            return couch.create(name)

    def _document(self, client: Any, key: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = client.get(key)
        except load("pycouchdb.exceptions", "couchdb").NotFound:
            return None
        return found

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as client:
            document = self._document(client, key)
        return None if document is None else str(document["value"]).encode()

    def put(self, key: str, value: bytes, expires: int) -> None:
        said = text(value, "CouchDB")
        with self._seam.client("store") as client:
            client.save({**(self._document(client, key) or {"_id": key}), "value": said})

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as client:
            if self._document(client, key) is not None:
                client.delete(key)

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    error: type[BaseException] = load("pycouchdb.exceptions", "couchdb").Error
    return (error,)


def connect(url: str, settings: Settings) -> CouchStore:
    return CouchStore(server(url), settings)

"""Results in ArangoDB, by pyArango: `arangodb://user:password@host:8529/database/collection`.

Law: a document is Celery's, with the stored text in `task`. Values that are no text are refused. ArangoDB forgets
nothing by itself. Untested against a server.
"""

from __future__ import annotations

from typing import Any

from .base import KeyValueStore, Settings
from .seam import Seam, Server, load, section, server, text

_KNOWN = ("host", "port", "username", "password", "database", "collection", "http_protocol", "verify")
_GET = "RETURN DOCUMENT(@@collection, @key).task"
_PUT = "UPSERT {_key: @key} INSERT {_key: @key, task: @value} UPDATE {task: @value} IN @@collection"
_DELETE = "REMOVE {_key: @key} IN @@collection OPTIONS {ignoreErrors: true}"


class ArangoStore(KeyValueStore):
    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)
        given = section(settings.options, "arangodb_backend_settings", _KNOWN)
        database, _, collection = place.path.partition("/")
        self._database = database or given.get("database", "celery")
        self._collection = collection or given.get("collection", "celery")
        self._place, self._given = place, given
        secrets = (place.password, given.get("password"))
        self._seam: Seam[Any] = Seam(place, self._client, _errors, secrets=secrets)

    def _client(self) -> Any:
        place, given = self._place, self._given
        host, port = place.host or given.get("host", "127.0.0.1"), place.port or given.get("port", 8529)
        return load("pyArango.connection", "arangodb").Connection(
            arangoURL=f"{given.get('http_protocol', 'http')}://{host}:{port}",
            username=place.user or given.get("username"),
            password=place.password or given.get("password"),
            verify=given.get("verify", False),
        )[self._database]

    def _ask(self, doing: str, query: str, **values: str) -> list[Any]:
        with self._seam.client(doing) as database:
            bound = {"@collection": self._collection, **values}
            return list(database.AQLQuery(query, rawResults=True, bindVars=bound))

    def get(self, key: str) -> bytes | None:
        found = next(iter(self._ask("read", _GET, key=key)), None)
        return None if found is None else str(found).encode()

    def put(self, key: str, value: bytes, expires: int) -> None:
        self._ask("store", _PUT, key=key, value=text(value, "ArangoDB"))

    def delete(self, key: str) -> None:
        self._ask("delete", _DELETE, key=key)

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    library = load("pyArango.theExceptions", "arangodb")
    return library.pyArangoException, load("requests", "arangodb").RequestException


def connect(url: str, settings: Settings) -> ArangoStore:
    return ArangoStore(server(url), settings)

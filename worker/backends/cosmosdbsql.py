"""Results in Azure's CosmosDB, by pydocumentdb: `cosmosdbsql://:key@host:443`.

Law: a document is Celery's, with the stored text in `value`. Values that are no text are refused. The library has not
been looked after since 2019. Untested against a server.
"""

from __future__ import annotations

from typing import Any

from ...protocol.errors import BadCall
from .base import KeyValueStore, Settings
from .seam import Seam, Server, load, server, text

_EXTRA = "cosmosdbsql"
_NOT_FOUND, _CONFLICT = 404, 409
_HTTPS = 443


class CosmosStore(KeyValueStore):
    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)
        if not place.host or not place.password:
            raise BadCall("the URL of CosmosDB is cosmosdbsql://:key@host")
        self._place = place
        options = settings.options
        self._database = f"dbs/{options.get('cosmosdbsql_database_name') or 'celerydb'}"
        self._collection = f"{self._database}/colls/{options.get('cosmosdbsql_collection_name') or 'celerycol'}"
        self._seam: Seam[Any] = Seam(place, self._client, _errors, secrets=(place.password,))

    def _client(self) -> Any:
        place, options = self._place, self.settings.options
        documents = load("pydocumentdb.documents", _EXTRA)
        port = place.port or _HTTPS
        policy = documents.ConnectionPolicy()
        policy.RetryOptions = load("pydocumentdb.retry_options", _EXTRA).RetryOptions(
            max_retry_attempt_count=options.get("cosmosdbsql_max_retry_attempts", 9),
            max_wait_time_in_seconds=options.get("cosmosdbsql_max_retry_wait_time", 30),
        )
        client = load("pydocumentdb.document_client", _EXTRA).DocumentClient(
            f"{'https' if port == _HTTPS else 'http'}://{place.host}:{port}",
            {"masterKey": place.password},
            connection_policy=policy,
            consistency_level=options.get("cosmosdbsql_consistency_level") or "Session",
        )
        partition = {"paths": ["/id"], "kind": documents.PartitionKind.Hash}
        name, collection = self._database.partition("/")[2], self._collection.rpartition("/")[2]
        self._unless(_CONFLICT, lambda: client.CreateDatabase({"id": name}))
        self._unless(
            _CONFLICT, lambda: client.CreateCollection(self._database, {"id": collection, "partitionKey": partition})
        )
        return client

    def _unless(self, status: int, call: Any) -> Any:
        """None where the answer is that status."""
        failure = load("pydocumentdb.errors", _EXTRA).HTTPFailure
        try:
            return call()
        except failure as problem:
            if problem.status_code != status:
                raise
            return None

    def _link(self, key: str) -> str:
        return f"{self._collection}/docs/{key}"

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as client:
            found = self._unless(_NOT_FOUND, lambda: client.ReadDocument(self._link(key), {"partitionKey": key}))
        return None if found is None else str(found.get("value")).encode()

    def put(self, key: str, value: bytes, expires: int) -> None:
        document = {"id": key, "value": text(value, "CosmosDB")}
        with self._seam.client("store") as client:
            client.UpsertDocument(self._collection, document, {"partitionKey": key})

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as client:
            self._unless(_NOT_FOUND, lambda: client.DeleteDocument(self._link(key), {"partitionKey": key}))

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    failure: type[BaseException] = load("pydocumentdb.errors", _EXTRA).HTTPFailure
    return (failure,)


def connect(url: str, settings: Settings) -> CosmosStore:
    return CosmosStore(server(url), settings)

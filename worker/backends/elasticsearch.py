"""Results in an Elasticsearch index, by its own library: `elasticsearch://user:password@host:9200/index`.

Law: a document is Celery's, with the stored text in `result`. Values that are no text are refused. Untested against a
server.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ...protocol.errors import BadCall
from .base import KeyValueStore, Settings
from .seam import Seam, Server, load, server, text


class ElasticsearchStore(KeyValueStore):
    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)
        if settings.options.get("elasticsearch_save_meta_as_text") is False:
            raise BadCall("elasticsearch_save_meta_as_text=False is not supported: results are kept as text")
        self._place = place
        self._index = place.path.partition("/")[0] or "celery"
        self._seam: Seam[Any] = Seam(
            place, self._client, _errors, lambda client: client.close(), secrets=(place.password,)
        )

    def _client(self) -> Any:
        place, options = self._place, self.settings.options
        scheme = place.scheme.rpartition("+")[2]
        scheme = scheme if scheme in ("http", "https") else "http"
        return load("elasticsearch", "elasticsearch").Elasticsearch(
            f"{scheme}://{place.host or 'localhost'}:{place.port or 9200}",
            basic_auth=(place.user, place.password) if place.user and place.password else None,
            request_timeout=options.get("elasticsearch_timeout") or 10,
            max_retries=3 if (most := options.get("elasticsearch_max_retries")) is None else most,
            retry_on_timeout=bool(options.get("elasticsearch_retry_on_timeout")),
        )

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as client:
            try:
                found = client.get(index=self._index, id=key)
            except load("elasticsearch", "elasticsearch").NotFoundError:
                return None
        value: str = found["_source"]["result"]
        return value.encode()

    def put(self, key: str, value: bytes, expires: int) -> None:
        stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        document = {"result": text(value, "Elasticsearch"), "@timestamp": stamp}
        with self._seam.client("store") as client:
            client.index(index=self._index, id=key, document=document, refresh=True)

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as client:
            try:
                client.delete(index=self._index, id=key)
            except load("elasticsearch", "elasticsearch").NotFoundError:
                return

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    library = load("elasticsearch", "elasticsearch")
    return library.ApiError, library.TransportError


def connect(url: str, settings: Settings) -> ElasticsearchStore:
    return ElasticsearchStore(server(url), settings)

"""Results as objects in Google Cloud Storage, by its own library: `gs://bucket/path?gcs_project=...`.

Law: an object is a key under `gcs_base_path`. With `gcs_ttl` it says when it is over, for a rule of the bucket that
deletes by custom time. Chords are not counted here: Celery counts them in Firestore. Untested against Google.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from ...protocol.errors import BadCall
from .base import KeyValueStore, Settings
from .seam import Seam, Server, load, server

_EXTRA = "gcs"
_TIMEOUT = (10, 60)  # seconds to connect, to read


class GcsStore(KeyValueStore):
    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)

        def setting(name: str) -> Any:
            return place.query.get(name) or settings.options.get(name)

        self._bucket, self._project = place.host or setting("gcs_bucket"), setting("gcs_project")
        if not self._bucket or not self._project:
            raise BadCall("Google Cloud Storage needs gcs_bucket and gcs_project: gs://bucket?gcs_project=name")
        base = (place.path or setting("gcs_base_path") or "").strip("/")
        self._base = f"{base}/" if base else ""
        self._ttl = float(setting("gcs_ttl") or 0)
        self._seam: Seam[Any] = Seam(f"Google Cloud Storage, bucket {self._bucket}", self._client, _errors)

    def _client(self) -> Any:
        return load("google.cloud.storage", _EXTRA).Client(project=self._project).bucket(self._bucket)

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as bucket:
            try:
                found: bytes = bucket.blob(self._base + key).download_as_bytes(timeout=_TIMEOUT)
            except load("google.api_core.exceptions", _EXTRA).NotFound:
                return None
        return found

    def put(self, key: str, value: bytes, expires: int) -> None:
        with self._seam.client("store") as bucket:
            blob = bucket.blob(self._base + key)
            if self._ttl:
                blob.custom_time = datetime.now(timezone.utc) + timedelta(seconds=self._ttl)
            blob.upload_from_string(value, timeout=_TIMEOUT)

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as bucket:
            try:
                bucket.blob(self._base + key).delete(timeout=_TIMEOUT)
            except load("google.api_core.exceptions", _EXTRA).NotFound:
                return

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    api = load("google.api_core.exceptions", _EXTRA)
    return (
        api.GoogleAPIError,
        load("google.auth.exceptions", _EXTRA).GoogleAuthError,
        load("requests", _EXTRA).RequestException,
    )


def connect(url: str, settings: Settings) -> GcsStore:
    return GcsStore(server(url), settings)

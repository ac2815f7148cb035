"""The gcs result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("GCSBackend",)


class GCSBackendBase(StoredKeys, KeyValueStoreBackend):
    """What both of Celery's classes share."""

    scheme = "gs"


class GCSBackend(GCSBackendBase):
    """Results as objects of Google Cloud Storage."""

    scheme = "gs"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

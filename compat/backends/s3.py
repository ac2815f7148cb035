"""The s3 result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("S3Backend",)


class S3Backend(StoredKeys, KeyValueStoreBackend):
    """Results as objects of S3."""

    scheme = "s3"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

"""The elasticsearch result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("ElasticsearchBackend",)


class ElasticsearchBackend(StoredKeys, KeyValueStoreBackend):
    """Results as documents of Elasticsearch."""

    scheme = "elasticsearch"

    def __init__(self, url: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, url=url, **kwargs)

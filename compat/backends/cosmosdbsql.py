"""The cosmosdbsql result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("CosmosDBSQLBackend",)


class CosmosDBSQLBackend(StoredKeys, KeyValueStoreBackend):
    """Results as documents of Cosmos DB."""

    scheme = "cosmosdbsql"

    def __init__(
        self,
        url: str | None = None,
        database_name: str | None = None,
        collection_name: str | None = None,
        consistency_level: str | None = None,
        max_retry_attempts: int | None = None,
        max_retry_wait_time: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, url=url, **kwargs)

"""The dynamodb result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("DynamoDBBackend",)


class DynamoDBBackend(StoredKeys, KeyValueStoreBackend):
    """Results as items of a DynamoDB table."""

    scheme = "dynamodb"

    def __init__(self, url: str | None = None, table_name: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, url=url, **kwargs)
        if table_name:
            self.table_name = table_name

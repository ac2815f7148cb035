"""The azureblockblob result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("AzureBlockBlobBackend",)


class AzureBlockBlobBackend(StoredKeys, KeyValueStoreBackend):
    """Results as blobs of Azure Storage."""

    scheme = "azureblockblob"

    def __init__(self, url: str | None = None, container_name: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, url=url, **kwargs)

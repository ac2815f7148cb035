"""The consul result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("ConsulBackend",)


class ConsulBackend(StoredKeys, KeyValueStoreBackend):
    """Results as keys of Consul."""

    scheme = "consul"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

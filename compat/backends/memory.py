"""Results in this process: celeriac's own, for tests and for programs of one process."""

from __future__ import annotations

from typing import Any

from .keyvalue import KeyValueStoreBackend
from .stored import Stored

__all__ = ("MemoryBackend",)


class MemoryBackend(Stored, KeyValueStoreBackend):
    """`memory://` and `memory://name`; all who name it the same in this process share it."""

    scheme = "memory"
    supports_autoexpire = True

    def __init__(self, app: Any = None, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app=app, url=url, **kwargs)

"""The MongoDB result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .polling import BaseBackend
from .stored import Stored

__all__ = ("MongoBackend",)


class MongoBackend(Stored, BaseBackend):
    """Results as documents of MongoDB."""

    scheme = "mongodb"

    def __init__(self, app: Any = None, **kwargs: Any) -> None:
        super().__init__(app=app, **kwargs)

    def store_url(self) -> str:
        url = self.url or self.scheme
        return f"mongodb+{url}" if url.startswith("srv://") else url

"""Results in celeriac's own private Valkey: `embedded://`, for a first program and for small ones."""

from __future__ import annotations

from .redis import RedisBackend

__all__ = ("EmbeddedBackend",)


class EmbeddedBackend(RedisBackend):
    """`embedded://` and `embedded:///path`, beside a broker of the same URL."""

    scheme = "embedded"

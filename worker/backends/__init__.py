"""Result stores by the scheme of their URL. A row is the module that serves it, imported when it is asked for.

Law of this folder: a store knows protocol/ and its own library, and nothing of the worker around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ...protocol.errors import BadCall
from .base import Settings, Store
from .retrying import Retrying

TABLE: Mapping[str, str] = {
    "arangodb": ".arangodb",
    "azureblockblob": ".azureblockblob",
    "cache": ".cache",
    "cassandra": ".cassandra",
    "consul": ".consul",
    "cosmosdbsql": ".cosmosdbsql",
    "couchbase": ".couchbase",
    "couchdb": ".couchdb",
    "database": ".database",
    "db": ".database",
    "disabled": ".disabled",
    "dynamodb": ".dynamodb",
    "elasticsearch": ".elasticsearch",
    "embedded": ".embedded",
    "file": ".filesystem",
    "gs": ".gcs",
    "memory": ".memory",
    "mongodb": ".mongodb",
    "redis": ".redis",
    "rediss": ".redis",
    "rpc": ".rpc",
    "s3": ".s3",
    "sentinel": ".redis",
    "sqla": ".database",
}


def connect(url: str | None, settings: Settings | None = None) -> Store:
    """The store for this URL, or for the bare name of a kind of store; it connects when it is first used."""
    url = url or "disabled"
    settings = settings or Settings()
    store: Store = load(url).connect(url, settings)
    return store if settings.retry is None else Retrying(store, settings.retry)


def load(url: str) -> Any:
    """The module that serves this URL. Whoever forks may load it before, and share it."""
    scheme = url.partition("://")[0]
    module = TABLE.get(scheme.partition("+")[0])
    if module is None:
        raise BadCall(f"no result store for {scheme!r}; there are {', '.join(sorted(TABLE))}")
    return import_module(module, __name__)

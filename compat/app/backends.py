"""Result backends by name, alias, class path or URL."""

from __future__ import annotations

import types
from typing import Any

from .._state import current_app
from ..exceptions import ImproperlyConfigured
from ..utils.imports import symbol_by_name

__all__ = ("by_name", "by_url")

BACKEND_ALIASES = {
    "rpc": "celery.backends.rpc.RPCBackend",
    "cache": "celery.backends.cache:CacheBackend",
    "redis": "celery.backends.redis:RedisBackend",
    "rediss": "celery.backends.redis:RedisBackend",
    "sentinel": "celery.backends.redis:SentinelBackend",
    "mongodb": "celery.backends.mongodb:MongoBackend",
    "db": "celery.backends.database:DatabaseBackend",
    "database": "celery.backends.database:DatabaseBackend",
    "elasticsearch": "celery.backends.elasticsearch:ElasticsearchBackend",
    "cassandra": "celery.backends.cassandra:CassandraBackend",
    "couchbase": "celery.backends.couchbase:CouchbaseBackend",
    "couchdb": "celery.backends.couchdb:CouchBackend",
    "cosmosdbsql": "celery.backends.cosmosdbsql:CosmosDBSQLBackend",
    "file": "celery.backends.filesystem:FilesystemBackend",
    "disabled": "celery.backends.base:DisabledBackend",
    "consul": "celery.backends.consul:ConsulBackend",
    "dynamodb": "celery.backends.dynamodb:DynamoDBBackend",
    "azureblockblob": "celery.backends.azureblockblob:AzureBlockBlobBackend",
    "arangodb": "celery.backends.arangodb:ArangoDbBackend",
    "s3": "celery.backends.s3:S3Backend",
    "gs": "celery.backends.gcs:GCSBackend",
    "embedded": "celery.backends.embedded:EmbeddedBackend",
    "memory": "celery.backends.memory:MemoryBackend",
}


class UnknownBackend(ImproperlyConfigured, ModuleNotFoundError):
    """No result backend has this name; Celery raises the second."""


def by_name(backend: Any = None, loader: Any = None, extension_namespace: str = "celery.result_backends") -> Any:
    """The class of a backend, by its alias or its path; packages add aliases by entry points."""
    backend = backend or "disabled"
    if not isinstance(backend, str):
        return backend
    path = (loader or current_app.loader).override_backends.get(backend)
    # Looking for entry points reads every installed package: not for a name that is nobody else's.
    path = path or BACKEND_ALIASES.get(backend) or _extensions(extension_namespace).get(backend, backend)
    try:
        found = symbol_by_name(path)
    except ValueError as problem:
        raise ImproperlyConfigured(_unknown(backend, problem)) from problem
    except ModuleNotFoundError as problem:
        if problem.name != path:  # what is missing is something that the backend needs
            raise
        raise UnknownBackend(_unknown(backend, problem), name=path) from problem
    if isinstance(found, types.ModuleType):
        raise ImproperlyConfigured(_unknown(backend, "is a Python module, not a backend class."))
    return found


def by_url(backend: Any = None, loader: Any = None) -> tuple[Any, str | None]:
    """The class of a backend and the URL for it, from a URL or whatever `by_name` takes."""
    url = None
    if isinstance(backend, str) and "://" in backend:
        url = backend
        scheme = url.partition("://")[0]
        if "+" in scheme:
            backend, url = url.split("+", 1)
        else:
            backend = scheme
    return by_name(backend, loader), url


def _extensions(namespace: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group=namespace)}


def _unknown(backend: str, why: Any) -> str:
    known = ", ".join(sorted(BACKEND_ALIASES))
    return f"Unknown result backend: {backend!r}.  Did you spell that correctly? ({why}) There are: {known}"

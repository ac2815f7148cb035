"""The Cassandra result backend, by Celery's names."""

from __future__ import annotations

from typing import Any

from .polling import BaseBackend
from .stored import Stored

__all__ = ("CassandraBackend",)


class CassandraBackend(Stored, BaseBackend):
    """Results as rows of Cassandra."""

    scheme = "cassandra"
    supports_autoexpire = True
    servers: Any = None
    bundle_path: Any = None

    def __init__(
        self,
        servers: Any = None,
        keyspace: str | None = None,
        table: str | None = None,
        entry_ttl: int | None = None,
        port: int | None = None,
        bundle_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conf = self.app.conf
        self.servers = servers or conf.get("cassandra_servers")
        self.bundle_path = bundle_path or conf.get("cassandra_secure_bundle_path")
        self.port = port or conf.get("cassandra_port")
        self.keyspace = keyspace or conf.get("cassandra_keyspace")
        self.table = table or conf.get("cassandra_table")

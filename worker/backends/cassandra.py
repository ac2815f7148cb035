"""Results in a Cassandra table, by cassandra-driver: `cassandra://` and the `cassandra_...` settings.

Law: the table is Celery's: one row per state, newest first, each value in the configured serializer. It has no room
for groups, nor for the group and the parent of a task. Untested against a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.wire import result as wire
from ...protocol.wire import states
from ...protocol.wire.result import Result
from .base import Address, Settings, Store
from .seam import Seam, load

_EXTRA = "cassandra"
_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
    task_id text, status text, result blob, date_done timestamp, traceback blob, children blob,
    PRIMARY KEY ((task_id), date_done)
) WITH CLUSTERING ORDER BY (date_done DESC)
"""
_INSERT = """
INSERT INTO {table} (task_id, status, result, date_done, traceback, children)
VALUES (%s, %s, %s, %s, %s, %s){expires}
"""
_SELECT = "SELECT status, result, date_done, traceback, children FROM {table} WHERE task_id=%s LIMIT 1"
_DELETE = "DELETE FROM {table} WHERE task_id=%s"


@dataclass(frozen=True)
class _Session:
    cluster: Any
    session: Any
    insert: Any
    select: Any
    delete: Any


class CassandraStore(Store):
    can = frozenset({"shared", "expire"})

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        options = settings.options
        self._servers = options.get("cassandra_servers")
        # The second is the setting's name in Celery's table, the first what its code and its documentation read.
        self._bundle = options.get("cassandra_secure_bundle_path") or options.get("cassandra_bundle_path")
        self._keyspace, self._table = options.get("cassandra_keyspace"), options.get("cassandra_table")
        if bool(self._servers) == bool(self._bundle) or not self._keyspace or not self._table:
            raise BadCall(
                "Cassandra needs cassandra_keyspace, cassandra_table, "
                "and either cassandra_servers or cassandra_secure_bundle_path"
            )
        self._seam: Seam[_Session] = Seam(
            f"Cassandra, keyspace {self._keyspace}", self._open, _errors, lambda held: held.cluster.shutdown()
        )

    def store(self, result: Result, address: Address | None = None) -> bool:
        if not result.task_id:
            raise BadCall("a result needs an id that is not empty")
        codec, doc = self.settings.codec, wire.document(result)
        values = [codec.encode(doc[name]) for name in ("result", "traceback", "children")]
        with self._seam.client("store a result") as held:
            before = held.session.execute(held.select, (result.task_id,)).one()
            if before is not None and before[0] == states.SUCCESS:
                return False
            row = (result.task_id, result.status, values[0], datetime.now(timezone.utc), values[1], values[2])
            held.session.execute(held.insert, row)
        return True

    def fetch(self, task_id: str) -> Result | None:
        if not task_id:
            raise BadCall("a result needs an id that is not empty")
        with self._seam.client("read a result") as held:
            row = held.session.execute(held.select, (task_id,)).one()
        if row is None:
            return None
        status, value, date, traceback, kids = row
        decode = self.settings.codec.decode
        opened = {"result": decode(value), "traceback": decode(traceback), "children": decode(kids)}
        return wire.read({"status": status, "date_done": date and date.replace(tzinfo=timezone.utc), **opened}, task_id)

    def forget(self, task_id: str) -> None:
        with self._seam.client("forget a result") as held:
            held.session.execute(held.delete, (task_id,))

    def close(self) -> None:
        self._seam.close()

    def _open(self) -> _Session:
        options = self.settings.options
        place: dict[str, Any] = (
            {"contact_points": self._servers, "port": int(options.get("cassandra_port") or 9042)}
            if self._servers
            else {"cloud": {"secure_connect_bundle": self._bundle}}
        )
        provider = options.get("cassandra_auth_provider")
        if provider:
            known = getattr(load("cassandra.auth", _EXTRA), provider, None)
            if known is None:
                raise BadCall(f"cassandra_auth_provider: cassandra.auth has no {provider}")
            place["auth_provider"] = known(**(options.get("cassandra_auth_kwargs") or {}))
        cluster = load("cassandra.cluster", _EXTRA).Cluster(**place, **(options.get("cassandra_options") or {}))
        try:
            session = cluster.connect(self._keyspace)
            session.execute(_CREATE.format(table=self._table))
        except BaseException:
            cluster.shutdown()
            raise
        seconds = options.get("cassandra_entry_ttl") or self.settings.expires
        expires = f" USING TTL {int(seconds)}" if seconds else ""
        insert = self._statement(_INSERT.format(table=self._table, expires=expires), "write")
        select, delete = self._statement(_SELECT, "read"), self._statement(_DELETE, "write")
        return _Session(cluster, session, insert, select, delete)

    def _statement(self, query: str, kind: str) -> Any:
        levels = load("cassandra", _EXTRA).ConsistencyLevel
        name = self.settings.options.get(f"cassandra_{kind}_consistency") or "LOCAL_QUORUM"
        level = getattr(levels, name, levels.LOCAL_QUORUM)
        made = load("cassandra.query", _EXTRA).SimpleStatement
        return made(query.replace("{table}", str(self._table)), consistency_level=level)


def _errors() -> tuple[type[BaseException], ...]:
    library = load("cassandra", _EXTRA)
    return library.DriverException, load("cassandra.cluster", _EXTRA).NoHostAvailable


def connect(_url: str, settings: Settings) -> CassandraStore:
    return CassandraStore(settings)

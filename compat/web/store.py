"""The memory on disk: tasks, workers and charts in one SQLite file that never grows beyond its limits.

Law: a file that cannot be read is set aside, never destroyed, and a new one begun. It holds what tasks were called
with, so it is readable by its owner alone. One connection serves all threads, one at a time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..utils.log import get_logger
from .records import Node, Record
from .search import Condition
from .series import Series

logger = get_logger("celery.web")

_VERSION = 1
_SCHEMA = """
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, updated REAL, name TEXT, state TEXT, worker TEXT, queue TEXT, arguments TEXT,
    root_id TEXT, parent_id TEXT, group_id TEXT, words TEXT, document TEXT
) WITHOUT ROWID;
CREATE INDEX tasks_updated ON tasks (updated);
CREATE INDEX tasks_state ON tasks (state, updated);
CREATE INDEX tasks_root ON tasks (root_id);
CREATE INDEX tasks_parent ON tasks (parent_id);
CREATE INDEX tasks_group ON tasks (group_id);
CREATE TABLE nodes (name TEXT PRIMARY KEY, heard REAL, document TEXT);
CREATE TABLE buckets (span TEXT, start INTEGER, document TEXT, PRIMARY KEY (span, start));
"""
_NOTES = "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, document TEXT)"
_OLDEST = "SELECT id FROM tasks ORDER BY updated LIMIT ?"

_KEPT_NODES = 86400.0  # seconds that a worker is shown after it was last heard


@dataclass(frozen=True)
class Limits:
    """`tasks`: how many are remembered. `size`: bytes of the file beyond which the oldest go, however few they are."""

    tasks: int = 50_000
    size: int = 256 * 1024 * 1024


DEFAULT = Limits()


class Store:
    """One file, or `:memory:`. `close` it."""

    def __init__(self, path: str, limits: Limits = DEFAULT) -> None:
        self.path = path
        self._limits = limits
        self._lock = threading.Lock()
        self._connection = _opened(path)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # --- writing

    def write(self, records: Iterable[Record], nodes: Iterable[Node], series: Series) -> None:
        """What has changed, in one transaction."""
        buckets, series.changed = series.changed, set()
        with self._lock, self._connection as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, records)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)",
                [(node.name, node.heard, json_of(node.document())) for node in nodes],
            )
            found = ((span, start, series.buckets[span].get(start)) for span, start in buckets)
            connection.executemany(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)",
                [(span, start, json_of(bucket.document())) for span, start, bucket in found if bucket is not None],
            )

    def prune(self, series: Series, now: float) -> dict[str, list[str]]:
        """Let the oldest go that are beyond the limits, and say which: ids of tasks, names of workers, `span:start`."""
        gone: dict[str, list[str]] = {"tasks": [], "nodes": [], "buckets": []}
        with self._lock, self._connection as connection:
            count = connection.execute("SELECT count(*) FROM tasks").fetchone()[0]
            beyond = max(count - self._limits.tasks, 0)
            if self._used() > self._limits.size:
                beyond = max(beyond, count // 5)
            if beyond:
                gone["tasks"] = _names(connection.execute(_OLDEST, (beyond,)))
                connection.executemany("DELETE FROM tasks WHERE id = ?", [(each,) for each in gone["tasks"]])
            old = (now - _KEPT_NODES,)
            gone["nodes"] = _names(connection.execute("SELECT name FROM nodes WHERE heard < ?", old))
            connection.execute("DELETE FROM nodes WHERE heard < ?", old)
            for span, buckets in series.buckets.items():
                first = min(buckets, default=int(now))
                before = connection.execute("SELECT start FROM buckets WHERE span = ? AND start < ?", (span, first))
                gone["buckets"] += [f"{span}:{start}" for (start,) in before]
                connection.execute("DELETE FROM buckets WHERE span = ? AND start < ?", (span, first))
        return gone

    def _used(self) -> int:
        size, pages, free = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (pages - free))

    def remember(self, name: str, document: Any) -> None:
        """A note of ours, in the place of the last one of this name."""
        with self._lock, self._connection as connection:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json_of(document)))

    # --- reading

    def remembered(self, name: str) -> Any:
        """The note of this name, or None."""
        with self._lock:
            found = self._connection.execute("SELECT document FROM notes WHERE name = ?", (name,)).fetchone()
        return json.loads(found[0]) if found else None

    def record(self, uuid: str) -> Record | None:
        found = self._records("SELECT document FROM tasks WHERE id = ?", (uuid,))
        return found[0] if found else None

    def restore(self, series: Series) -> list[Node]:
        """The workers; and the series gets its buckets."""
        with self._lock:
            rows = self._connection.execute("SELECT document FROM nodes ORDER BY heard").fetchall()
            buckets = self._connection.execute("SELECT span, start, document FROM buckets").fetchall()
        for span, start, document in buckets:
            series.take(span, start, json.loads(document))
        documents = [json.loads(document) for (document,) in rows]
        return [Node(**{**document, "load": tuple(document["load"])}) for document in documents]

    def search(
        self, conditions: Sequence[Condition], limit: int = 50, before: tuple[float, str] | None = None
    ) -> list[Record]:
        """The newest tasks that meet all conditions; of a further page, those before the last one's."""
        wanted, values = ["1"], []
        for each in conditions:
            wanted.append(f"{each.column} = ?" if each.whole else f"instr({_lowered(each.column)}, ?)")
            values.append(each.text)
        if before is not None:
            wanted.append("(updated, id) < (?, ?)")
            values += before  # type: ignore[arg-type] # a number among texts
        query = f"SELECT document FROM tasks WHERE {' AND '.join(wanted)} ORDER BY updated DESC, id DESC LIMIT ?"  # noqa: S608 - of our own words
        return self._records(query, (*values, limit))

    def family(self, record: Record, most: int = 400) -> list[Record]:
        """The task and whoever is known to belong to it: by root, by parent, by group, and theirs in turn."""
        found = {record.id: record}
        asked: set[tuple[str, str]] = set()
        wanted = [record]
        while wanted and len(found) < most:
            each = wanted.pop(0)
            keys = [("root_id", each.root_id), ("parent_id", each.id), ("group_id", each.group_id)]
            keys += [("id", each.parent_id), ("id", each.root_id)]
            for key in keys:
                if not key[1] or key in asked:
                    continue
                asked.add(key)
                query = f"SELECT document FROM tasks WHERE {key[0]} = ? ORDER BY updated LIMIT ?"  # noqa: S608 - of our own words
                for other in self._records(query, (key[1], most - len(found) + 1)):
                    if other.id not in found and len(found) < most:
                        found[other.id] = other
                        wanted.append(other)
        return list(found.values())

    def totals(self) -> dict[str, int]:
        """How many tasks are in each state."""
        with self._lock:
            return dict(self._connection.execute("SELECT state, count(*) FROM tasks GROUP BY state").fetchall())

    def _records(self, query: str, values: Sequence[Any]) -> list[Record]:
        with self._lock:
            rows = self._connection.execute(query, values).fetchall()
        return [Record.read(json.loads(document)) for (document,) in rows]


def _names(rows: Iterable[tuple[str]]) -> list[str]:
    return [name for (name,) in rows]


def _lowered(column: str) -> str:
    """What is looked into. `words` and `arguments` are written in lower case, in every alphabet."""
    return column if column in ("words", "arguments") else f"lower({column})"


def _row(record: Record) -> tuple[Any, ...]:
    told = (record.id, record.name, record.worker, record.queue, record.args, record.kwargs)
    words = "\n".join((*told, record.exception, record.result, record.state)).lower()
    arguments = f"{record.args}\n{record.kwargs}".lower()
    return (
        *(record.id, record.updated, record.name, record.state, record.worker, record.queue, arguments),
        *(record.root_id, record.parent_id, record.group_id, words, json_of(record.document())),
    )


def json_of(value: Any) -> str:
    """As documents are written down."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def kept_in(where: str, limits: Limits = DEFAULT) -> Store:
    """The memory that this names: a file, or the URL of a Redis. Raises OSError."""
    if "://" not in where:
        return Store(where, limits)
    from ...worker.redis_place import SCHEMES

    scheme = where.partition("://")[0]
    if scheme not in SCHEMES:
        raise OSError(f"{scheme}:// cannot keep a history: name a file, or redis://...")
    from .store_redis import RedisStore

    return RedisStore(where, limits)


# --- the file


def _opened(path: str) -> sqlite3.Connection:
    try:
        return _connected(path)
    except (sqlite3.OperationalError, ValueError) as problem:  # the place is wrong, or what is there is somebody's
        raise OSError(f"{path} cannot be opened for the history: {problem}") from problem
    except sqlite3.DatabaseError as problem:
        aside = f"{path}.{time.strftime('%Y%m%d-%H%M%S')}.aside"
        for tail in ("-wal", "-shm", ""):
            if Path(path + tail).exists():
                Path(path + tail).replace(aside + tail)
        logger.warning("%s cannot be read as a history (%s): it is %s now, a new one is begun.", path, problem, aside)
        return _connected(path)


def _connected(path: str) -> sqlite3.Connection:
    if path != ":memory:":
        with closing(os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "rb+")):
            pass
    connection = sqlite3.connect(path, check_same_thread=False, timeout=5)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not version and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.executescript(f"PRAGMA journal_mode = WAL; {_SCHEMA} PRAGMA user_version = {_VERSION};")
        elif version != _VERSION:
            raise ValueError("it is another program's database, or another version's")  # noqa: TRY301 - it is closed below
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("SELECT count(*) FROM buckets").fetchone()
        connection.execute(_NOTES)  # not in the first files of this version
    except BaseException:
        connection.close()
        raise
    return connection

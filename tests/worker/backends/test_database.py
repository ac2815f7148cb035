"""Results in Celery's tables: its schema, its rows, its options, and databases that are not the newest."""

from __future__ import annotations

import base64
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire import states
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends
from celeriac.worker.backends import database
from celeriac.worker.backends.base import Settings
from celeriac.worker.backends.database import DatabaseStore
from tests.conformance.backends import BOOM, done, failed, new_id
from tests.protocol.vectors import vector

CASES = ["result/database/plain", "result/database/extended"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def opened(file: Path, **options: Any) -> DatabaseStore:
    store = backends.connect(f"db+sqlite:///{file}", Settings(options=options))
    assert isinstance(store, DatabaseStore)
    return store


def query(file: Path, text: str, *values: Any) -> list[Any]:
    connection = sqlite3.connect(file)
    try:
        rows = connection.execute(text, values).fetchall()
        connection.commit()
        return rows
    finally:
        connection.close()


def make_as_celery(file: Path, case: str) -> Any:
    capture = vector(case).capture
    for statement in capture["schema"]:
        if statement and "sqlite_sequence" not in statement:
            query(file, statement)
    for table, rows in capture["tables"].items():
        for row in rows:
            values = [base64.b64decode(value["b64"]) if isinstance(value, dict) else value for value in row.values()]
            query(file, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *values)
    return capture


@pytest.mark.parametrize("case", CASES)
def test_the_tables_are_celerys(file: Path, case: str) -> None:
    store = opened(file)
    store.fetch("t")
    made = {row[0] for row in query(file, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    assert made == {statement for statement in vector(case).capture["schema"] if statement}
    store.close()


@pytest.mark.parametrize("case", CASES)
def test_the_rows_of_celery_are_read(file: Path, case: str) -> None:
    capture = make_as_celery(file, case)
    store = opened(file)
    for row in capture["tables"]["celery_taskmeta"]:
        found = store.fetch(row["task_id"])
        assert found is not None
        assert (found.status, found.traceback) == (row["status"], row["traceback"])
        assert (found.about is not None) == (row["name"] is not None)
    for row in capture["tables"].get("celery_tasksetmeta", ()):
        group = store.fetch_group(row["taskset_id"])
        assert group is not None
        assert group.id == row["taskset_id"]
    store.close()


def test_a_row_is_as_celery_writes_it(file: Path) -> None:
    capture = vector(CASES[0]).capture["tables"]["celery_taskmeta"][1]
    store = opened(file)
    sent = Result("f", states.FAILURE, BOOM, "the traceback", [], "2026-11-21T03:59:32.200412+00:00")
    store.store(sent)
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    row = dict(connection.execute("SELECT * FROM celery_taskmeta").fetchone())
    connection.close()
    assert list(row) == list(capture)
    same = ("date_done", "children", "name", "args", "kwargs", "worker", "retries", "queue", "stamps", "status")
    assert {name: row[name] for name in same} == {name: capture[name] for name in same}
    assert row["result"].startswith(b'{"exc_type": "ValueError", "exc_message": [')
    store.close()


def test_names_and_schemas(file: Path) -> None:
    store = opened(file, database_table_names={"task": "mine", "group": "ours"})
    store.store(done("t"))
    store.store_group(Node("g", None, ()))
    assert query(file, "SELECT task_id FROM mine") == [("t",)]
    assert query(file, "SELECT taskset_id FROM ours") == [("g",)]
    store.close()
    tasks, groups = database.tables({}, {"task": "here", "group": "there"})
    assert (tasks.schema, groups.schema) == ("here", "there")
    assert "CREATE TABLE here.celery_taskmeta" in str(sa.schema.CreateTable(tasks))


@pytest.mark.parametrize("allowed", [True, False])
def test_a_table_of_an_older_celery(file: Path, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the columns that it lacks; where that is not allowed, it is used as it is."""
    query(
        file,
        "CREATE TABLE celery_taskmeta (id INTEGER PRIMARY KEY, task_id VARCHAR(155) UNIQUE, status VARCHAR(50),"
        " result BLOB, date_done DATETIME, traceback TEXT)",
    )
    if not allowed:
        monkeypatch.setattr(database, "_CREATE_TRIES", 1)
        real = sa.text
        monkeypatch.setattr(sa, "text", lambda text: real(text.replace("ALTER", "REFUSE")))
    store = opened(file)
    tree = [[["c", None], None]]
    sent = Result("t", states.SUCCESS, 3, children=tree)
    assert store.store(sent)
    assert not store.store(failed("t"))
    found = store.fetch("t")
    assert found is not None
    assert found.children == (tree if allowed else [])
    columns = {row[1] for row in query(file, "PRAGMA table_info(celery_taskmeta)")}
    assert ("stamps" in columns, "children" in columns) == (allowed, allowed)
    store.close()


def test_a_database_without_upserts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on MySQL: update, else insert, else somebody was faster."""
    monkeypatch.setattr(database, "_UPSERTS", frozenset())
    store = opened(file)
    assert store.store(Result("t", states.STARTED, 1))
    assert store.store(failed("t"))
    assert store.store(done("t"))
    assert not store.store(failed("t"))
    assert store.fetch("t") == done("t")
    with ThreadPoolExecutor(4) as pool:
        stores = [opened(file) for _ in range(4)]
        kept = list(pool.map(lambda each: each.store(done("same")), stores))
    assert sum(kept) == 1
    for each in (store, *stores):
        each.close()


@pytest.mark.parametrize("short", [False, True])
def test_engine_options(file: Path, short: bool) -> None:
    seen: list[Any] = []
    store = opened(
        file,
        database_engine_options={"echo": False, "pool_size": 3, "connect_args": {"timeout": 7}},
        database_short_lived_sessions=short,
        database_engine_callback=seen.append,
    )
    store.store(done("t"))
    (engine,) = seen
    assert (type(engine.pool).__name__ == "NullPool") == short
    store.close()


def test_many_ids_at_once(file: Path) -> None:
    store = opened(file)
    store.store(done("t1999"))
    assert set(store.fetch_many(f"t{number}" for number in range(2000))) == {"t1999"}
    store.close()


def test_failures_may_have_a_time_of_their_own(file: Path) -> None:
    from datetime import datetime

    store = backends.connect(f"db+sqlite:///{file}", Settings(expires=1000, failure_expires=10))
    store.store(failed("f"))
    store.store(done("s"))
    then = datetime.fromisoformat(str(done("s").date_done)).timestamp()
    assert store.expire(then + 5) == 0
    assert store.expire(then + 20) == 1
    assert store.fetch("f") is None
    assert store.expire(then + 2000) == 1
    store.close()


def test_a_forked_child_connects_anew(file: Path) -> None:
    store = opened(file)
    store.store(done("t"))
    pid = os.fork()
    if not pid:
        try:
            ok = store.fetch("t") == done("t") and store.store(done("child"))
            os._exit(0 if ok else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.fetch("child") is not None
    store.close()


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    nowhere = backends.connect(f"db+sqlite:///{tmp_path}/no/such/folder/x.sqlite")
    with pytest.raises(OperationalError, match=r"the database sqlite.* could not read results.*unable to open"):
        nowhere.fetch("t")
    nowhere.close()
    for url, options, said in (
        ("db+nonsense://u:s3cret@h/x", {}, "nonsense"),
        ("db+sqlite:///x", {"database_engine_options": {"nonsense": 1}}, "nonsense"),
        ("db+sqlite:///x", {"database_engine_callback": 5}, "database_engine_callback"),
        ("db+mysql+pymysql_that_is_not_there://u:s3cret@h/x", {}, "mysql"),
        ("db+oracle://u:s3cret@h/x", {}, "driver is not installed"),
    ):
        store = backends.connect(url, Settings(options=options))
        with pytest.raises(BadCall, match=said) as told:
            store.fetch(new_id())
        assert "s3cret" not in str(told.value)


def test_from_the_configuration(file: Path) -> None:
    store = backends.connect("database", Settings(options={"database_url": f"sqlite:///{file}"}))
    store.store(done("t"))
    other = opened(file)
    assert other.fetch("t") == done("t")
    other.close()
    store.close()

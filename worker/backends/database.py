"""Results in Celery's two tables, by SQLAlchemy 2: `db+postgresql://...`, `db+mysql://...`, `db+sqlite:///...`.

Law: one statement, or one transaction, looks whether a SUCCESS is stored and writes. Tables are Celery's, column for
column; they are made when the store is first used, and what an older Celery made without some columns gets these, or
is used without. Rows know no key prefix, nor the group and the parent of a task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...protocol.errors import BadCall, BadMessage, shown
from ...protocol.wire import children, rows, states
from ...protocol.wire.result import Result
from .base import Address, Found, Settings, Store
from .seam import Seam, load, section

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy import orm
    from sqlalchemy.sql.dml import Insert

T = TypeVar("T")

EXTRA: Final = "sqlalchemy"
ENGINE_OPTIONS: Final = {"pool_pre_ping": True, "pool_recycle": 3600}
"""Celery's default of `database_engine_options`."""
_TABLES = ("task", "group")

DEADLINES: Final[Mapping[str, Mapping[str, Any]]] = {
    "psycopg": {"connect_timeout": 10, "tcp_user_timeout": 30_000},
    "psycopg2": {"connect_timeout": 10, "tcp_user_timeout": 30_000},
    "pg8000": {"timeout": 60},
    "pymysql": {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60},
    "mysqldb": {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60},
}
"""What each driver calls the longest it may wait; `connect_args` in `database_engine_options` come before these."""

_AT_ONCE = 500  # ids in one statement
_CREATE_TRIES = 10  # two who make the tables at once disturb each other
_COUNTED = {"preserve_rowcount": True}  # SQLAlchemy keeps it of updates and deletes only
_UPSERTS = frozenset({"postgresql", "sqlite"})


@dataclass(frozen=True)
class _Place:
    """An engine, the tables, and the columns that this database has of them."""

    engine: sa.Engine
    tasks: sa.Table
    groups: sa.Table
    columns: frozenset[str]


class DatabaseStore(Store):
    """Results as rows."""

    can = frozenset({"group", "shared"})

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._url = url
        self._seam: Seam[_Place] = Seam(_name(url), self._open, _errors, lambda place: place.engine.dispose(), say=_say)

    # --- one result

    def store(self, result: Result, address: Address | None = None) -> bool:
        _check(result.task_id)
        row = rows.build(result, result.done_at(), self.settings.codec)

        def write(place: _Place, connection: sa.Connection) -> bool:
            values = {name: value for name, value in row.items() if name in place.columns}
            if place.engine.dialect.name in _UPSERTS:
                return connection.execute(_upsert(place, values), execution_options=_COUNTED).rowcount > 0
            return _replace(place, connection, values)

        return self._write("store a result", write)

    def fetch(self, task_id: str) -> Result | None:
        _check(task_id)
        found = self.fetch_many([task_id]).get(task_id)
        if isinstance(found, BadMessage):
            raise found
        return found

    def forget(self, task_id: str) -> None:
        self._write(
            "forget a result",
            lambda place, connection: (
                connection.execute(place.tasks.delete().where(place.tasks.c.task_id == task_id)).rowcount
            ),
        )

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        ids = list(dict.fromkeys(task_ids))
        found: dict[str, Found] = {}
        for start in range(0, len(ids), _AT_ONCE):
            for row in self._rows(ids[start : start + _AT_ONCE]):
                found[row["task_id"]] = self._result(row)
        return found

    def _rows(self, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        def read(place: _Place, session: orm.Session) -> Sequence[Mapping[str, Any]]:
            wanted = [column for column in place.tasks.c if column.name in place.columns]
            return [row._asdict() for row in session.query(*wanted).where(place.tasks.c.task_id.in_(ids))]

        return self._read("read results", read)

    def _result(self, row: Mapping[str, Any]) -> Found:
        try:
            result = rows.parse(row, self.settings.codec)
        except BadMessage as bad:
            return bad
        return result if result.children is not None else replace(result, children=[])  # no children are NULL

    # --- groups

    def store_group(self, group: children.Node) -> None:
        value, when = rows.build_group(group, self.settings.codec), _naive(time.time())

        def write(place: _Place, connection: sa.Connection) -> None:
            connection.execute(place.groups.delete().where(place.groups.c.taskset_id == group.id))
            connection.execute(place.groups.insert().values(taskset_id=group.id, result=value, date_done=when))

        self._write("save a group", write)

    def fetch_group(self, group_id: str) -> children.Node | None:
        def read(place: _Place, session: orm.Session) -> Mapping[str, Any] | None:
            row = session.query(*place.groups.c).where(place.groups.c.taskset_id == group_id).first()
            return None if row is None else row._asdict()

        row = self._read("read a group", read)
        return None if row is None else rows.parse_group(row, self.settings.codec)

    def forget_group(self, group_id: str) -> None:
        self._write(
            "forget a group",
            lambda place, connection: (
                connection.execute(place.groups.delete().where(place.groups.c.taskset_id == group_id)).rowcount
            ),
        )

    # --- by the clock

    def expire(self, now: float) -> int:
        expires, of_failures = self.settings.expires, self.settings.failure_expires

        def write(place: _Place, connection: sa.Connection) -> int:
            tasks, groups = place.tasks, place.groups
            failed = tasks.c.status == states.FAILURE
            mine = ~failed if of_failures is not None else tasks.c.task_id.is_not(None)
            gone = 0
            if of_failures:
                old = tasks.c.date_done < _naive(now - of_failures)
                gone += connection.execute(tasks.delete().where(old, failed)).rowcount
            if expires:
                before = _naive(now - expires)
                gone += connection.execute(tasks.delete().where(tasks.c.date_done < before, mine)).rowcount
                gone += connection.execute(groups.delete().where(groups.c.date_done < before)).rowcount
            return gone

        return self._write("delete what is old", write)

    # --- the connection

    def close(self) -> None:
        self._seam.close()

    def _write(self, doing: str, write: Callable[[_Place, sa.Connection], T]) -> T:
        with self._seam.client(doing) as place:
            try:
                with self._session(place) as session:
                    written = write(place, session.connection())
                    session.commit()
                    return written
            except load("sqlalchemy.exc", EXTRA).DataError as problem:
                raise BadCall(f"{_name(self._url)} cannot keep it: {_say(problem)}") from problem

    def _read(self, doing: str, read: Callable[[_Place, orm.Session], T]) -> T:
        with self._seam.client(doing) as place, self._session(place) as session:
            return read(place, session)

    def _session(self, place: _Place) -> orm.Session:
        """Celery reads and writes through one: who listens to SQLAlchemy's sessions, or patches them, sees ours too."""
        session: orm.Session = load("sqlalchemy.orm", EXTRA).Session(place.engine)
        return session

    def _open(self) -> _Place:
        engine = _engine(self._url, self.settings.options)
        tasks, groups = tables(
            section(self.settings.options, "database_table_names", _TABLES),
            section(self.settings.options, "database_table_schemas", _TABLES),
        )
        for attempt in range(_CREATE_TRIES):
            try:
                tasks.metadata.create_all(engine)
                break
            except load("sqlalchemy.exc", EXTRA).DatabaseError:
                if attempt == _CREATE_TRIES - 1:
                    raise
                time.sleep(min(0.01 * 2**attempt, 1.0))
        return _Place(engine, tasks, groups, _columns(engine, tasks))


def _check(task_id: str) -> None:
    if not task_id:
        raise BadCall("a result needs an id that is not empty")


def _naive(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)


# --- statements


def _upsert(place: _Place, values: Mapping[str, Any]) -> Insert:
    """Written over anything but a SUCCESS, by one statement."""
    insert = load(f"sqlalchemy.dialects.{place.engine.dialect.name}", EXTRA).insert
    statement: Insert = (
        insert(place.tasks)
        .inline()  # nobody wants the new id
        .values(**values)
        .on_conflict_do_update(
            index_elements=["task_id"],
            set_={name: value for name, value in values.items() if name != "task_id"},
            where=_open_to(place),
        )
    )
    return statement


def _replace(place: _Place, connection: sa.Connection, values: Mapping[str, Any]) -> bool:
    """The same where the database has no such statement."""
    update = place.tasks.update().where(place.tasks.c.task_id == values["task_id"], _open_to(place)).values(**values)
    if connection.execute(update).rowcount:
        return True
    try:
        with connection.begin_nested():
            connection.execute(place.tasks.insert().values(**values))
    except load("sqlalchemy.exc", EXTRA).IntegrityError:  # somebody's row is there: a SUCCESS, or one just made
        return bool(connection.execute(update).rowcount)
    return True


def _open_to(place: _Place) -> sa.ColumnElement[bool]:
    status = place.tasks.c.status
    return (status != states.SUCCESS) | status.is_(None)


# --- the tables


def tables(names: Mapping[str, str], schemas: Mapping[str, str]) -> tuple[sa.Table, sa.Table]:
    """Celery's two tables, under other names where asked for (`task`, `group`)."""
    sql = load("sqlalchemy", EXTRA)
    big = sql.Integer().with_variant(sql.BigInteger(), "mssql")
    metadata = sql.MetaData()

    def table(kind: str, default: str, sequence: str, *columns: Any) -> sa.Table:
        schema = schemas.get(kind)
        numbers = sql.Sequence(sequence, schema=schema)
        key = sql.Column("id", big, numbers, primary_key=True, autoincrement=True)
        made: sa.Table = sql.Table(
            names.get(kind) or default, metadata, key, *columns, schema=schema, sqlite_autoincrement=True
        )
        return made

    def text(name: str, length: int) -> Any:
        return sql.Column(name, sql.String(length))

    def blob(name: str) -> Any:
        return sql.Column(name, sql.LargeBinary)

    def date() -> Any:
        return sql.Column("date_done", sql.DateTime, index=True)

    tasks = table(
        "task",
        rows.TASKS,
        "task_id_sequence",
        sql.Column("task_id", sql.String(155), unique=True),
        text("status", 50),
        blob("result"),
        date(),
        sql.Column("traceback", sql.Text),
        blob("children"),
        text("name", 155),
        blob("args"),
        blob("kwargs"),
        text("worker", 155),
        sql.Column("retries", sql.Integer),
        text("queue", 155),
        blob("stamps"),
    )
    unique = sql.Column("taskset_id", sql.String(155), unique=True)
    groups = table("group", rows.GROUPS, "taskset_id_sequence", unique, blob("result"), date())
    return tasks, groups


def _columns(engine: sa.Engine, tasks: sa.Table) -> frozenset[str]:
    """The columns that are there, after what an older Celery did not make was added where this may be done."""
    sql = load("sqlalchemy", EXTRA)

    def present() -> set[str]:
        return {column["name"] for column in sql.inspect(engine).get_columns(tasks.name, schema=tasks.schema)}

    missing = [column for column in tasks.c if column.name not in present()]
    if not missing:
        return frozenset(tasks.c.keys())
    quoted = engine.dialect.identifier_preparer
    for column in missing:
        kind = column.type.compile(engine.dialect)
        add = f"ALTER TABLE {quoted.format_table(tasks)} ADD COLUMN {quoted.quote(column.name)} {kind}"
        with suppress(sql.exc.DatabaseError), engine.begin() as connection:
            connection.execute(sql.text(add))
    return frozenset(present() & set(tasks.c.keys()))


# --- the engine


def _engine(url: str, options: Mapping[str, Any]) -> sa.Engine:
    sql = load("sqlalchemy", EXTRA)
    given: dict[str, Any] = {**(options.get("database_engine_options") or ENGINE_OPTIONS)}
    if options.get("database_short_lived_sessions"):
        unpooled = {"max_overflow", "echo_pool"}
        given = {name: value for name, value in given.items() if not name.startswith("pool") and name not in unpooled}
        given["poolclass"] = sql.pool.NullPool
    try:
        address = sql.make_url(url)
        deadlines = DEADLINES.get(address.get_driver_name(), {})
        given["connect_args"] = {**deadlines, **(given.get("connect_args") or {})}
        engine: sa.Engine = sql.create_engine(address, **given)
    except (sql.exc.ArgumentError, sql.exc.NoSuchModuleError, TypeError) as problem:
        raise BadCall(f"database_url or database_engine_options of {_name(url)}: {problem}") from problem
    except ImportError as problem:
        raise BadCall(f"{_name(url)}: its driver is not installed: {problem}") from problem
    callback = options.get("database_engine_callback")
    if callback is not None:
        if not callable(callback):
            raise BadCall(f"database_engine_callback can be called, or is left out; it is {shown(callback)}")
        callback(engine)
    return engine


def _name(url: str) -> str:
    """The URL without its password, for people."""
    sql = load("sqlalchemy", EXTRA)
    try:
        return f"the database {sql.make_url(url).render_as_string(hide_password=True)}"
    except sql.exc.ArgumentError:
        raise BadCall(
            "the URL of the database cannot be read; it looks like db+postgresql://user:pw@host/name"
        ) from None


def _errors() -> tuple[type[BaseException], ...]:
    error: type[BaseException] = load("sqlalchemy.exc", EXTRA).SQLAlchemyError
    return (error,)


def _say(problem: BaseException) -> str:
    """What the database said, without the statement and its values."""
    return str(getattr(problem, "orig", None) or problem)


def connect(url: str, settings: Settings) -> DatabaseStore:
    """`db+<what SQLAlchemy knows>`, or `database` and its `database_url`."""
    _, plus, rest = url.partition("+")
    address = rest if plus and "://" not in url.partition("+")[0] else settings.options.get("database_url")
    if not address:
        raise BadCall("a database store needs its URL: db+postgresql://..., or the setting database_url")
    return DatabaseStore(str(address).removeprefix("db+"), settings)

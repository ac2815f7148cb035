"""Where several beats agree which of them leads, in a database: what `beat_lease` keeps in a Redis, as rows.

Law: every transaction of a leader looks at its token first, in the statement that locks the row of the lease. No clock
is compared with another: a leader raises a number, and a spare takes over when it saw that number stand still for as
long as a lease lasts. Where the queues are in a Redis, a run is written down with its message, which is queued after
that by a script that queues each number once: whoever dies in between, the next leader finishes it, and nobody doubles
it. With any other broker the message is sent after its run was written down: who dies in between loses that tick.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..protocol.errors import BadCall
from ..protocol.wire.redis_scripts import Script
from .backends.database import DEADLINES
from .backends.seam import Seam
from .beat_lease import Asked, Kept
from .redis_link import Link, connect
from .redis_place import Place

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")

_SUSPENDED = 3000  # ms within a transaction without a word
_TRIES = 10  # two who make the tables at once disturb each other

# KEYS: hash of what was queued, a list. ARGV: entry, its number, the message.
PUSH = Script(
    "push",
    """
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') >= tonumber(ARGV[2]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
""",
)


@dataclass(frozen=True)
class _Tables:
    engine: sa.Engine
    leases: sa.Table
    entries: sa.Table
    epoch: str
    """Of this row of the lease: what another one numbered says nothing about ours."""


class DatabaseLease:
    """One beat's, or an operator's, door to it. What fails raises kombu's OperationalError; the next call connects.

    `queues_at`: the Redis that messages may be put into by number, or None.
    """

    def __init__(self, url: str, name: str = "celeriac-beat", queues_at: Place | None = None) -> None:
        import sqlalchemy

        self._sql = sqlalchemy
        self._url = _address(url)
        self.name = name
        self.queues_at = queues_at
        self.where = self._url.render_as_string(hide_password=True)
        self._seam: Seam[_Tables] = Seam(
            f"the lease in {self.where}",
            self._open,
            lambda: (sqlalchemy.exc.SQLAlchemyError,),
            lambda tables: tables.engine.dispose(),
            say=lambda problem: str(getattr(problem, "orig", None) or problem),
        )
        self._link: Link | None = None
        self._seen: tuple[int, int] | None = None
        """Token and number of the leader that was last seen, and since when they stand still."""
        self._seen_at = 0.0
        self._queued: dict[str, int] = {}
        """Messages that are in their queue, and of which the database does not know that yet."""

    # --- the lease

    def acquire(self, ttl: float, token: int = 0) -> Asked:
        """The lease, if nobody has it; longer, if it is ours."""

        def ask(tables: _Tables, connection: sa.Connection) -> Asked:
            leases = tables.leases
            mine = leases.c.name == self.name
            if token:
                renewed = leases.update().where(mine, leases.c.token == token, leases.c.held == 1)
                if connection.execute(renewed.values(renewals=leases.c.renewals + 1)).rowcount:
                    self._note_queued(tables, connection)
                    return Asked(
                        token, version=connection.execute(self._sql.select(leases.c.version).where(mine)).scalar_one()
                    )
            row = connection.execute(leases.select().where(mine)).mappings().one()
            waits = self._waits(row, ttl)
            if waits > 0:
                return Asked(0, free_in=waits)
            same = [leases.c[column] == row[column] for column in ("token", "renewals", "held")]
            taken = leases.update().where(mine, *same)
            values = {"token": row["token"] + 1, "renewals": row["renewals"] + 1, "held": 1}
            if not connection.execute(taken.values(**values)).rowcount:
                return Asked(0, free_in=ttl)
            return Asked(row["token"] + 1, version=row["version"])

        asked = self._write("ask for the lease", ask)
        if asked.token != token:
            self._queued.clear()  # it is looked at anew by `finish`
        return asked

    def _waits(self, row: sa.RowMapping, ttl: float) -> float:
        """How long whoever has it may keep us waiting."""
        now, seen = time.monotonic(), (row["token"], row["renewals"])
        if not row["held"]:
            return 0.0
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return max(self._seen_at + ttl - now, 0.0)

    def is_held(self) -> bool:
        """Whether somebody leads, or died as the leader: a database does not forget by itself."""

        def read(tables: _Tables, connection: sa.Connection) -> bool:
            leases = tables.leases
            held = self._sql.select(leases.c.held).where(leases.c.name == self.name)
            return bool(connection.execute(held).scalar())

        return self._read("ask who leads", read)

    def release(self, token: int) -> None:
        def give(tables: _Tables, connection: sa.Connection) -> None:
            leases = tables.leases
            held = leases.update().where(leases.c.name == self.name, leases.c.token == token)
            if connection.execute(held.values(held=0)).rowcount:
                self._note_queued(tables, connection)

        self._write("give the lease back", give)

    def commit(self, token: int, entry: str, state: str, message: tuple[str, bytes] | None = None) -> bool:
        """Write a run down and put its message into that list; False if a newer leader was made."""
        queue, data = message or (None, None)

        def write(tables: _Tables, connection: sa.Connection) -> int:
            leases = tables.leases
            mine = leases.c.name == self.name
            fenced = leases.update().where(mine, leases.c.token == token).values(runs=leases.c.runs + 1)
            if not connection.execute(fenced).rowcount:
                return 0
            number: int = connection.execute(self._sql.select(leases.c.runs).where(mine)).scalar_one()
            self._note_queued(tables, connection)
            self._put(tables, connection, entry, state=state, queue=queue, message=data, number=number)
            return number

        number = self._write("write a run down", write)
        if number and message is not None:
            self._push(entry, number, *message)
        return bool(number)

    def finish(self) -> None:
        """Queue what was written down by a leader who did not come to that."""
        if self.queues_at is None:
            return

        def left(tables: _Tables, connection: sa.Connection) -> list[Any]:
            rows = tables.entries
            columns = (rows.c.entry, rows.c.number, rows.c.queue, rows.c.message)
            query = self._sql.select(*columns).where(rows.c.lease == self.name, rows.c.message.is_not(None))
            return [tuple(row) for row in connection.execute(query.order_by(rows.c.number))]

        for row in self._read("read what is to be queued", left):
            self._push(*row)

    def _push(self, entry: str, number: int, queue: str, message: bytes) -> None:
        if self.queues_at is None:
            raise BadCall("a message for a Redis, and no Redis is known")
        with self._seam.client("queue a message") as tables:
            epoch = tables.epoch
        if self._link is None or not self._link.open:
            self._link = connect(self.queues_at)
        self._link.run(PUSH, 2, f"{{{self.name}}}:sent:{epoch}", queue, entry, number, message)
        self._queued[entry] = number

    def _note_queued(self, tables: _Tables, connection: sa.Connection) -> None:
        """So that a Redis that forgets all has nothing sent a second time."""
        rows = tables.entries
        for entry, number in self._queued.items():
            sent = rows.update().where(rows.c.lease == self.name, rows.c.entry == entry, rows.c.number == number)
            connection.execute(sent.values(message=None, queue=None))
        self._queued.clear()

    # --- what is written down

    def load(self) -> Kept:
        def read(tables: _Tables, connection: sa.Connection) -> Kept:
            query = tables.entries.select().where(tables.entries.c.lease == self.name)
            rows = connection.execute(query).mappings().all()
            state, definitions = (
                {row["entry"]: row[column] for row in rows if row[column] is not None}
                for column in ("state", "definition")
            )
            return Kept(state, definitions, frozenset(row["entry"] for row in rows if row["paused"]))

        return self._read("read the schedule", read)

    def begin(self, states: Mapping[str, str]) -> None:
        """Write down where entries begin that never ran; who has a state keeps it."""

        def write(tables: _Tables, connection: sa.Connection) -> None:
            rows = tables.entries
            for entry, text in states.items():
                where = (rows.c.lease == self.name, rows.c.entry == entry)
                if connection.execute(rows.update().where(*where, rows.c.state.is_(None)).values(state=text)).rowcount:
                    continue
                if connection.execute(self._sql.select(rows.c.entry).where(*where)).first() is None:
                    self._put(tables, connection, entry, state=text)

        if states:
            self._write("begin the schedule", write)

    def forget(self, *names: str) -> None:
        """The states of entries that there are no more."""
        rows_of = self._named

        def write(tables: _Tables, connection: sa.Connection) -> None:
            rows = tables.entries
            gone = rows.update().where(*rows_of(tables, names)).values(state=None, queue=None, message=None)
            connection.execute(gone)
            empty = (rows.c.definition.is_(None), rows.c.paused == 0)
            connection.execute(rows.delete().where(*rows_of(tables, names), *empty))

        if names:
            self._write("forget entries", write)

    # --- at run time

    def put(self, entry: str, definition: str) -> None:
        self._change(lambda tables, connection: self._put(tables, connection, entry, definition=definition))

    def remove(self, entry: str) -> bool:
        """Whether there was one."""

        def gone(tables: _Tables, connection: sa.Connection) -> bool:
            where, rows = self._named(tables, (entry,)), tables.entries
            made = connection.execute(self._sql.select(rows.c.definition).where(*where)).scalar()
            connection.execute(rows.delete().where(*where))
            return made is not None

        return self._change(gone)

    def pause(self, entry: str) -> None:
        self._change(lambda tables, connection: self._put(tables, connection, entry, paused=1))

    def resume(self, entry: str) -> None:
        """It begins anew: what was missed in the pause is not made up for."""
        fresh = {"paused": 0, "state": None, "queue": None, "message": None}
        self._change(lambda tables, connection: self._put(tables, connection, entry, **fresh))

    def _change(self, act: Callable[[_Tables, sa.Connection], T]) -> T:
        def write(tables: _Tables, connection: sa.Connection) -> T:
            leases = tables.leases
            raised = leases.update().where(leases.c.name == self.name).values(version=leases.c.version + 1)
            connection.execute(raised)
            return act(tables, connection)

        return self._write("change the schedule", write)

    def _named(self, tables: _Tables, names: tuple[str, ...]) -> tuple[Any, Any]:
        return tables.entries.c.lease == self.name, tables.entries.c.entry.in_(names)

    def _put(self, tables: _Tables, connection: sa.Connection, entry: str, **values: Any) -> None:
        """Who writes here has the row of the lease, or is the one leader: nobody inserts between the two statements."""
        changed = tables.entries.update().where(*self._named(tables, (entry,))).values(**values)
        if not connection.execute(changed).rowcount:
            connection.execute(tables.entries.insert().values(lease=self.name, entry=entry, **values))

    # --- the connections

    def close(self) -> None:
        self._seam.close()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _write(self, doing: str, write: Callable[[_Tables, sa.Connection], T]) -> T:
        with self._seam.client(doing) as tables, tables.engine.begin() as connection:
            return write(tables, connection)

    def _read(self, doing: str, read: Callable[[_Tables, sa.Connection], T]) -> T:
        with self._seam.client(doing) as tables, tables.engine.connect() as connection:
            return read(tables, connection)

    def _open(self) -> _Tables:
        sql = self._sql
        deadlines = dict(DEADLINES.get(self._url.get_driver_name(), {}))
        try:
            engine = sql.create_engine(
                self._url, pool_pre_ping=True, pool_size=1, max_overflow=1, connect_args=deadlines
            )
        except (TypeError, ImportError) as problem:
            raise BadCall(f"beat_lease_url {self.where}: {problem}") from problem
        if self._url.get_backend_name() == "postgresql":
            sql.event.listen(engine, "connect", _impatient)
        leases, entries = _tables()
        attempt = 1
        while True:
            try:
                leases.metadata.create_all(engine)
                return _Tables(engine, leases, entries, self._row(engine, leases))
            except sql.exc.DatabaseError:
                if attempt == _TRIES:
                    engine.dispose()
                    raise
            time.sleep(min(0.01 * 2**attempt, 1.0))
            attempt += 1

    def _row(self, engine: sa.Engine, leases: sa.Table) -> str:
        """The lease's row, made if there is none: its epoch."""
        query = self._sql.select(leases.c.epoch).where(leases.c.name == self.name)
        with engine.begin() as connection:
            found = connection.execute(query).scalar()
            if found is None:
                found = secrets.token_hex(8)
                connection.execute(leases.insert().values(name=self.name, epoch=found))
        return str(found)


def _address(url: str) -> sa.URL:
    import sqlalchemy

    try:
        return sqlalchemy.make_url(url.removeprefix("db+"))
    except sqlalchemy.exc.ArgumentError:
        raise BadCall("beat_lease_url cannot be read; of a database it is db+postgresql://user:pw@host/name") from None


def _impatient(connection: Any, _record: Any) -> None:
    """A leader who is suspended within a transaction must not keep the row from the next one."""
    before, connection.autocommit = connection.autocommit, True
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {_SUSPENDED}")
    connection.autocommit = before


def _tables() -> tuple[sa.Table, sa.Table]:
    import sqlalchemy as sql

    metadata = sql.MetaData()

    def number(name: str) -> Any:
        return sql.Column(name, sql.BigInteger, nullable=False, default=0)

    name = sql.Column("name", sql.String(120), primary_key=True)
    counts = map(number, ("token", "renewals", "runs", "held", "version"))
    leases = sql.Table(
        "celeriac_beat_leases", metadata, name, sql.Column("epoch", sql.String(32), nullable=False), *counts
    )
    entries = sql.Table(
        "celeriac_beat_entries",
        metadata,
        sql.Column("lease", sql.String(120), primary_key=True),
        sql.Column("entry", sql.String(200), primary_key=True),
        sql.Column("state", sql.Text),
        sql.Column("definition", sql.Text),
        number("paused"),
        sql.Column("queue", sql.String(255)),
        sql.Column("message", sql.LargeBinary(2**24)),
        number("number"),
    )
    return leases, entries

"""The database store against the contract, on SQLite and, where it is installed, on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from celeriac.protocol.wire.result import Result
from celeriac.worker import backends
from celeriac.worker.backends.base import Settings, Store
from celeriac.worker.backends.database import DatabaseStore
from tests import store_servers
from tests.conformance.backends import Connect, StoreContract, done, new_id


class DatabaseContract(StoreContract):
    """What rows cannot hold is left out, as Celery leaves it out."""

    def spoil(self, store: Store, task_id: str) -> None:
        assert isinstance(store, DatabaseStore)
        store._write(
            "spoil", lambda place, link: link.execute(place.tasks.insert().values(task_id=task_id, result=b"}"))
        )

    def check_relatives(self, found: Result | None, sent: Result) -> None:
        assert found == replace(sent, group_id=None, parent_id=None)

    def check_apart(self, store: Store, result: Result) -> None:
        assert store.fetch(result.task_id) == result

    def test_results_are_forgotten_when_their_time_is_over(self, connect: Connect, store: Store) -> None:
        """By the date in the row."""
        old, kept = done(new_id()), replace(done(new_id()), date_done=datetime.now(timezone.utc).isoformat())
        for result in (old, kept):
            store.store(result)
        now, then = time.time(), datetime.fromisoformat(str(old.date_done)).timestamp()
        lasting, brief = connect(Settings(expires=0)), connect(Settings(expires=60))
        assert lasting.expire(now + 10**8) == 0
        assert brief.expire(then + 59) == 0
        assert brief.expire(min(then + 61, now)) >= 1
        assert (store.fetch(old.task_id), store.fetch(kept.task_id)) == (None, kept)
        assert brief.expire(now + 61) >= 1
        assert store.fetch(kept.task_id) is None
        lasting.close()
        brief.close()


class TestSqlite(DatabaseContract):
    thousands = 200  # each is a commit to the disk

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda settings=None: backends.connect(f"db+sqlite:///{tmp_path}/results.sqlite", settings)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    programs = store_servers.postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed; SQLite is asked in any case (apt-get install postgresql)")
    pytest.importorskip("psycopg")
    with store_servers.postgres(programs) as url:
        yield url


@pytest.mark.real
class TestPostgres(DatabaseContract):
    thousands = 300

    @pytest.fixture
    def connect(self, postgres: str) -> Connect:
        return lambda settings=None: backends.connect(f"db+{postgres}", settings)

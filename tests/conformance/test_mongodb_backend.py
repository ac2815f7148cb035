"""The MongoDB store against the contract, on mongomock: a stand-in in this process, which is no MongoDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from celeriac.protocol.wire import children
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends
from celeriac.worker.backends.base import Settings, Store
from celeriac.worker.backends.mongodb import MongoStore
from tests.conformance import backends as suite
from tests.conformance.backends import Connect, StoreContract, done, new_id

mongomock = pytest.importorskip("mongomock")


class TestMongo(StoreContract):
    thousands = 500  # the double looks for each among all

    @pytest.fixture
    def connect(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
        monkeypatch.setattr(suite, "WHEN", "2026-11-21T06:30:00.123000+00:00")  # MongoDB's dates have milliseconds
        database = new_id()
        with mongomock.patch(servers=(("localhost", 27017),)):
            yield lambda settings=None: backends.connect(f"mongodb://localhost/{database}", settings)

    def spoil(self, store: Store, task_id: str) -> None:
        assert isinstance(store, MongoStore)
        with store._seam.client("spoil") as held:
            held.tasks.insert_one({"_id": task_id, "status": "FAILURE", "result": "}"})

    def check_apart(self, store: Store, result: Result) -> None:
        """Celery's documents know no prefix."""
        assert store.fetch(result.task_id) == result

    def test_results_are_forgotten_when_their_time_is_over(self, connect: Connect, store: Store) -> None:
        """By the date in the document."""
        old = done(new_id())
        then = datetime.fromisoformat(str(old.date_done)).timestamp()
        store.store(old)
        store.store_group(children.Node(new_id(), None, ()))
        assert connect(Settings(expires=0)).expire(time.time() + 10**8) == 0
        brief = connect(Settings(expires=60))
        assert brief.expire(then + 59) == 0
        assert brief.expire(then + 61) == 1
        assert store.fetch(old.task_id) is None
        assert brief.expire(datetime.now(timezone.utc).timestamp() + 61) == 1

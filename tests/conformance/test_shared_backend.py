"""Stores for all threads against the contract: Redis' with links that are lent, and any other's, lent as a whole."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.worker.backends import shared
from celeriac.worker.backends.base import Store
from celeriac.worker.backends.shared import Leasing, Lent
from celeriac.worker.redis_link import operational_error
from tests.conformance.backends import Connect, StoreContract, done
from tests.servers import RedisServer


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.real
class TestSharedRedis(StoreContract):
    @pytest.fixture
    def connect(self, redis_server: RedisServer) -> Connect:
        return lambda settings=None: shared.connect(redis_server.url, settings)


class TestLeasing(StoreContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda settings=None: shared.connect(f"file://{tmp_path}", settings)

    def spoil(self, store: Store, task_id: str) -> None:
        assert isinstance(store, Leasing)
        store.use(lambda one: StoreContract.spoil(self, one, task_id))


@pytest.mark.parametrize("kind", ["redis", "file", "memory"])
def test_all_threads_at_once(kind: str, redis_server: RedisServer, tmp_path: Path) -> None:
    urls = {"redis": redis_server.url, "file": f"file://{tmp_path}", "memory": "memory://threads"}
    store: Store = shared.connect(urls[kind])
    wrong: list[object] = []

    def work(n: int) -> None:
        for turn in range(20):
            task_id = f"{kind}-{n}-{turn}"
            store.store(done(task_id, task_id))
            found = store.fetch(task_id)
            if found is None or found.result != task_id:
                wrong.append((task_id, found))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    store.close()


def test_who_finds_all_lent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.01)
    lent: Lent[str] = Lent(1)
    assert lent.take() is None
    with pytest.raises(operational_error(), match="all 1 connections"):
        lent.take()
    lent.give("it")
    assert lent.take() == "it"
    lent.give("it")
    assert lent.empty() == ["it"]

"""The memory store against the contract, and what is its own."""

from __future__ import annotations

import uuid

import pytest

from celeriac.worker import backends
from celeriac.worker.backends.base import Settings
from celeriac.worker.backends.memory import shelf_named
from tests.conformance.backends import Connect, StoreContract, done, new_id, until


class TestMemory(StoreContract):
    @pytest.fixture
    def connect(self) -> Connect:
        url = f"memory://{uuid.uuid4()}"
        return lambda settings=None: backends.connect(url, settings)


def test_what_is_over_takes_no_room() -> None:
    store = backends.connect("memory://over", Settings(expires=1))
    shelf = shelf_named("over")
    store.store(done("first"))
    assert until(lambda: store.fetch("first") is None)
    store.store(done("second"))
    assert len(shelf.values) == 1
    store.store(done("second", "again"))
    assert until(lambda: store.fetch("second") is None)


def test_a_name_is_a_shelf() -> None:
    task_id = new_id()
    backends.connect("memory://one").store(done(task_id))
    assert backends.connect("memory://one").fetch(task_id)
    assert backends.connect("memory://two").fetch(task_id) is None
    assert backends.connect("memory://").fetch(task_id) is None

"""Patience with a store that fails, and what is said when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends
from celeriac.worker.backends.base import KeyValueStore, Retry, Settings, Store
from celeriac.worker.backends.memory import MemoryStore, Shelf
from celeriac.worker.backends.retrying import Retrying
from tests.conformance.backends import Connect, StoreContract, done, new_id


class Failing(MemoryStore):
    """Each call fails so many times before it works."""

    def __init__(self, failures: int, shelf: Shelf | None = None, settings: Settings | None = None) -> None:
        super().__init__(shelf or Shelf(), settings)
        self.real = MemoryStore(self._shelf, settings)
        self.failures = failures
        self.left: dict[Any, int] = {}
        self.calls = 0


def _failing(name: str) -> Callable[..., Any]:
    def call(self: Failing, *args: Any, **options: Any) -> Any:
        self.calls += 1
        left = self.left.setdefault(name, self.failures)
        if left and args[1:] != (0.0,):  # a wait that has no time cannot be tried again
            self.left[name] -= 1
            raise OperationalError(f"{name} fails")
        del self.left[name]
        return getattr(self.real, name)(*args, **options)

    return call


METHODS = [
    "store",
    "fetch",
    "forget",
    "fetch_many",
    "wait",
    "store_group",
    "fetch_group",
    "forget_group",
    "chord_start",
]
METHODS += ["chord_part", "chord_hold", "chord_done", "chord_failed", "expire"]
for _name in METHODS:
    setattr(Failing, _name, _failing(_name))


class Naps(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


class TestContract(StoreContract):
    """With a store that fails twice at each call the contract holds as with one that does not."""

    @pytest.fixture
    def connect(self) -> Connect:
        shelf = Shelf()
        retry = Retry(2, 0.0001, 0.001)
        return lambda settings=None: Retrying(Failing(2, shelf, settings), retry)

    thousands = 300

    def spoil(self, store: Store, task_id: str) -> None:
        assert isinstance(store, Retrying)
        assert isinstance(store.inner, KeyValueStore)
        store.inner.put(store.settings.keys.task(task_id), b"not JSON", 60)


def test_waits_grow_to_the_longest_each_a_part_of_itself() -> None:
    naps = Naps()
    store = Retrying(Failing(8), Retry(8, 0.01, 1.0), naps, lambda: 0.5)
    assert store.store(done("x"))
    assert naps == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5])


def test_a_result_that_cannot_be_stored_is_logged_in_full(caplog: pytest.LogCaptureFixture) -> None:
    inner = Failing(10)
    store = Retrying(inner, Retry(3, 0.01, 1), Naps())
    with caplog.at_level(logging.WARNING), pytest.raises(OperationalError, match="store fails"):
        store.store(done("the-id", {"answer": ["x" * 5000]}))
    assert inner.calls == 4
    *warnings, last = caplog.records
    assert [record.levelname for record in warnings] == ["WARNING"] * 3
    assert "cannot store the result of the-id, again (1/3) in" in warnings[0].getMessage()
    assert last.levelname == "CRITICAL"
    assert "the-id" in last.getMessage()
    assert "x" * 5000 in last.getMessage()


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.fetch("x"),
        lambda store: store.fetch_many(["x"]),
        lambda store: list(store.wait(["x"], 5)),
        lambda store: store.forget("x"),
        lambda store: store.fetch_group("x"),
        lambda store: store.store_group(Node("x", None, ())),
        lambda store: store.chord_part("x", Member("x", "SUCCESS", 1), 0, "t"),
        lambda store: store.expire(0),
    ],
)
def test_the_limit_holds_for_every_call(ask: Callable[[Store], Any]) -> None:
    inner, naps = Failing(100), Naps()
    with pytest.raises(OperationalError):
        ask(Retrying(inner, Retry(2, 0.01, 1), naps))
    assert (inner.calls, len(naps)) == (3, 2)


def test_only_what_may_pass_is_tried_again() -> None:
    class Refusing(MemoryStore):
        calls = 0

        def fetch(self, task_id: str) -> Result | None:
            self.calls += 1
            raise BadMessage("result", "no JSON") if task_id == "bad" else BadCall("no id")

    inner = Refusing(Shelf())
    store = Retrying(inner, Retry(), Naps())
    for task_id, kind in (("bad", BadMessage), ("", BadCall)):
        with pytest.raises(kind):
            store.fetch(task_id)
    assert inner.calls == 2


def test_a_member_is_added_to_a_chord_once() -> None:
    class Deaf(MemoryStore):
        def chord_grow(self, group_id: str, by: int = 1) -> None:
            super().chord_grow(group_id, by)
            raise OperationalError("its answer was lost")

    inner = Deaf(Shelf())
    store = Retrying(inner, Retry(5, 0.01, 1), Naps())
    store.chord_start("g", 1)
    with pytest.raises(OperationalError):
        store.chord_grow("g")
    assert store.chord_part("g", Member("a", "SUCCESS", 1), 0, "t") is None
    assert store.chord_part("g", Member("b", "SUCCESS", 1), 1, "t") is not None


def test_waiting_goes_on_where_it_was() -> None:
    class Cut(MemoryStore):
        asked: list[list[str]] = []  # noqa: RUF012  # of this test alone

        def wait(self, task_ids: Any, timeout: float, **options: Any) -> Iterator[Any]:
            ids = list(task_ids)
            self.asked.append(ids)
            for number, each in enumerate(super().wait(ids, timeout, **options)):
                if number == 1:
                    raise OperationalError("cut")
                yield each

    store = Retrying(Cut(Shelf()), Retry(1, 0.01, 1), Naps())
    results = {each.task_id: each for each in (done("a"), done("b"), done("c"))}
    for each in results.values():
        store.store(each)
    assert dict(store.wait(["a", "b", "c"], 5)) == results
    assert Cut.asked == [["a", "b", "c"], ["b", "c"], ["c"]]


def test_waiting_in_vain_ends_with_its_time() -> None:
    class Down(MemoryStore):
        def wait(self, task_ids: Any, timeout: float, **options: Any) -> Iterator[Any]:
            raise OperationalError("down")

    started = time.monotonic()
    with pytest.raises(OperationalError):
        list(Retrying(Down(Shelf()), Retry(first=5.0), chance=lambda: 1.0).wait(["x"], 0.1))
    assert 0.1 <= time.monotonic() - started < 4


def test_waiting_stops_when_told() -> None:
    assert list(Retrying(Failing(0), Retry()).wait([new_id()], 60, stop=lambda: True)) == []


def test_the_door_wraps_where_asked_for() -> None:
    assert isinstance(backends.connect("memory://", Settings(retry=Retry())), Retrying)
    assert isinstance(backends.connect("memory://"), MemoryStore)

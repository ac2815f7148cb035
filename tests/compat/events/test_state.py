"""`State` beside stock's: the same events, the same picture. And what ours does better."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from celeriac.compat.events import state as module
from celeriac.compat.events.state import State, Task, Worker, heartbeat_expires
from tests.compat.stock import ask

SIDE = Path(__file__).with_name("state_side.py")
_NOW = time.time


def pictures(python: Path | str, count: int) -> list[str]:
    done = subprocess.run(
        [str(python), str(SIDE), "0", str(count)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        env={**os.environ, "PYTHONHASHSEED": "0"},  # the order of a set is seen when a state is pickled
    )
    return done.stdout.split()


@pytest.mark.real
def test_random_events_make_the_same_state_as_in_stock(stock_python: Path, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--event-sequences"))
    ours, stocks = pictures(sys.executable, count), pictures(stock_python, count)
    assert len(ours) == count
    assert [seed for seed, pair in enumerate(zip(ours, stocks, strict=True)) if len(set(pair)) > 1] == []
    assert len(set(ours)) > count * 0.9  # they are different stories


def event(kind: str, **fields: Any) -> dict[str, Any]:
    now = _NOW()
    return {
        "type": kind,
        "hostname": "w@h",
        "pid": 1,
        "utcoffset": 0,
        "clock": 1,
        "timestamp": now,
        "local_received": now,
        **fields,
    }


def test_a_worker_is_alive_while_its_heart_beats() -> None:
    state = State()
    (worker, created), subject = state.event(event("worker-online", freq=2, sw_ident="py-celery"))
    assert (created, subject, worker.alive, worker.status_string, worker.id) == (
        True,
        "online",
        True,
        "ONLINE",
        "w@h.1",
    )
    assert list(state.alive_workers()) == [worker]
    state.event(event("worker-offline"))
    assert not worker.alive
    assert "OFFLINE" in repr(worker)


def test_a_rebuilt_order_is_in_order() -> None:
    state = State()
    for uuid, clock in (("b", 9), ("a", 4), ("c", 7)):
        state.event(event("task-received", uuid=uuid, name="t", clock=clock))
    again = pickle.loads(pickle.dumps(state))
    assert [uuid for uuid, _ in again.tasks_by_time(reverse=False)] == ["a", "c", "b"]
    assert again.tasks_by_type["t"] == WeakSet(again.tasks.values())


def test_a_task_nobody_told_of_breaks_no_order() -> None:
    state = State()
    for uuid in "ab":
        state.get_or_create_task(uuid)
    state.rebuild_taskheap()
    assert {uuid for uuid, _ in state.tasks_by_time()} == {"a", "b"}
    assert list(state.tasks_by_worker("w@h")) == []


def test_what_is_forgotten_is_gone_at_once() -> None:
    state = State(max_tasks_in_memory=2)
    for number in range(5):
        state.event(event("task-received", uuid=str(number), name="t", clock=number + 1))
    assert len(state.tasks_by_type["t"]) == 2
    assert [uuid for uuid, _ in state.tasks_by_time()] == ["4", "3"]


def test_parents_and_children_find_each_other() -> None:
    state = State()
    state.event(event("task-received", uuid="child", name="t", parent_id="parent", root_id="parent"))
    state.event(event("task-received", uuid="parent", name="t"))
    parent, child = state.tasks["parent"], state.tasks["child"]
    assert set(parent.children) == {child}
    assert (child.parent, child.root) == (parent, parent)
    assert child.as_dict()["root"] == "parent"
    assert Task("alone", parent_id="x").parent is None


def test_clocks_that_disagree_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(module, "warn", lambda *words: said.append(words[0] % words[1:]))
    worker = Worker("drifting")
    for _ in range(3):
        worker.event("heartbeat", 1000.0, 1100.0)
    assert len(said) == 1
    assert "100 seconds" in said[0]


def test_heartbeats_expire_after_twice_their_frequency() -> None:
    from decimal import Decimal

    assert heartbeat_expires(10.0, 2) == 14.0
    assert heartbeat_expires(Decimal(10), Decimal(2)) == 14.0


def test_a_picture_is_taken_while_nothing_changes() -> None:
    state = State()
    state.event(event("task-received", uuid="a", name="t"))
    state.event(event("task-succeeded", uuid="b", name="t"))
    assert state.freeze_while(state._mutex.locked, clear_after=True)
    assert list(state.tasks) == ["a"]  # the one that is not done
    state.clear(ready=False)
    assert not state.tasks


_STOCK_WRITES = """
import base64, pickle
from celery.events.state import State
state = State()
for event in question:
    state.event(event)
answer = base64.b64encode(pickle.dumps(state)).decode()
"""
_STOCK_READS = """
import base64, pickle
state = pickle.loads(base64.b64decode(question))
state._taskheap.sort()  # stock means to
answer = [[uuid, task.state, task.worker.hostname] for uuid, task in state.tasks_by_time()]
answer.append(sorted(state.workers))
"""


@pytest.mark.real
def test_a_pickled_state_is_read_by_the_other(stock_python: Path) -> None:
    """Flower keeps one in a file: coming and going, nothing is lost."""
    story = [event("task-received", uuid=uuid, name="t.add", clock=clock) for clock, uuid in enumerate("abc", 1)]
    told = [["c", "RECEIVED", "w@h"], ["b", "RECEIVED", "w@h"], ["a", "RECEIVED", "w@h"]]
    stocks = pickle.loads(base64.b64decode(ask(stock_python, _STOCK_WRITES, story)))
    assert type(stocks) is State
    assert [[uuid, task.state, task.worker.hostname] for uuid, task in stocks.tasks_by_time()] == told
    assert ask(stock_python, _STOCK_READS, base64.b64encode(pickle.dumps(stocks)).decode()) == [*told, ["w@h"]]

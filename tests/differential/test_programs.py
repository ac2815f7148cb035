"""The same random programs through a worker of stock Celery 5.7.0 and through one of ours: all that is seen agrees.

Seen of every task: the documents that are stored, one after the other, the events (those of retries apart), the signals and hooks with their
arguments, the lines in the log, and how its result looks to a client in the end. Where they differ on purpose, `KNOWN`
says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.differential import programs_run
from tests.differential.programs import Programs

AT_ONCE = 100
POOLS = ("solo", "prefork", "threads")
_OF_A_CHORD = re.compile(r"ChordError.*Dependency \S+ raised ")


def _parent_reported(kind: str, stock: Any, ours: Any) -> bool:
    if (
        kind not in ("events", "retries")
        or not stock
        or not ours
        or stock.get("exception") != "ExceptionWithTraceback()"
    ):
        return False
    return {**stock, "exception": 0} == {**ours, "exception": 0}


def _no_children(kind: str, stock: Any, ours: Any) -> bool:
    return kind == "stored" and bool(stock and ours) and {**stock, "children": stock["children"] or []} == ours


def _request_of_internal_error(kind: str, stock: Any, ours: Any) -> bool:
    if kind != "task" or not stock or stock[0] != "task_internal_error" or not ours or stock[0] != ours[0]:
        return False
    return {**stock[1], "request": 0} == {**ours[1], "request": 0}


def _repr_of_chord_error(kind: str, stock: Any, ours: Any) -> bool:
    return kind == "stored" and "Join error: RuntimeError('no repr')" in str(stock) and "ChordError" in str(ours)


def _told_of_failed_chord(kind: str, stock: Any, ours: Any) -> bool:
    """In the store, and for who asks in the end: with stock he is told nothing, and would wait for ever."""
    return kind in ("stored", "in the end") and stock is None and bool(_OF_A_CHORD.search(str(ours)))


def _errback_of_failed_chord(kind: str, stock: Any, ours: Any) -> bool:
    return kind == "task" and stock is None and ours[0] == "errback" and bool(_OF_A_CHORD.search(str(ours)))


def _of_nobody(kind: str, stock: Any, ours: Any) -> bool:
    """Such documents are told by no id: all of them stand together."""
    told = bool(_OF_A_CHORD.search(str(stock))) or "Join error: RuntimeError('no repr')" in str(stock)
    return kind == "stored" and ours is None and stock["task_id"] == "uuid" and told


def _children_of_rejected(kind: str, stock: Any, ours: Any) -> bool:
    if kind != "stored" or not stock or not ours or not isinstance(stock["result"], dict):
        return False
    return stock["result"].get("exc_type") == "Reject" and not stock["children"] and {**ours, "children": []} == stock


def forget_errbacks(stock: dict[str, Any], ours: dict[str, Any], different: dict[str, Any]) -> None:
    """Take from what is different the errbacks that we call, and stock does not, of bodies that stock leaves waiting."""

    def told(task_id: str) -> bool:
        found = ours.get(task_id, {}).get("stored", [])
        return "stored" not in stock.get(task_id, {}) and any(_OF_A_CHORD.search(str(each)) for each in found)

    called = [
        task_id
        for task_id in different
        if task_id not in stock
        and any(told(each.get("parent_id") or "") for each in ours.get(task_id, {}).get("stored", []))
    ]
    for task_id in called:
        del different[task_id]
    lines = different.pop("errbacks", [])
    if lines != [("task", None, ["old", "of"])] * len(called):
        different["errbacks"] = lines


KNOWN: dict[str, Callable[[str, Any, Any], bool]] = {
    "stock's solo and threads pools show the wrapper of what a task rejected, not the reason": _parent_reported,
    "stock stores null for the children of what failed in somebody's stead, [] everywhere else": _no_children,
    "stock stores no children for what was rejected": _children_of_rejected,
    "stock leaves the body of a chord waiting for ever when a member, a chord itself, has failed": _told_of_failed_chord,
    "stock calls no errback of the body that it leaves waiting": _errback_of_failed_chord,
    "stock tells of a failed chord whose body is a chord under an id that nobody knows": _of_nobody,
    "stock cannot say which member failed a chord when its exception cannot be shown": _repr_of_chord_error,
    "stock gives receivers of task_internal_error a dict where its documentation says request": (
        _request_of_internal_error
    ),
}


def apart(stock: list[Any], ours: list[Any]) -> tuple[list[Any], list[Any]]:
    """What only one of both heaps has."""
    left, more = list(stock), []
    for each in ours:
        if each in left:
            left.remove(each)
        else:
            more.append(each)
    return left, more


def differences(stock: dict[str, list[Any]], ours: dict[str, list[Any]], told: dict[str, int]) -> list[Any]:
    found = []
    for kind in sorted({*stock, *ours}):
        for theirs, own in zip_longest(stock.get(kind, []), ours.get(kind, [])):
            if theirs == own:
                continue
            for why, known in KNOWN.items():
                if known(kind, theirs, own):
                    told[why] = told.get(why, 0) + 1
                    break
            else:
                found.append((kind, theirs, own))
    return found


@pytest.mark.real
@pytest.mark.parametrize("pool", POOLS)
def test_random_programs(pool: str, request: pytest.FixtureRequest, stock_python: Path, tmp_path: Path) -> None:
    total = -(-int(request.config.getoption("--programs")) // len(POOLS))
    # Stock enforces soft time limits in its prefork pool alone.
    source = Programs(POOLS.index(pool), limits=pool == "prefork")
    different: dict[str, Any] = {}
    told: dict[str, int] = {}
    tasks = 0
    for start in range(0, total, AT_ONCE):
        programs = [source.program() for _ in range(min(AT_ONCE, total - start))]
        by_stock, in_the_end = programs_run.run(
            programs, programs_run.theirs(stock_python, pool), stock_python, tmp_path / f"stock{start}"
        )
        by_ours, our_end = programs_run.run(programs, programs_run.ours(pool), stock_python, tmp_path / f"ours{start}")
        tasks += len(by_stock)
        now: dict[str, Any] = {}
        heaps = by_stock.get("uuid", {}), by_ours.get("uuid", {})
        for kind in {*heaps[0]} & {*heaps[1]}:
            heaps[0][kind], heaps[1][kind] = apart(heaps[0][kind], heaps[1][kind])
        for task_id in sorted({*by_stock, *by_ours}):
            found = differences(by_stock.get(task_id, {}), by_ours.get(task_id, {}), told)
            if in_the_end.get(task_id) != our_end.get(task_id) and "no repr" not in str(in_the_end.get(task_id)):
                ends = {"in the end": [in_the_end.get(task_id)]}, {"in the end": [our_end.get(task_id)]}
                found += differences(*ends, told)
            if found:
                now[task_id] = found
        forget_errbacks(by_stock, by_ours, now)
        different |= {f"{task_id} after {start}": found for task_id, found in now.items()}
        assert in_the_end["refused"] == our_end["refused"]
    print(f"{pool}: {total} programs, {tasks} tasks, {told}")
    assert different == {}
    assert tasks > total

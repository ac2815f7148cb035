"""The ledger of chaos finds what it is there to find: what is lost and whose loss it is, what ran twice without reason."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from interop import chaos, chaos_page
from interop.chaos_ledger import SEEN, Account, Fault, Sent, settled
from interop.peers import OURS, STOCK
from tests import servers

KINDS = {"worker0": OURS, "worker1": STOCK, "producer0": OURS, "producer1": STOCK}
NAME = "early-producer0-1"


def sent(name: str = NAME, *keys: str, accepted: bool = True) -> Sent:
    kind, producer, _ = name.split("-")
    return Sent(name, kind, keys or (name,), producer, 100.0, 100.1, accepted, keys[:1] or (name,))


def account(
    folder: Path, lines: Sequence[str], *faults: Fault, calls: Sequence[Sent] = (), seen: str | None = None
) -> Account:
    (folder / "ledger").write_text("".join(f"{line}\n" for line in lines))
    if seen is not None:
        (folder / SEEN).write_text(seen)
    with servers.redis_server() as results:
        results.call("SET", f"celery-task-meta-{NAME}9", '{"result": {"exc_type": "WorkerLostError"}}')
        return settled(calls or [sent()], faults, KINDS, folder, results.url)


@pytest.mark.real
def test_what_is_done_once_is_well(tmp_path: Path) -> None:
    found = account(tmp_path, [f"start {NAME} 101 worker0", f"end {NAME} 102 worker0"])
    assert (found.sent, found.runs, found.missing, found.doubled, found.wrong) == (1, 1, {}, {}, 0)
    assert found.last == 102


def test_what_lies_too_long_is_wrong_where_it_lies() -> None:
    assert Account(late={"a": OURS, "b": "nobody", "c": STOCK}).wrong == 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("seen", "whose"),
    [
        ("", OURS),  # never put, and our producer said it was
        (f'1 [0 1:1] "LPUSH" "celery" "{{\\"id\\": \\"{NAME}\\"}}"', STOCK),  # popped, and not noted
        (f'1 [0 1:1] "HSET" "unacked" "t" "[{{\\"id\\": \\"{NAME}\\"}}]"', STOCK),
        (f'1 [0 lua] "HSET" "unacked" "t" "[{{\\"id\\": \\"{NAME}\\"}}]"', OURS),
    ],
)
def test_who_had_it_last_has_lost_it(seen: str, whose: str, tmp_path: Path) -> None:
    found = account(tmp_path, [f"start {NAME} 101 worker1"], seen=seen)
    assert found.missing == {NAME: whose}
    assert found.wrong == (whose == OURS)


@pytest.mark.real
def test_on_rabbitmq_the_logs_tell(tmp_path: Path) -> None:
    for log, at in (("worker0.1.celeriac.log", "10:00:02,000"), (f"worker1.1.{STOCK}.log", "10:00:01,000")):
        (tmp_path / log).write_text(f"[2026-01-01 {at}: INFO/MainProcess] Task chaos.early[{NAME}] received\n")
    assert account(tmp_path, []).missing == {NAME: OURS}
    for log in tmp_path.glob("*.log"):
        log.unlink()
    found = account(tmp_path, [])
    assert found.missing == {NAME: "nobody"}
    assert found.wrong == 1


@pytest.mark.real
def test_who_was_told_has_lost_nothing(tmp_path: Path) -> None:
    found = account(tmp_path, [], calls=[sent(f"{NAME}9"), sent(f"{NAME}8", accepted=False)])
    assert (found.told, found.unknown, found.missing) == (1, 1, {})


TWICE = [f"start {NAME} 101 worker0", f"end {NAME} 101 worker0", f"start {NAME} 105 worker1", f"end {NAME} 105 worker1"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("fault", "excuses"),
    [
        (None, False),
        (Fault(102, "cut", "worker0", 0), True),
        (Fault(102, "cut", "worker1", 0), True),
        (Fault(99, "cut", "worker1", 0), False),
        (Fault(106, "cut", "worker0", 0), False),
        (Fault(102, "kill the parent", "worker0", 0), False),
        (Fault(102, "kill the broker", "broker", 1), True),
        (Fault(102, "kill the store", "store", 1), False),
        (Fault(100, "stall", "producer0", 1), True),
    ],
)
def test_a_second_run_needs_a_reason(fault: Fault | None, excuses: bool, tmp_path: Path) -> None:
    found = account(tmp_path, TWICE, *([fault] if fault else []))
    assert found.excused == excuses
    assert found.doubled == ({} if excuses else {NAME: OURS})
    assert found.wrong == (not excuses)


@pytest.mark.real
@pytest.mark.parametrize(("slot", "excuses"), [("worker0", True), ("worker1", True), ("worker2", False)])
def test_a_second_run_of_a_step_is_explained_by_who_ran_the_others(slot: str, excuses: bool, tmp_path: Path) -> None:
    name = "chain-producer0-1"
    call = sent(name, f"{name}.0", f"{name}.1")
    lines = [f"start {name}.0 101 worker0", f"end {name}.0 101 worker0"]
    lines += [f"{what} {name}.1 {at} worker1" for at in (110, 120) for what in ("start", "end")]
    found = account(tmp_path, lines, Fault(101.5, "kill the parent", slot, 0), calls=[call])
    assert found.excused == excuses
    assert (found.canvases, found.complete, found.once) == (1, 1, 0)


@pytest.mark.real
def test_what_should_have_followed_is_lost_with_what_came_before(tmp_path: Path) -> None:
    name = "chain-producer0-1"
    call = sent(name, f"{name}.0", f"{name}.1", f"{name}.2")
    lines = [f"start {name}.0 101 worker1", f"end {name}.0 101 worker1"]
    found = account(tmp_path, lines, calls=[call], seen="")
    assert found.missing == {f"{name}.1": STOCK, f"{name}.2": STOCK}
    assert (found.canvases, found.complete) == (1, 0)


def test_a_seed_says_what_happens() -> None:
    first, again = (list(chaos.scheduled("7", 100, 3, 2)) for _ in range(2))
    assert first == again != list(chaos.scheduled("8", 100, 3, 2))
    assert {fault.kind for fault in chaos.scheduled("7", 2000, 3, 2)} == set(chaos.KINDS)
    assert all(1 <= later.at - fault.at <= 4 for fault, later in itertools.pairwise(first))


def test_the_page_has_a_column_for_each() -> None:
    mixed = Account(sent=5, late={"a": "nobody"}, missing={"b": STOCK, "c": STOCK})
    page = chaos_page.written({("mixed", "redis"): mixed, ("stock", "redis"): Account(sent=6)}, 60, 7)
    assert "|  | celeriac and stock, Redis | stock alone, Redis |" in page
    assert "| calls that were accepted | 5 | 6 |" in page
    assert "| lost by stock | 2 | 0 |" in page
    assert "| done only later than 30 s after the faults, in celeriac's hands | 1 | 0 |" in page

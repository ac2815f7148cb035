"""Revokes against a naive model: bounded, expiring, mergeable, and the stamps compared as Python compares."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from celeriac.protocol.rules.revokes import Revokes

IDS = st.sampled_from([f"id{i}" for i in range(9)])


class RevokesMachine(RuleBasedStateMachine):
    """Every operation beside a list of (id, since) that is trimmed by its definition: 5 at most, 2 however old."""

    def __init__(self) -> None:
        super().__init__()
        self.revokes = Revokes(limit=5, expires=10.0)
        self.model: list[tuple[str, float]] = []
        self.now = 1000.0

    def remember(self, task_id: str) -> None:
        self.model = [entry for entry in self.alive() if entry[0] != task_id] + [(task_id, self.now)]
        self.model = self.alive()

    def alive(self) -> list[tuple[str, float]]:
        kept = self.model[-5:]
        while len(kept) > 2 and self.now - kept[0][1] >= 10.0:
            kept = kept[1:]
        self.model = kept
        return kept

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(ids=st.lists(IDS, max_size=7))
    def revoke(self, ids: list[str]) -> None:
        self.revokes.revoke(ids, self.now)
        for task_id in ids:
            self.remember(task_id)

    @rule(ids=st.lists(IDS, max_size=7), as_object=st.booleans())
    def merge(self, ids: list[str], as_object: bool) -> None:
        self.revokes.merge(dict.fromkeys(ids, 3.0) if as_object else ids, self.now)
        for task_id in dict.fromkeys(ids) if as_object else ids:
            if task_id not in dict(self.alive()):
                self.remember(task_id)

    @rule(task_id=IDS)
    def forgive(self, task_id: str) -> None:
        self.revokes.forgive(task_id)
        self.model = [entry for entry in self.model if entry[0] != task_id]

    @rule()
    def restart(self) -> None:
        kept = json.loads(json.dumps(self.revokes.dump(self.now)))
        self.revokes = Revokes(limit=5, expires=10.0)
        self.revokes.load(kept, self.now)

    @invariant()
    def agrees(self) -> None:
        alive = [task_id for task_id, _ in self.alive()]
        assert list(self.revokes.ids(self.now)) == alive
        assert [
            task_id for task_id in (f"id{i}" for i in range(9)) if self.revokes.revoked(task_id, self.now)
        ] == sorted(alive)


TestRevokes = RevokesMachine.TestCase


@pytest.mark.parametrize(
    ("revoked", "carried", "found"),
    [
        ({"x": "a"}, {"x": "a"}, ("x", "a")),
        ({"x": "a"}, {"x": ["b", "a"]}, ("x", "a")),
        ({"x": ["a", "b"]}, {"x": "b"}, ("x", "b")),
        ({"x": 1}, {"x": 1.0}, ("x", 1.0)),
        ({"x": True}, {"x": 1}, ("x", 1)),
        ({"x": 1}, {"x": "1"}, None),
        ({"x": "a"}, {"y": "a"}, None),
        ({"x": None}, {"x": None}, ("x", None)),
        ({"x": {"k": [1]}}, {"x": {"k": [1]}}, ("x", {"k": [1]})),
        ({}, {"x": "a"}, None),
    ],
)
def test_stamps(revoked: dict[str, Any], carried: dict[str, Any], found: Any) -> None:
    revokes = Revokes()
    revokes.revoke_stamps(revoked, 0.0)
    assert revokes.revoking_stamp(carried, 1.0) == found
    kept = Revokes()
    kept.load(json.loads(json.dumps(revokes.dump(1.0))), 2.0)
    assert kept.revoking_stamp(carried, 2.0) == found


def test_what_is_past_its_time_makes_room_first() -> None:
    revokes = Revokes(limit=4, expires=5.0)
    revokes.revoke_stamps({"x": ["a", "b", "c"]}, 0.0)
    assert revokes.revoking_stamp({"x": "a"}, 4.9) == ("x", "a")
    assert revokes.revoking_stamp({"x": "a"}, 5.0) is None
    assert revokes.revoking_stamp({"x": "b"}, 1e9) == ("x", "b"), "half of the room is for what is old"


def test_a_stamp_too_deep_to_compare_revokes_nothing() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    revokes = Revokes()
    revokes.revoke_stamps({"x": [deep]}, 0.0)
    revokes.revoke_stamps({"x": "a"}, 0.0)
    assert revokes.revoking_stamp({"x": [deep, "a"]}, 0.0) == ("x", "a")
    while deep:  # taken apart by hand: not every Python frees so deep a value without recursion
        deep = deep.pop()


def test_a_flood_from_a_peer_is_bounded() -> None:
    revokes = Revokes(limit=100)
    revokes.merge([f"id{i}" for i in range(10_000)], 0.0)
    assert revokes.ids(0.0) == tuple(f"id{i}" for i in range(9900, 10_000))


def test_room_for_none_holds_none() -> None:
    revokes = Revokes(limit=0)
    revokes.revoke(["a"], 0.0)
    assert not revokes.revoked("a", 0.0)


def test_entries_of_another_form_are_passed_over() -> None:
    revokes = Revokes()
    odd = [["a"], "b", 5, ["c", "late"], ["d", float("nan")], [7, 1.0], ["e", 1.0], None]
    revokes.load({"ids": odd, "stamps": [["x", "'a'"], ["x", "'a'", 1.0]]}, 2.0)
    assert revokes.ids(2.0) == ("e",)
    assert revokes.revoking_stamp({"x": "a"}, 2.0) == ("x", "a")


def test_a_state_of_another_form_is_empty() -> None:
    revokes = Revokes()
    revokes.load({"ids": 5, "stamps": None}, 2.0)
    revokes.load({"ids": [["a", -(10**400)], ["b", 10**400], ["c", float("-inf")], ["d", 1]]}, 2.0)
    assert revokes.ids(2.0) == ("d",)


def test_a_stamp_too_long_to_compare_revokes_nothing() -> None:
    revokes = Revokes()
    revokes.revoke_stamps({"x": [1 << 20_000, "a"]}, 0.0)
    assert revokes.revoking_stamp({"x": [1 << 20_000, "a"]}, 0.0) == ("x", "a")


def test_making_room_costs_the_same_however_much_is_held() -> None:
    revokes = Revokes(limit=50_000)
    start = time.process_time()
    revokes.revoke(map(str, range(400_000)), 0.0)
    assert time.process_time() - start < 5, "a plain dict takes half a minute to find what is oldest"


def test_an_entry_from_the_future_counts_from_now() -> None:
    revokes = Revokes(expires=10.0)
    revokes.load({"ids": [["a", 1e12]]}, 100.0)
    assert revokes.dump(100.0)["ids"] == [["a", 100.0]]


def test_stamps_are_shown_and_forgiven() -> None:
    revokes = Revokes()
    revokes.revoke_stamps({"who": ["a", 1], "where": "here"}, 1.0)
    assert revokes.stamps(1.0) == {"who": ["'a'", "1"], "where": ["'here'"]}
    revokes.forgive_stamps(["who"])
    assert revokes.stamps(1.0) == {"where": ["'here'"]}
    assert revokes.revoking_stamp({"who": "a"}, 1.0) is None
    assert revokes.revoking_stamp({"where": "here"}, 1.0) == ("where", "here")
    revokes.forgive_stamps()
    assert revokes.stamps(1.0) == {}

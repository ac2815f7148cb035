"""Counting chords: the size of a header, and a machine that nothing makes count twice or fire twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from celeriac.protocol.rules.canvas import chord, group, raw_chain
from celeriac.protocol.rules.chord import (
    Chord,
    Count,
    Part,
    culprit,
    dependency_error,
    header_results,
    leaves,
    part_key,
)
from celeriac.protocol.rules.signature import Signature, signature

TASK = signature("a")


@pytest.mark.parametrize(
    ("sig", "size"),
    [
        (TASK, 1),
        (group(TASK, TASK), 2),
        (group([]), 0),
        (raw_chain([TASK, TASK]), 1),
        (raw_chain([TASK, group(TASK, TASK)]), 2),
        (raw_chain([TASK, group([])]), 1),
        (raw_chain([]), 0),
        (chord([TASK, TASK], TASK), 1),
        (chord([TASK], group(TASK, raw_chain([TASK]))), 2),
    ],
)
def test_leaves(sig: Signature, size: int) -> None:
    assert leaves(sig) == size


def test_leaves_of_deep_chains_take_no_time() -> None:
    sig = TASK
    for _ in range(60):
        sig = raw_chain([sig])
    assert leaves(sig) == 1


def part(task_id: str, index: int | None = 0, state: str = "SUCCESS", result: Any = 1) -> Part:
    return Part(task_id, state, result, index)


def test_the_form_of_a_part() -> None:
    assert part("x").member() == [1, "x", "SUCCESS", 1]
    assert (part_key("x", 3), part_key("x", None)) == ("x:3", "x:+inf")


def test_a_chord_from_start_to_end() -> None:
    chord_ = Chord()
    assert chord_.report(part("b", 1, result=20), "t1") == Count(1, None, 0, claimed=False)
    chord_.expect(2)
    chord_.extend()
    assert chord_.report(part("b", 1, result=20), "t1") == Count(1, 2, 1, claimed=False)
    assert chord_.report(part("c", None, result=30), "t1") == Count(2, 2, 1, claimed=False)
    assert chord_.report(part("a", 0, result=10), "t1") == Count(3, 2, 1, claimed=True)
    assert chord_.report(part("a", 0), "t2") == Count(3, 2, 1, claimed=False)
    assert header_results(chord_.results()) == [10, 20, 30]
    assert not chord_.extend_claim("t2")
    assert not chord_.finish("t2")
    assert chord_.extend_claim("t1")
    assert chord_.finish("t1")
    assert chord_.report(part("a", 0), "t3") is None
    chord_.expect(1)
    assert chord_.report(part("a", 0), "t3") == Count(1, 1, 0, claimed=True)


def test_results_by_arrival() -> None:
    chord_ = Chord(ordered=False)
    for name, index in (("b", 1), ("a", 0)):
        chord_.report(part(name, index, result=name), "t")
    assert header_results(chord_.results()) == ["b", "a"]


def test_a_lapsed_claim_can_be_taken_again() -> None:
    chord_ = Chord()
    chord_.expect(1)
    chord_.report(part("a"), "t1")
    chord_.lapse()
    assert chord_.extend_claim("t1")
    chord_.lapse()
    count = chord_.report(part("a"), "t2")
    assert count is not None
    assert count.claimed
    assert not chord_.extend_claim("t1")


def test_a_failed_chord_cannot_complete_again() -> None:
    chord_ = Chord()
    chord_.expect(1)
    failed = part("a", state="FAILURE", result="boom")
    assert chord_.report(failed, "t1")
    assert culprit(chord_.results()) is failed
    assert culprit([part("b")]) is None
    assert dependency_error(failed, "ValueError('boom')") == "Dependency a raised ValueError('boom')"
    chord_.fail()
    chord_.lapse()
    assert chord_.report(failed, "t2") == Count(1, None, 0, claimed=False)
    assert not chord_.extend_claim("t2")


class Counting(RuleBasedStateMachine):
    """Parts come in any order, any number of times, from workers that die between claiming and sending."""

    def __init__(self) -> None:
        super().__init__()
        self.chord = Chord()
        self.reported: set[tuple[str, int]] = set()
        self.extended = 0
        self.holder: str | None = None
        self.tokens = 0
        self.bodies = 0

    @rule()
    @precondition(lambda self: self.chord.size is None and not self.bodies)
    def the_producer_finishes(self) -> None:
        self.chord.expect(4)

    @rule(more=st.integers(1, 2))
    @precondition(lambda self: self.extended < 3 and not self.bodies)
    def a_task_adds_to_the_chord(self, more: int) -> None:
        self.chord.extend(more)
        self.extended += more

    @rule(name=st.sampled_from("abcd"), index=st.integers(0, 2))
    def a_part_returns(self, name: str, index: int) -> None:
        self.tokens += 1
        count = self.chord.report(part(name, index), str(self.tokens))
        if self.bodies:
            assert count is None
            return
        assert count is not None
        self.reported.add((name, index))
        assert count.ready == len(self.reported)
        complete = self.chord.size is not None and count.ready == self.chord.size + self.extended
        assert count.claimed == (complete and self.holder is None)
        if count.claimed:
            self.holder = str(self.tokens)

    @rule()
    @precondition(lambda self: self.holder is not None)
    def the_claimer_dies(self) -> None:
        self.chord.lapse()
        self.holder = None

    @rule()
    @precondition(lambda self: self.holder is not None)
    def the_claimer_sends_the_body(self) -> None:
        assert self.holder is not None
        assert self.chord.extend_claim(self.holder)
        assert self.chord.finish(self.holder)
        self.bodies += 1
        self.holder = None

    @invariant()
    def the_body_goes_out_once(self) -> None:
        assert self.bodies <= 1


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=60, deadline=None)

"""Counting chords: the size of a header, and a machine that nothing makes count twice or fire twice."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from celeriac.protocol.rules.canvas import chord, group, raw_chain
from celeriac.protocol.rules.chord import Chord, leaves
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


CLAIM = 10.0
"""Seconds that whoever completes a chord has for its body."""


def test_a_chord_from_start_to_end() -> None:
    chord_ = Chord()
    assert not chord_.report(("b", 1), 20, "t1", 0, CLAIM)
    chord_.expect(2)
    chord_.extend()
    assert not chord_.report(("b", 1), 21, "t1", 0, CLAIM)
    assert not chord_.report(("c", None), 30, "t1", 0, CLAIM)
    assert not chord_.taken(0)
    assert chord_.report(("a", 0), 10, "t1", 0, CLAIM)
    assert chord_.taken(9)
    assert not chord_.taken(10)
    assert not chord_.report(("a", 0), 10, "t2", 9, CLAIM)
    assert chord_.report(("a", 0), 10, "t1", 9, CLAIM), "the same claim"
    assert chord_.in_order(by_place=True) == [10, 20, 30]
    assert not chord_.hold("t2", 30)
    chord_.end("t2", keep=False)
    assert chord_.hold("t1", 30)
    assert not chord_.report(("a", 0), 10, "t2", 29, CLAIM), "it was held for longer"
    chord_.end("t1", keep=False)
    assert not chord_.report(("a", 0), 10, "t3", 99, CLAIM)
    assert not chord_.hold("t1", 99)
    assert not chord_.taken(99)
    chord_.expect(1)
    assert chord_.report(("a", 0), 11, "t3", 99, CLAIM)
    assert chord_.in_order(by_place=True) == [11]


def test_members_by_arrival() -> None:
    chord_ = Chord()
    for name, index in (("b", 1), ("a", 0)):
        chord_.report((name, index), name, "t", 0, CLAIM)
    assert chord_.in_order(by_place=False) == ["b", "a"]


def test_the_message_says_the_size_where_nobody_told_the_store() -> None:
    chord_ = Chord()
    assert not chord_.report(("a", 0), 1, "t1", 0, CLAIM, 2)
    assert not chord_.report(("a", 0), 1, "t1", 0, CLAIM, 1), "what was said first counts"
    assert chord_.report(("b", 1), 2, "t1", 0, CLAIM, 2)


def test_a_claim_that_lapsed_is_its_holders_until_another_takes_it() -> None:
    chord_ = Chord(size=1)
    assert chord_.report(("a", 0), 1, "t1", 0, CLAIM)
    assert chord_.hold("t1", 20)
    assert chord_.report(("a", 0), 1, "t2", 20, CLAIM)
    assert not chord_.hold("t1", 40)


def test_a_chord_that_failed_cannot_complete_again_and_keeps_its_members() -> None:
    chord_ = Chord(size=1)
    assert chord_.report(("a", 0), "boom", "t1", 0, CLAIM)
    chord_.end("t1", keep=True)
    assert chord_.in_order(by_place=True) == ["boom"]
    assert not chord_.report(("a", 0), "boom", "t2", 99, CLAIM)


class Counting(RuleBasedStateMachine):
    """Members come in any order, any number of times, from workers that die between claiming and sending."""

    def __init__(self) -> None:
        super().__init__()
        self.chord = Chord()
        self.reported: set[tuple[str, int]] = set()
        self.extended = 0
        self.holder: str | None = None
        self.tokens = 0
        self.now = 0.0
        self.bodies = 0

    @rule()
    @precondition(lambda self: self.chord.size is None and not self.bodies)
    def the_producer_finishes(self) -> None:
        self.chord.expect(4)

    @rule(more=st.integers(1, 2))
    @precondition(lambda self: self.extended < 3 and not self.bodies and self.holder is None)
    def a_task_adds_to_the_chord(self, more: int) -> None:
        self.chord.extend(more)
        self.extended += more

    @rule(name=st.sampled_from("abcd"), index=st.integers(0, 2))
    def a_member_returns(self, name: str, index: int) -> None:
        self.tokens += 1
        claimed = self.chord.report((name, index), name, str(self.tokens), self.now, CLAIM)
        if self.bodies:
            assert not claimed
            return
        self.reported.add((name, index))
        complete = self.chord.size is not None and len(self.reported) == self.chord.size + self.extended
        assert claimed == (complete and self.holder is None)
        if claimed:
            self.holder = str(self.tokens)

    @rule()
    @precondition(lambda self: self.holder is not None)
    def the_claimer_dies(self) -> None:
        self.now += CLAIM
        self.holder = None

    @rule()
    @precondition(lambda self: self.holder is not None)
    def the_claimer_sends_the_body(self) -> None:
        assert self.holder is not None
        assert self.chord.hold(self.holder, self.now + CLAIM)
        self.chord.end(self.holder, keep=False)
        self.bodies += 1
        self.holder = None

    @invariant()
    def the_body_goes_out_once(self) -> None:
        assert self.bodies <= 1


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=60, deadline=None)

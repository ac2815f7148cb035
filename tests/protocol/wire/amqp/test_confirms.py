"""Confirms: every publish is settled once, by its number, in whatever order the broker answers."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire.amqp.confirms import Confirms
from celeriac.protocol.wire.amqp.inbox import Confirmed


def answer(tag: int, *, multiple: bool = False, accepted: bool = True) -> Confirmed:
    return Confirmed(1, tag, multiple, accepted)


class Window(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.confirms = Confirms()
        self.sent = 0
        self.open: set[int] = set()

    @rule()
    def publish(self) -> None:
        self.sent += 1
        self.open.add(self.sent)
        assert self.confirms.published() == self.sent

    @rule(count=st.integers(0, 5))
    def publish_several(self, count: int) -> None:
        self.open.update(range(self.sent + 1, self.sent + count + 1))
        self.sent += count
        assert self.confirms.published(count) == self.sent

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), accepted=st.booleans())
    def one(self, data: st.DataObject, accepted: bool) -> None:
        tag = data.draw(st.integers(1, self.sent))
        expected = [tag] if tag in self.open else []
        assert list(self.confirms.settle(answer(tag, accepted=accepted))) == expected
        self.open.discard(tag)

    @rule(data=st.data(), accepted=st.booleans())
    def all_up_to(self, data: st.DataObject, accepted: bool) -> None:
        tag = data.draw(st.integers(0, self.sent))
        covered = {number for number in self.open if number <= (tag or self.sent)}
        settled = self.confirms.settle(answer(tag, multiple=True, accepted=accepted))
        assert list(settled) == sorted(covered)
        self.open -= covered

    @precondition(lambda self: not self.open)
    @rule()
    def publish_one_that_is_answered(self) -> None:
        self.sent = self.confirms.published()
        self.confirms.first += 1

    @rule(beyond=st.integers(1, 1 << 63), multiple=st.booleans())
    def never_published(self, beyond: int, multiple: bool) -> None:
        with pytest.raises(BadMessage, match="were published"):
            self.confirms.settle(answer(self.sent + beyond, multiple=multiple))

    @invariant()
    def what_waits_is_known(self) -> None:
        if hasattr(self, "confirms"):
            assert self.confirms.waiting == tuple(sorted(self.open))
            assert len(self.confirms) == len(self.open)


Window.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestWindow = Window.TestCase


def test_number_zero_alone_is_nobodys() -> None:
    confirms = Confirms()
    confirms.published()
    with pytest.raises(BadMessage, match="for number 0, 1 were published"):
        confirms.settle(answer(0))
    assert confirms.waiting == (1,)


def test_the_window_knows_its_size_and_its_last_number() -> None:
    window = Confirms()
    assert (len(window), window.sent) == (0, 0)
    window.published()
    window.published()
    window.settle(Confirmed(1, 1, multiple=False, accepted=True))
    assert (len(window), window.sent) == (1, 2)


def test_answers_that_overtake_others_count_once() -> None:
    window = Confirms()
    assert window.published(6) == 6
    assert [list(window.settle(answer(tag))) for tag in (3, 5, 3)] == [[3], [5], []]
    assert list(window.settle(answer(4, multiple=True))) == [1, 2, 4]
    assert window.waiting == (6,)
    assert list(window.settle(answer(0, multiple=True))) == [6]
    assert (len(window), window.first) == (0, 7)

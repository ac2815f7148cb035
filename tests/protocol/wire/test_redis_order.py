"""The order in which a consumer asks its queues."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.redis_order import ConsumeOrder


def test_each_strategy() -> None:
    queues = ("b", "c", "a")
    turn = ConsumeOrder(queues)
    assert turn.asked == queues
    assert turn.served("b").asked == ("c", "a", "b")
    assert turn.served("b").served("a").asked == ("c", "b", "a")
    assert turn.served("nobody") is turn
    assert ConsumeOrder(queues, "sorted").served("a").asked == ("a", "b", "c")
    assert ConsumeOrder(queues, "priority").served("b").asked == queues


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(BadCall, match="round_robin, sorted, priority, not 'random'"):
        ConsumeOrder((), "random")


class Fairness(RuleBasedStateMachine):
    """Round robin: whoever was served longest ago is asked first."""

    @initialize(count=st.integers(1, 6))
    def start(self, count: int) -> None:
        self.order = ConsumeOrder(tuple(f"q{i}" for i in range(count)))
        self.last = {queue: -count + i for i, queue in enumerate(self.order.queues)}
        self.turn = 0

    @rule(data=st.data())
    def serve(self, data: st.DataObject) -> None:
        queue = data.draw(st.sampled_from(self.order.queues))
        self.turn += 1
        self.last[queue] = self.turn
        self.order = self.order.served(queue)

    @invariant()
    def longest_waiting_first(self) -> None:
        if hasattr(self, "order"):
            assert list(self.order.asked) == sorted(self.last, key=self.last.__getitem__)


TestFairness = Fairness.TestCase

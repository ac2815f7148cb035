"""The logical clock against its definition, and against clocks that no node could have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.rules.clock import HIGHEST, Clock


@given(st.lists(st.one_of(st.none(), st.integers(0, 2**40))))
def test_it_only_grows_and_is_later_than_what_it_has_seen(steps: list[int | None]) -> None:
    clock = Clock()
    for step in steps:
        before = clock.value
        after = clock.forward() if step is None else clock.adjust(step)
        assert after == clock.value == max(before, step or 0) + 1


@pytest.mark.parametrize("other", [-1, HIGHEST, 10**4000, True, 1.0, "7", None, [], float("nan")])
def test_a_clock_that_cannot_be_is_refused_and_moves_nothing(other: object) -> None:
    clock = Clock(5)
    with pytest.raises(BadMessage, match=r"clock: expected an integer"):
        clock.adjust(other)
    assert clock.value == 5


def test_it_stays_within_what_peers_can_read() -> None:
    clock = Clock()
    assert clock.adjust(HIGHEST - 1) == HIGHEST
    assert clock.forward() == HIGHEST

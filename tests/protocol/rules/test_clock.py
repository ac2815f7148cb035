"""The logical clock against its definition, and against clocks that no node could have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.rules.clock import HIGHEST, adjusted, forwarded


@given(st.lists(st.one_of(st.none(), st.integers(-5, 2**40))))
def test_it_only_grows_and_is_later_than_what_it_has_seen(steps: list[int | None]) -> None:
    value = 0
    for step in steps:
        before = value
        value = forwarded(value) if step is None else adjusted(value, step)
        assert value == max(before, step or 0) + 1


def test_it_stays_within_what_peers_can_read() -> None:
    for other in (HIGHEST - 1, HIGHEST, 10**4000):
        assert adjusted(5, other) == HIGHEST
    assert forwarded(HIGHEST) == adjusted(HIGHEST, 7) == HIGHEST

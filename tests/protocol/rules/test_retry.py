"""Retries: the arithmetic of Celery's countdowns, when a task is exhausted, and the waits between tries."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.rules.retry import Again, Exhausted, backoff, retry, wait_before

ETA = datetime(2026, 1, 1, tzinfo=timezone.utc)


@given(st.integers(1, 1000), st.integers(0, 200), st.integers(-5, 10**6), st.none() | st.floats(0, 1, exclude_max=True))
def test_backoff_is_the_doubled_factor_up_to_the_maximum(factor, retries, maximum, chance) -> None:
    countdown = max(0, min(maximum, factor * 2**retries))
    assert backoff(factor, retries, maximum, chance) == (countdown if chance is None else int(chance * (countdown + 1)))


def test_chance_reaches_both_ends_and_no_further() -> None:
    assert backoff(1, 3, 600, 0.0) == 0
    assert backoff(1, 3, 600, 1 - 2**-53) == 8
    assert {backoff(1, 1, 600, tenth / 10) for tenth in range(10)} == {0, 1, 2}


def test_backoff_after_a_billion_retries_is_the_maximum_at_once() -> None:
    assert backoff(1, 10**9, 600) == 600
    assert backoff(0, 10**9, 600) == 0
    assert backoff(7, 10**9, -5, 0.5) == 0


def test_retry_waits_the_default_delay_and_ends_after_the_third() -> None:
    assert [retry(retries) for retries in range(4)] == [
        Again(180, 1),
        Again(180, 2),
        Again(180, 3),
        Exhausted(4, 3),
    ]


def test_retry_takes_what_the_call_says() -> None:
    assert retry(0, 1, 5, countdown=0) == Again(0, 1)
    assert retry(0, 1, 5, eta=ETA) == Again(None, 1, ETA)
    assert retry(0, 1, 5, eta=ETA, countdown=9) == Again(9, 1, ETA)
    assert retry(1, 1, 5, max_retries=2) == Again(5, 2)
    assert retry(0, 1, 5, max_retries=0) == Exhausted(1, 0)


def test_without_a_limit_there_is_always_another() -> None:
    assert retry(10**6, None) == Again(180, 10**6 + 1)


def waits(count: int, *policy: float) -> list[float]:
    return [wait_before(tries, *policy) for tries in range(count)]


def test_waits_between_tries() -> None:
    assert waits(8) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    assert waits(5, 0, 0.3, 1) == pytest.approx([0, 0.3, 0.6, 0.9, 0.9])
    assert waits(3, 2, 1, 1) == [1, 1, 1]
    assert waits(3, 0.5, 0, 1) == waits(3, 0.5, -1, 1) == [0.5, 0.5, 0.5]
    assert wait_before(10**12, 0, 0.5, 2) == 2
    assert wait_before(10**12, 0, 0, 2) == 0

"""Retries: the arithmetic of Celery's countdowns, when a task is exhausted, and the waits of publishing."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.retry import Again, Exhausted, RetryPolicy, autoretry, backoff, publish_waits, retry

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


@pytest.mark.parametrize(
    ("wanted", "factor"),
    [
        (False, 0),
        (True, 1),
        (None, None),
        (0, 0),
        (0.5, 1),
        (2, 2),
        (2.9, 2),
        (-3, 1),
        ("4", 4),
        ("x", None),
        (float("inf"), None),
        ([], None),
    ],
)
def test_factor(wanted, factor) -> None:
    policy = RetryPolicy(retry_backoff=wanted)
    if factor is not None:
        assert policy.factor == factor
        return
    with pytest.raises(BadCall, match="retry_backoff: expected a number or a bool, got"):
        _ = policy.factor


def test_ceiling() -> None:
    assert RetryPolicy(retry_backoff_max=7.9).ceiling == 7  # type: ignore[arg-type] # Celery rounds it down
    with pytest.raises(BadCall, match="retry_backoff_max: expected a number, got 'x'"):
        _ = RetryPolicy(retry_backoff_max="x").ceiling  # type: ignore[arg-type] # the mistake that is tested


def test_retry_waits_the_default_delay_and_ends_after_the_third() -> None:
    policy = RetryPolicy()
    assert [retry(policy, retries) for retries in range(4)] == [
        Again(180, 1),
        Again(180, 2),
        Again(180, 3),
        Exhausted(4, 3),
    ]


def test_retry_takes_what_the_call_says() -> None:
    policy = RetryPolicy(max_retries=1, default_retry_delay=5)
    assert retry(policy, 0, countdown=0) == Again(0, 1)
    assert retry(policy, 0, eta=ETA) == Again(None, 1, ETA)
    assert retry(policy, 0, eta=ETA, countdown=9) == Again(9, 1, ETA)
    assert retry(policy, 1, max_retries=2) == Again(5, 2)
    assert retry(policy, 0, max_retries=0) == Exhausted(1, 0)


def test_without_a_limit_there_is_always_another() -> None:
    assert retry(RetryPolicy(max_retries=None), 10**6) == Again(180, 10**6 + 1)


def test_autoretry_without_backoff_takes_retry_kwargs() -> None:
    policy = RetryPolicy(retry_kwargs={"countdown": 7, "max_retries": 5})
    assert autoretry(policy, 4, 0.5) == Again(7, 5)
    assert autoretry(policy, 5, 0.5) == Exhausted(6, 5)
    assert autoretry(policy, 5, 0.5, max_retries=9) == Again(7, 6)
    assert autoretry(RetryPolicy(retry_kwargs={"eta": ETA}), 0, 0.5) == Again(None, 1, ETA)
    assert autoretry(RetryPolicy(), 0, 0.5) == Again(180, 1)


def test_autoretry_with_backoff_replaces_the_countdown() -> None:
    policy = RetryPolicy(retry_backoff=3, retry_backoff_max=10, retry_kwargs={"countdown": 7, "max_retries": None})
    assert autoretry(policy, 0, 0.999) == Again(3, 1)
    assert autoretry(policy, 2, 0.5) == Again(5, 3)
    assert autoretry(policy, 3, 0.5) == Exhausted(4, 3)
    plain = RetryPolicy(retry_backoff=True, retry_jitter=False)
    assert [autoretry(plain, retries, 0.5) for retries in range(3)] == [Again(1, 1), Again(2, 2), Again(4, 3)]


def test_publishing_waits() -> None:
    assert list(publish_waits()) == pytest.approx([0, 0.2, 0.4])
    assert list(islice(publish_waits(None), 8)) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    assert list(publish_waits(0)) == []
    assert list(publish_waits(5, 0, 0.3, 1)) == pytest.approx([0, 0.3, 0.6, 0.9, 0.9])
    assert list(publish_waits(3, 2, 1, 1)) == [1, 1, 1]

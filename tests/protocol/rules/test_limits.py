"""Rates as Celery writes them, and the bucket against a model and against kombu's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import limits as kombu_limits

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.limits import TokenBucket, read_rate


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (None, 0),
        (False, 0),
        ("", 0),
        (0, 0),
        ("0", 0),
        ("0/m", 0),
        (5, 5),
        (0.5, 0.5),
        ("5", 5),
        ("10/s", 10),
        ("120/m", 2),
        ("1.5/h", 1.5 / 3600),
        (" 7 /s", 7),
    ],
)
def test_rates(limit: object, rate: float) -> None:
    assert read_rate(limit) == rate


@pytest.mark.parametrize("limit", ["x", "10/d", "1/2/3", "/s", -1, "-1/s", "nan", "inf/s", True, [], 10**400, "10/S"])
def test_a_rate_that_cannot_be_is_named(limit: object) -> None:
    with pytest.raises(BadCall, match="rate limit: expected a number or a text"):
        read_rate(limit)


def test_a_trailing_slash_means_seconds() -> None:
    assert read_rate("10/") == 10


TIMES = st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=40)


@given(st.floats(0.01, 100), st.integers(1, 5), TIMES)
def test_it_is_kombus_bucket(rate: float, capacity: int, steps: list[tuple[float, bool]]) -> None:
    now = 100.0
    patch: Any = pytest.MonkeyPatch()
    try:
        patch.setattr(kombu_limits, "monotonic", lambda: now)
        theirs = kombu_limits.TokenBucket(rate, capacity)
        ours = TokenBucket(rate, now, capacity)
        for pause, take in steps:
            now += pause
            if take:
                assert ours.take(now) is theirs.can_consume()
            else:
                assert ours.wait(now) == pytest.approx(theirs.expected_time())
    finally:
        patch.undo()


@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_no_more_than_the_rate_allows(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
    assert taken <= 1 + rate * now + 1e-6


def test_after_the_wait_there_is_a_token() -> None:
    bucket = TokenBucket(2.0, 0.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.0)
    assert bucket.wait(0.0) == 0.5
    assert bucket.take(0.5)


def test_more_than_ever_fit_is_an_endless_wait() -> None:
    assert TokenBucket(1.0, 0.0).wait(0.0, 2) == math.inf


def test_a_clock_that_goes_back_fills_nothing() -> None:
    bucket = TokenBucket(1.0, 100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert bucket.wait(100.0) == 1.0


@pytest.mark.parametrize(("rate", "capacity"), [(0, 1), (-1, 1), (math.nan, 1), (1, 0.5)])
def test_a_bucket_that_cannot_be(rate: float, capacity: float) -> None:
    with pytest.raises(BadCall, match="token bucket"):
        TokenBucket(rate, 0.0, capacity)

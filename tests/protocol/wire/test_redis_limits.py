"""Common rate limits: what Redis is asked, and what it answers."""

from __future__ import annotations

import time

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import redis_limits
from celeriac.protocol.wire.redis import Layout
from tests.servers import RedisServer

LAYOUT = Layout(global_keyprefix="p:")


def test_the_question() -> None:
    assert redis_limits.arguments(LAYOUT, "a.b", 0.5, 3, 0.25) == (1, "p:celeriac.limit.a.b", 2.0, 3, 0.25, 63)


def test_the_answer() -> None:
    assert redis_limits.parse([2, b"0.250000"]) == (2, 0.25)


@pytest.mark.parametrize(
    "reply", [None, [1], [1, 2, 3], [b"x", b"1"], [-1, b"1"], [1, b"-1"], [1, b"inf"], [1, b"nan"]]
)
def test_what_is_no_answer_is_refused(reply: object) -> None:
    with pytest.raises(BadMessage, match="rate limit"):
        redis_limits.parse(reply)


class Bucket:
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        server.call("FLUSHALL")
        server.call(*redis_limits.GRANT.load())

    def ask(self, rate: float, wanted: int = 1, ahead: float = 0.25) -> tuple[int, float]:
        arguments = redis_limits.arguments(LAYOUT, "t", rate, wanted, ahead)
        return redis_limits.parse(self.server.call("EVALSHA", redis_limits.GRANT.sha, *arguments))


@pytest.fixture
def bucket(redis_server: RedisServer) -> Bucket:
    return Bucket(redis_server)


@pytest.mark.real
def test_a_token_is_given_once(bucket: Bucket) -> None:
    assert bucket.ask(0.01) == (1, 0.0)
    count, wait = bucket.ask(0.01)
    assert count == 0
    assert 90 < wait <= 100
    assert bucket.ask(0.01, ahead=200)[0] == 1
    assert bucket.ask(0.01, ahead=200)[1] > 190
    assert 100 < bucket.server.call("TTL", "p:celeriac.limit.t") <= 360


@pytest.mark.real
def test_many_are_given_as_far_as_one_looks_ahead(bucket: Bucket) -> None:
    assert bucket.ask(100, 3) == (3, 0.0)
    count, wait = bucket.ask(100, 1000)
    assert 0 <= wait <= 0.03
    assert 22 <= count <= 26
    assert bucket.ask(100, 1000)[0] < 25


@pytest.mark.real
def test_a_new_rate_counts_at_once(bucket: Bucket) -> None:
    assert bucket.ask(1 / 3600) == (1, 0.0)
    assert bucket.ask(1 / 3600)[0] == 0
    count, wait = bucket.ask(10)
    assert count == 1
    assert wait <= 0.1


@pytest.mark.real
@pytest.mark.parametrize("there", ["no number", str(time.time() + 1e6)], ids=["no number", "far ahead"])
def test_what_cannot_be_there_stops_nobody_for_long(bucket: Bucket, there: str) -> None:
    """A clock that was set back, or somebody's hand."""
    bucket.server.call("SET", "p:celeriac.limit.t", there)
    assert bucket.ask(1)[1] <= 1.25

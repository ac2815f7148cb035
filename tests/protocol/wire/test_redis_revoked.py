"""Revokes beside the queues, as commands and as what comes back."""

from __future__ import annotations

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.rules.revokes import Revokes
from celeriac.protocol.wire import redis_revoked
from celeriac.protocol.wire.redis import Layout

LAYOUT = Layout(global_keyprefix="p:")


def test_what_is_written_is_bounded_and_expires() -> None:
    revokes = Revokes()
    revokes.revoke(["a", "ü"], 5.5)
    revokes.revoke_stamps({"s": [1]}, 6.0)
    assert redis_revoked.keep(LAYOUT, revokes.dump(6.0), 1_000_000.0) == [
        ("ZADD", "p:celeriac.revoked", 5.5, '["a"]', 5.5, '["\\u00fc"]', 6.0, '["s", "1"]'),
        ("ZREMRANGEBYSCORE", "p:celeriac.revoked", "-inf", 1_000_000.0 - redis_revoked.LASTS),
        ("ZREMRANGEBYRANK", "p:celeriac.revoked", 0, -50_001),
        ("EXPIRE", "p:celeriac.revoked", redis_revoked.LASTS),
    ]
    assert redis_revoked.keep(LAYOUT, {}, 1.0) == []


def test_what_is_read_is_what_was_written() -> None:
    assert redis_revoked.kept(LAYOUT, 700_000.0) == (
        "ZRANGEBYSCORE",
        "p:celeriac.revoked",
        700_000.0 - redis_revoked.LASTS,
        "+inf",
        "WITHSCORES",
    )
    found = redis_revoked.parse([b'["a"]', b"5.5", b'["s", "1"]', b"6"])
    assert found == {"ids": [["a", 5.5]], "stamps": [["s", "1", 6.0]]}
    revokes = Revokes()
    revokes.load(found, 10.0)
    assert revokes.revoked("a", 10.0)
    assert revokes.revoking_stamp({"s": 1}, 10.0) == ("s", 1)


def test_what_others_put_there_is_passed_over() -> None:
    things = [b"a", b'"a"', b"[1]", b"[]", b'["a", "b", "c"]', b"\xff", b"[" * 100_000, None]
    assert redis_revoked.parse([each for thing in things for each in (thing, b"1")]) == {"ids": [], "stamps": []}
    assert redis_revoked.parse([b'["a"]', b"x", b'["b"]', None]) == {"ids": [], "stamps": []}


@pytest.mark.parametrize("reply", [None, b"", [b'["a"]'], 3])
def test_what_is_no_answer_is_refused(reply: object) -> None:
    with pytest.raises(BadMessage, match="revoked tasks"):
        redis_revoked.parse(reply)

"""Who holds what: the roll of owners and their leases, as commands."""

from __future__ import annotations

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import redis_owners
from celeriac.protocol.wire.redis import Layout

LAYOUT = Layout(global_keyprefix="p:")


def test_an_owner_is_alive_as_long_as_its_lease() -> None:
    assert redis_owners.enroll(LAYOUT, "ab", 10, 5.5) == [
        ("SET", "p:celeriac.owner.ab", "", "PX", 10_000),
        ("ZADD", "p:celeriac.owners", 5.5, "ab"),
    ]
    assert redis_owners.dismiss(LAYOUT, "ab") == [("DEL", "p:celeriac.owner.ab"), ("ZREM", "p:celeriac.owners", "ab")]


def test_the_roll_can_be_read_and_counted() -> None:
    assert redis_owners.owners(LAYOUT) == ("ZRANGE", "p:celeriac.owners", 0, -1)
    assert redis_owners.count(LAYOUT) == ("ZCARD", "p:celeriac.owners")


def test_one_peer_at_a_time_looks() -> None:
    assert redis_owners.take_watch(LAYOUT, 1.5) == ("SET", "p:celeriac.watch", "", "NX", "PX", 1500)


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ([b"0", [b"ab:1", b"5.5", b"ab:2", b"6"]], (["ab:1", "ab:2"], None)),
        ([b"17", []], ([], b"17")),
    ],
)
def test_what_an_owner_holds_is_read_part_by_part(reply: object, read: object) -> None:
    assert redis_owners.held_by(LAYOUT, "ab", b"17")[:5] == ("ZSCAN", "p:unacked_index", b"17", "MATCH", "ab:*")
    assert redis_owners.parse_held(reply) == read


@pytest.mark.parametrize("reply", [None, [], [b"0"], [b"0", [b"ab:1"], 3], [0, []], [b"0", [5, b"5.5"]], [b"0", None]])
def test_what_is_no_part_is_refused(reply: object) -> None:
    with pytest.raises(BadMessage, match="held by an owner"):
        redis_owners.parse_held(reply)

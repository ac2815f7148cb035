"""What is held: entries in kombu's form, and the commands that take, keep, acknowledge and put back."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire import redis_held, redis_parked, redis_scripts
from celeriac.protocol.wire.redis import Layout
from celeriac.protocol.wire.redis_bindings import Binding
from celeriac.protocol.wire.redis_held import Entry, Taken
from celeriac.protocol.wire.resp import pack

LAYOUT = Layout(global_keyprefix="p:")
ENVELOPE = b'{"body": "", "headers": {}, "properties": {"priority": 6, "delivery_info": {}}}'
FLAGGED = (
    b'{"body": "", "headers": {"redelivered": true},'
    b' "properties": {"priority": 6, "delivery_info": {"redelivered": true}}}'
)

texts = st.text(max_size=8, alphabet=st.characters(exclude_categories=["Cs"]))
objects = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9) | st.none(), max_size=4)


@given(objects, texts, st.none() | texts)
def test_entries_round_trip_byte_for_byte(value: dict[str, Any], exchange: str, key: str | None) -> None:
    for envelope in (json.dumps(value).encode(), json.dumps(value, indent=1, ensure_ascii=True).encode()):
        data = redis_held.entry(envelope, exchange, key)
        assert json.loads(data) == [value, exchange, key]
        assert redis_held.parse_entry(data) == Entry(envelope, exchange, key)


def test_entries_as_kombu_writes_them() -> None:
    data = json.dumps([{"body": "x"}, "", "celery"]).encode()
    assert redis_held.parse_entry(data) == Entry(b'{"body": "x"}', "", "celery")
    assert redis_held.parse_entry(b'[ {} ,"ex" , "k" ]') == Entry(b"{}", "ex", "k")
    assert redis_held.parse_entry(b"[{}, null, null]") == Entry(b"{}", "", None)
    assert redis_held.parse_entry('[{"a":"é"}, "", "q"]'.encode()).envelope == '{"a":"é"}'.encode()


@given(st.binary(max_size=30))
def test_what_was_no_object_went_in_as_text(raw: bytes) -> None:
    text = json.dumps(raw.decode(errors="surrogateescape"), ensure_ascii=False).encode(errors="surrogateescape")
    assert redis_held.parse_entry(b'[%b, "", "q"]' % text) == Entry(raw, "", "q")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[",
        b"5",
        b"x{}, 1, 2]",
        b'({}, "", "q"]',
        b"[{}]",
        b'[{}, ""]',
        b'[{}, "", "q", 1]',
        b'[{}, 1, "q"]',
        b'[{}, "", []]',
        b'["\\ud800", "", "q"]',
        b"[" * 100_000,
        b"[" + b"9" * 5000 + b', "", "q"]',
    ],
)
def test_what_is_no_entry(data: bytes) -> None:
    with pytest.raises(BadMessage, match="unacked entry"):
        redis_held.parse_entry(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_entry_or_bad_message(data: bytes) -> None:
    for raw in (data, b'[{}, "", ' + data, b"[" + data + b', "", "q"]'):
        with contextlib.suppress(BadMessage):
            redis_held.parse_entry(raw)


def test_tags_tell_whose_hands() -> None:
    assert redis_held.owner_of("w1@host:7f:12") == "w1@host:7f"
    assert redis_held.owner_of("553b8718-b4b4-4393-b729-22231edb2c6d") is None
    assert redis_held.owner_of("a:b") is None
    assert redis_held.owner_of(":5") is None


def test_take_names_its_lists_and_queues() -> None:
    command = redis_held.take(Layout(priority_steps=(0, 5)), ["a", 'b"'], 3, "me", 10, 1.5)
    assert command[:2] == ("EVALSHA", redis_scripts.TAKE.sha)
    assert command[2:9] == (6, "unacked", "unacked_index", "a", 'b"', "a\x06\x165", 'b"\x06\x165')
    assert command[9:] == (1.5, 3, "me:", 10, 1, ', "", "a"]', ', "", "b\\""]')
    assert redis_held.take(Layout(queue_order_strategy="sorted"), ["a"], 3, "me", 10, 1.5)[-2] == 0
    for count in (0, -1, 1001):
        with pytest.raises(BadCall):
            redis_held.take(LAYOUT, ["a"], count, "me", 0, 0)


@given(st.integers(1, 1000), st.integers(0, 10**18), st.floats(0, 1e12))
def test_who_takes_again_and_again_asks_the_same(count: int, serial: int, now: float) -> None:
    for queues in (["a"], ["a", 'b"', "\u00e9"]):
        layout = Layout(global_keyprefix="p:", priority_steps=(0, 5))
        again = redis_held.Taking(layout, queues, "me")
        assert again.command(count, serial, now) == pack(redis_held.take(layout, queues, count, "me", serial, now))
        reply = [b"me:0", len(queues), b"{}"]
        assert again.taken(reply) == redis_held.parse_taken(layout, reply, queues)


@given(st.lists(st.from_regex(r"[0-9a-f]{4}:[0-9]{1,4}", fullmatch=True), min_size=1, max_size=5))
def test_who_acknowledges_again_and_again_says_the_same(tags: list[str]) -> None:
    layout = Layout(global_keyprefix="p:")
    assert redis_held.Acking(layout).command(tags) == pack(*redis_held.ack(layout, *tags))


def test_rows_of_a_take() -> None:
    reply = [b"me:0", 1, b"{}", b"me:1", 2, b"[]"]
    assert redis_held.parse_taken(Layout(), reply, ["a", "b"]) == [
        Taken("me:0", "b", "b", b"{}"),
        Taken("me:1", "a", "a\x06\x163", b"[]"),
    ]
    assert redis_held.parse_taken(Layout(), [], ["a"]) == []


@pytest.mark.parametrize(
    "reply",
    [None, 5, [b"t"], [b"t", 99, b"x"], [b"t", b"0", b"x"], [5, 0, b"x"], [b"\xff", 0, b"x"]],
)
def test_what_take_never_answers(reply: Any) -> None:
    with pytest.raises(BadMessage, match="take"):
        redis_held.parse_taken(Layout(), reply, ["a"])
    with pytest.raises(BadMessage, match="take"):
        redis_held.parse_taken(Layout(), [b"t", 0, b"x"], [])


def test_holding_and_letting_go() -> None:
    assert redis_held.hold(LAYOUT, "t", b"[]", 2.25) == [
        ("MULTI",),
        ("ZADD", "p:unacked_index", 2.25, "t"),
        ("HSET", "p:unacked", "t", b"[]"),
        ("EXEC",),
    ]
    assert redis_held.ack(LAYOUT, "t", "u") == [
        ("MULTI",),
        ("ZREM", "p:unacked_index", "t", "u"),
        ("HDEL", "p:unacked", "t", "u"),
        ("EXEC",),
    ]
    assert redis_held.renew(LAYOUT, ["t", "u"], 3.0) == ("ZADD", "p:unacked_index", "XX", 3.0, "t", 3.0, "u")


def test_putting_back_in_one_step() -> None:
    held = [Taken("t:1", "q", "p:q", ENVELOPE), Taken("t:2", "q", "p:q9", b"ugly"), Taken("t:3", "q", "p:q", b"{}")]
    front = redis_held.put_back(LAYOUT, held, front=True)
    assert front[2:7] == (4, "p:unacked", "p:unacked_index", "p:q", "p:q9")
    assert front[7:] == ("RPUSH", "t:3", 0, b"{}", "t:2", 1, b"ugly", "t:1", 0, FLAGGED)
    back = redis_held.put_back(LAYOUT, held[:2], front=False)
    assert back[7:] == ("LPUSH", "t:1", 0, FLAGGED, "t:2", 1, b"ugly")


def test_putting_back_as_kombu_does() -> None:
    found = Entry(ENVELOPE, "", "q")
    assert redis_held.look(LAYOUT, "t") == [("WATCH", "p:unacked"), ("HGET", "p:unacked", "t")]
    removal = [("ZREM", "p:unacked_index", "t"), ("HDEL", "p:unacked", "t")]
    assert redis_held.restore(LAYOUT, "t", found, ["q", "r"], front=True) == [
        ("MULTI",),
        *removal,
        ("RPUSH", "p:q\x06\x166", FLAGGED),
        ("RPUSH", "p:r\x06\x166", FLAGGED),
        ("EXEC",),
    ]
    assert redis_held.restore(LAYOUT, "t", Entry(b"ugly", "", "q"), ["q"], front=False)[3] == ("LPUSH", "p:q", b"ugly")
    assert redis_held.restore(LAYOUT, "t", None, ["q"], front=True) == [("MULTI",), *removal, ("EXEC",)]


def test_where_a_restore_goes() -> None:
    bindings = [Binding("k", "", "q1"), Binding("k.#", "", "q2")]
    assert redis_held.destinations(Entry(b"", "", "q"), "direct", bindings) == ["q"]
    assert redis_held.destinations(Entry(b"", "ex", "k"), "direct", bindings) == ["q1"]
    assert redis_held.destinations(Entry(b"", "ex", "k.x"), "topic", bindings) == ["q2"]
    assert redis_held.destinations(Entry(b"", "ex", "lost"), "direct", bindings) == ["lost"]
    assert redis_held.destinations(Entry(b"", "", None), "direct", []) == [""]


def test_sweeping() -> None:
    limited = Layout(visibility_timeout=10, unacked_restore_limit=5, unacked_mutex_expire=1.5)
    assert redis_held.overdue(limited, 100) == (
        "ZRANGE", "unacked_index", 90, 0, "BYSCORE", "REV", "LIMIT", 0, 5, "WITHSCORES",
    )  # fmt: skip
    assert redis_held.overdue_before_6_2(limited, 100) == (
        "ZREVRANGEBYSCORE", "unacked_index", 90, 0, "WITHSCORES", "LIMIT", 0, 5,
    )  # fmt: skip
    assert redis_held.overdue(LAYOUT, 3700)[2:] == (100, 0, "BYSCORE", "REV", "WITHSCORES")
    assert redis_held.lock(limited, "me") == ("SET", "unacked_mutex", "me", "NX", "PX", 1500)
    assert redis_held.unlock(limited, "me")[3:] == ("unacked_mutex", "me")
    assert redis_held.everything_held(LAYOUT) == ("ZRANGE", "p:unacked_index", 0, -1)
    assert redis_held.entries(LAYOUT, ["t"]) == ("HMGET", "p:unacked", "t")


def test_reclaiming() -> None:
    raw = redis_held.entry(ENVELOPE, "", "q")
    plain = redis_held.reclaim(LAYOUT, "t", raw, "q", latest=5.5)
    assert plain[2:] == (3, "p:unacked", "p:unacked_index", "p:q\x06\x166", "t", raw, 5.5, FLAGGED)
    dead = redis_held.reclaim(LAYOUT, "t", raw, "q", dead_owner="w")
    assert dead[2:7] == (4, "p:unacked", "p:unacked_index", "p:q\x06\x166", "p:celeriac.owner.w")
    assert dead[9] == float("inf")
    assert redis_held.reclaim(LAYOUT, "t", None, "q")[7] == b""
    assert redis_held.reclaim(LAYOUT, "t", b"ugly", "q")[-1] == b"ugly"


def test_leases() -> None:
    assert redis_held.lease(LAYOUT, "w", 1.5) == ("SET", "p:celeriac.owner.w", "", "PX", 1500)
    assert redis_held.release(LAYOUT, "w") == ("DEL", "p:celeriac.owner.w")
    assert redis_held.leases(LAYOUT, ["a", "b"]) == ("MGET", "p:celeriac.owner.a", "p:celeriac.owner.b")


def test_parking() -> None:
    taken = Taken("t", "q", "p:q", b"{}")
    assert redis_parked.park(LAYOUT, [(taken, 9.5)])[2:] == (
        4,
        "p:unacked",
        "p:unacked_index",
        "p:celeriac.parked",
        "p:celeriac.parked_index",
        "t",
        9.5,
        b"3:p:q{}",
    )
    keys = (2, "p:celeriac.parked", "p:celeriac.parked_index")
    assert redis_parked.pump(LAYOUT, 5.5, 10)[2:] == (*keys, 5.5, 10)
    assert redis_parked.unpark(LAYOUT, ["t", "u"])[2:] == (*keys, "t", "u")
    assert redis_parked.forget(LAYOUT, "t")[1:3] == [
        ("ZREM", "p:celeriac.parked_index", "t"),
        ("HDEL", "p:celeriac.parked", "t"),
    ]
    assert redis_parked.next_due(LAYOUT) == ("ZRANGE", "p:celeriac.parked_index", 0, 0, "WITHSCORES")
    assert redis_parked.tags(LAYOUT, 0, 9) == ("ZRANGE", "p:celeriac.parked_index", 0, 9)

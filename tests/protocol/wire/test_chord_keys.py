"""A chord's keys and scripts; on a real Redis beside the scripts of stock Celery, as the peer has them installed."""

from __future__ import annotations

import json
import random
import subprocess
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import chord_keys, result
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.chord_keys import CLEAN, EXTEND, PART, PARTS, ChordKeys, Count, Member
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.stores import Keys

KEYS = ChordKeys.of(Keys.under("p"), "g")


def test_names():
    assert [KEYS.saved, KEYS.joined, KEYS.size, KEYS.added, KEYS.counted, KEYS.claim] == [
        "p_celery-taskset-meta-g" + part for part in ("", ".j", ".s", ".t", ".d", ".c")
    ]


def test_producer():
    assert chord_keys.start(KEYS, 3, 60) == (("DEL", KEYS.claim), ("SET", KEYS.size, 3, "EX", 60))
    assert chord_keys.start(KEYS, 3, 0)[1] == ("SET", KEYS.size, 3)
    saved = result.build_group(Node("g", None, (Node("a"),)))
    assert chord_keys.save_group(KEYS, saved, 60) == ("SET", KEYS.saved, saved, "EX", 60)
    assert chord_keys.add(KEYS) == ("INCRBY", KEYS.added, 1)


@pytest.mark.parametrize(
    ("body", "size"),
    [
        *(({"chord_size": 2}, 2), ({"chord_size": None}, None), ({"chord_size": 0}, None), ({}, None), (None, None)),
        *(({"chord_size": True}, None), ({"chord_size": "2"}, None), ({"chord_size": 2**40}, None)),
    ],
)
def test_size_in_a_body(body, size):
    assert chord_keys.size_in(body) == size


# --- members

members = st.builds(
    Member, st.text(), st.sampled_from(["SUCCESS", "STARTED"]), st.none() | st.integers() | st.text()
) | st.builds(
    Member, st.text(), st.sampled_from(["FAILURE", "REVOKED", "RETRY"]), st.builds(Failure, st.text(min_size=1))
)


@given(members)
def test_member_round_trip(member):
    assert chord_keys.parse_member(chord_keys.build_member(member)) == member


def test_member_on_the_wire():
    assert chord_keys.build_member(Member("i", "SUCCESS", 3)) == b'[1, "i", "SUCCESS", 3]'
    failed = Member("i", "FAILURE", Failure("V", ("x",)))
    assert failed.failed
    assert not Member("i", "RETRY", None).failed
    assert chord_keys.parse_member(b'[1, "i", "REVOKED", null]') == Member("i", "REVOKED", None)


@pytest.mark.parametrize(
    "data", [b"x", b"5", b"{}", b"[]", b"[1, 2, 3]", b'[1, 2, "SUCCESS", 3]', b'[1, "i", null, 3]']
)
def test_bad_members(data):
    with pytest.raises(BadMessage):
        chord_keys.parse_member(data)


# --- counting


def test_arguments():
    found = chord_keys.part_arguments(
        KEYS, "i", b"m", group_index=2, expires=60, saved_expires=70, claim=6, token="tok"
    )
    names = (KEYS.joined, KEYS.added, KEYS.size, KEYS.counted, KEYS.saved, KEYS.claim)
    assert found == (6, *names, "i", b"m", 1, 2, 60, 70, 6, "tok")
    more = chord_keys.part_arguments(
        KEYS, "i", b"m", group_index=None, expires=0, saved_expires=0, claim=6, token="tok", ordered=False, size=4
    )
    assert more[7:] == ("i", b"m", 0, "+inf", 0, 0, 6, "tok", 4)
    assert chord_keys.extend_arguments(KEYS, "tok", 21) == (2, KEYS.claim, KEYS.size, "tok", 21)
    assert chord_keys.clean_arguments(KEYS, "tok", 300) == (
        *(5, KEYS.claim, KEYS.joined, KEYS.added, KEYS.size, KEYS.counted, "tok", 300),
    )


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        ([2, b"1", b"3", 0, b"zset"], Count(2, 4, False, False, True)),
        ([2, None, b"2", 1, "list"], Count(2, 2, True, False, False)),
        ([2, False, None, 0], Count(2, None, False, False, True)),
        ([-1, 0, 0, 0, b"none"], Count(-1, None, False, True, True)),
    ],
)
def test_counts(reply, count):
    assert chord_keys.parse_count(reply) == count


@pytest.mark.parametrize(
    "reply", [None, 5, b"abcd", [], [1, 2, 3], [b"x", 0, 0, 0], [1, [], 0, 0], [float("inf"), 0, 0, 0]]
)
def test_bad_counts(reply):
    with pytest.raises(BadMessage, match="chord count"):
        chord_keys.parse_count(reply)


@given(st.lists(st.none() | st.integers() | st.floats() | st.binary() | st.text(), max_size=6))
def test_any_reply_is_a_count_or_bad(reply):
    with suppress(BadMessage):
        chord_keys.parse_count(reply)


def test_reading_members():
    assert chord_keys.members(KEYS, Count(2, 2, True, False, True)) == ("ZRANGE", KEYS.joined, 0, -1)
    assert chord_keys.members(KEYS, Count(2, 2, True, False, False)) == ("LRANGE", KEYS.joined, 0, 2)


def test_giving_up():
    assert chord_keys.give_up(KEYS) == (("DEL", KEYS.size),)
    assert chord_keys.give_up(KEYS, done=300)[1] == ("SET", KEYS.claim, b"done", "EX", 300)


def test_durations():
    assert [chord_keys.claim_seconds(wait) for wait in (None, 0, 3.0, 60, 0.1)] == [10, 10, 6, 120, 5]
    assert [chord_keys.done_seconds(claim) for claim in (6, 200)] == [300, 400]
    assert chord_keys.sending_seconds(6) == 21
    assert chord_keys.sending_seconds(6, None) == 12
    assert chord_keys.sending_seconds(6, 0, retries=-1) == 6
    assert chord_keys.sending_seconds(6, 10, retries=10, step=1, longest=2) == 137


# --- on a real Redis, stock's scripts beside ours


@cache
def stock_scripts(python: str) -> dict[str, str]:
    program = (
        "import json; from celery.backends import redis as r;"
        "print(json.dumps([r.CHORD_PART_RETURN_LUA, r.CHORD_CLAIM_EXTEND_LUA, r.CHORD_CLEANUP_LUA]))"
    )
    found = subprocess.run([python, "-c", program], capture_output=True, check=True, text=True)
    return dict(zip(("part", "extend", "clean"), json.loads(found.stdout), strict=True))


OURS = {"part": PART.text, "extend": EXTEND.text, "clean": CLEAN.text}


class Chord:
    """Some workers, some of them stock, that count one chord."""

    def __init__(self, redis, stock, name, ordered=True):
        self.redis = redis
        self.scripts = {"ours": OURS, "stock": stock}
        self.keys = ChordKeys.of(Keys(), name)
        self.ordered = ordered
        self.bodies = 0

    def start(self, size):
        for command in chord_keys.start(self.keys, size, 100):
            self.redis.call(*command)

    def part(self, who, index, *, claim=6, size=None, task=None, ordered=None, token=None, value=None):
        task = task or f"t{index}"
        member = chord_keys.build_member(Member(task, "SUCCESS", index if value is None else value))
        arguments = chord_keys.part_arguments(
            self.keys,
            task,
            member,
            group_index=index,
            expires=100,
            saved_expires=200,
            claim=claim,
            token=token or f"{who}-{index}",
            ordered=self.ordered if ordered is None else ordered,
            size=size,
        )
        reply = self.redis.call("EVAL", self.scripts[who]["part"], *arguments)
        return chord_keys.parse_count(reply, ordered=self.ordered)

    def collect(self, count):
        found = self.redis.call(*chord_keys.members(self.keys, count))
        return [chord_keys.parse_member(data).value for data in found]

    def finish(self, who, token):
        """Extend, send the body, clean."""
        if self.redis.call("EVAL", self.scripts[who]["extend"], *chord_keys.extend_arguments(self.keys, token, 21)):
            self.bodies += 1
        return self.redis.call("EVAL", self.scripts[who]["clean"], *chord_keys.clean_arguments(self.keys, token, 300))

    def left(self):
        return {key.decode().rpartition(".")[2] for key in self.redis.call("KEYS", f"{self.keys.saved}*")}


@pytest.fixture
def redis(redis_server):
    redis_server.call("FLUSHALL")
    return redis_server


@pytest.fixture(scope="module")
def stock(stock_python):
    return stock_scripts(str(stock_python))


@pytest.fixture
def chord(redis, stock):
    return Chord(redis, stock, "g")


@pytest.mark.real
def test_scripts_of_others_agree_with_ours(redis, stock):
    """The same calls into both leave the same keys and the same replies behind."""
    dice = random.Random(5)
    states = {}
    calls = [(dice.randrange(4), dice.choice(["t", "u"])) for _ in range(40)]
    for who in ("ours", "stock"):
        redis.call("FLUSHALL")
        one = Chord(redis, stock, "g", ordered=True)
        one.start(5)
        redis.call(*chord_keys.add(one.keys))
        trace = []
        for index, task in calls:
            count = one.part(who, index, task=f"{task}{index}", token="same")
            trace.append((count, redis.call("ZRANGE", one.keys.joined, 0, -1, "WITHSCORES"), one.left()))
            trace.append([redis.call("TTL", key) > 0 for key in (one.keys.joined, one.keys.counted, one.keys.size)])
        one.finish(who, "same")
        trace.append((one.left(), one.bodies, redis.call("GET", one.keys.claim)))
        states[who] = trace
    assert states["ours"] == states["stock"]


@pytest.mark.real
@given(
    st.permutations(range(4)),
    st.lists(st.sampled_from(["ours", "stock"]), min_size=12, max_size=12),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mixed_fleet_completes_once(redis, stock, order, who, again, ordered):
    """Members in any order, each counted by anybody, some delivered twice: the body is sent once, with all."""
    redis.call("FLUSHALL")
    one = Chord(redis, stock, "g", ordered)
    one.start(4)
    values = None
    for turn, (index, copy) in enumerate(zip(order, again, strict=True)):
        for step, member in enumerate((index, copy)):
            if member != index and member not in order[:turn]:
                continue
            worker = who[turn * 2 + step]
            count = one.part(worker, member, token=f"{turn}.{step}")
            if count.claimed:
                assert values is None
                values = one.collect(count)
                one.part(who[8], member, token="late")
                assert one.finish(who[9], f"{turn}.{step}") == 1
                assert one.part(who[10], member, token="later").over
    assert one.bodies == 1
    assert (values if ordered else sorted(values)) == [0, 1, 2, 3]
    assert one.left() == {"c"}


@pytest.mark.real
@pytest.mark.parametrize("who", ["ours", "stock"])
def test_lost_claim(chord, redis, who):
    """The claimer dies: after its time a late copy of a member takes over, and the old one cannot go on."""
    chord.start(1)
    assert chord.part(who, 0, token="first").claimed
    assert not chord.part("ours", 0, token="second").claimed
    redis.call("DEL", chord.keys.claim)  # its time is over
    assert chord.part("ours", 0, token="second").claimed
    assert chord.finish(who, "first") == 0
    assert chord.bodies == 0
    assert chord.finish("ours", "second") == 1
    assert chord.bodies == 1


@pytest.mark.real
@pytest.mark.parametrize("who", ["ours", "stock"])
def test_claim_that_ran_out_is_taken_again(chord, redis, who):
    chord.start(1)
    chord.part(who, 0, token="first")
    redis.call("DEL", chord.keys.claim)
    arguments = chord_keys.extend_arguments(chord.keys, "first", 21)
    assert redis.call("EVAL", chord.scripts[who]["extend"], *arguments) == 1
    assert redis.call("TTL", chord.keys.claim) == 21
    redis.call("DEL", chord.keys.claim, chord.keys.size)
    assert redis.call("EVAL", chord.scripts[who]["extend"], *arguments) == 0


@pytest.mark.real
def test_size_in_the_body_serves_stock_too(chord):
    """A chord of Celery 4 has no `.s`: after one member of ours has said the size, stock's scripts see it."""
    assert not chord.part("stock", 0).claimed
    assert chord.part("ours", 1, size=3) == Count(2, 3, False, False, True)
    assert chord.part("stock", 2).claimed


@pytest.mark.real
def test_given_up_with_a_mark_stays_given_up(chord, redis):
    chord.part("ours", 0, size=1)
    for command in chord_keys.give_up(chord.keys, done=300):
        redis.call(*command)
    assert chord.part("ours", 0, size=1).over


@pytest.mark.real
@pytest.mark.parametrize("first", [True, False])
def test_members_as_the_first_one_left_them(chord, first):
    """A fleet that disagrees on `result_chord_ordered` still counts."""
    chord.start(2)
    chord.part("stock", 0, ordered=first)
    count = chord.part("ours", 1, ordered=not first)
    assert count.claimed
    assert count.ordered is first
    assert chord.collect(count) == [0, 1]


@pytest.mark.real
@given(
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.sampled_from("tu")), min_size=1, max_size=8),
    st.integers(0, 3),
    st.none() | st.integers(1, 5),
    st.booleans(),
    st.sampled_from([0, 100]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_several_at_once_are_counted_as_one_by_one(redis, stock, told, before, size, ordered, expires):
    """Whoever is told of before, however many come again, and whether the size is known, met or passed."""
    ends = []
    members = [(f"{task}{index}", index, b"m-%d" % place) for place, (index, task) in enumerate(told)]
    given_to_all = {"expires": expires, "saved_expires": 2 * expires, "claim": 6, "token": "x"}
    for together in (False, True):
        redis.call("FLUSHALL")
        one = Chord(redis, stock, "g", ordered)
        if size is not None:
            one.start(size)
            redis.call(*chord_keys.add(one.keys))
        for place in range(before):
            one.part("stock", place, task="before")
        if together:
            arguments = chord_keys.parts_arguments(one.keys, members, ordered=ordered, **given_to_all)
            count = chord_keys.parse_count(redis.call("EVAL", PARTS.text, *arguments))
        else:
            counts = []
            for task, index, member in members:
                arguments = chord_keys.part_arguments(
                    one.keys, task, member, group_index=index, ordered=ordered, **given_to_all
                )
                counts.append(chord_keys.parse_count(redis.call("EVAL", PART.text, *arguments)))
            count = next((each for each in counts if each.claimed), counts[-1])
        kept = redis.call(*chord_keys.members(one.keys, count)), redis.call("SMEMBERS", one.keys.counted)
        lasting = [redis.call("TTL", key) for key in (one.keys.joined, one.keys.counted, one.keys.size, one.keys.claim)]
        ends.append((count, kept, lasting, one.left()))
    assert ends[0] == ends[1]


@pytest.mark.real
def test_members_of_earlier_versions_count(chord, redis):
    """Celery 4 to 5.6 add to the sorted set or the list, and know neither `.d` nor `.c`."""
    chord.start(2)
    redis.call("ZADD", chord.keys.joined, 0, chord_keys.build_member(Member("old", "SUCCESS", 0)))
    count = chord.part("ours", 1)
    assert count.claimed
    assert chord.collect(count) == [0, 1]


@pytest.mark.real
def test_no_index_and_no_expiry(chord, redis):
    chord.start(1)
    member = chord_keys.build_member(Member("t", "SUCCESS", 1))
    arguments = chord_keys.part_arguments(
        chord.keys, "t", member, group_index=None, expires=0, saved_expires=0, claim=6, token="x"
    )
    assert chord_keys.parse_count(redis.call("EVAL", PART.text, *arguments)).claimed
    assert redis.call("ZSCORE", chord.keys.joined, member) == b"inf"
    assert redis.call("SMEMBERS", chord.keys.counted) == [b"t:+inf"]
    assert redis.call("TTL", chord.keys.joined) == -1
    clean = chord_keys.clean_arguments(chord.keys, "x", 0)
    assert redis.call("EVAL", CLEAN.text, *clean) == 1
    assert redis.call("GET", chord.keys.claim) == b"x"


def test_shas():
    assert len({PART.sha, PARTS.sha, EXTEND.sha, CLEAN.sha}) == 4
    assert all(len(script.sha) == 40 for script in (PART, PARTS, EXTEND, CLEAN))

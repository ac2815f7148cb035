"""The scripts on a real Redis: each message is in one place at every moment, and comes back as it was."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from celeriac.protocol.wire import envelope, redis, redis_held, redis_parked
from celeriac.protocol.wire.redis import Layout
from celeriac.protocol.wire.redis_held import Taken
from tests.protocol.wire.redis_store import LAYOUT, Store, push, written
from tests.servers import RedisServer

pytestmark = pytest.mark.real

# Ugly things people leave in queues; each is taken, held and put back unchanged but for the flags.
UGLY = [b"", b"this is not json", b"[]", b"5", b"\xff\xfe{", b'{"a": 1', b'\x00\x01"\\/', "é".encode(), b" {} "]


@pytest.fixture
def store(redis_server: RedisServer) -> Store:
    return Store(redis_server)


def test_take_moves_messages_into_our_hands_as_they_are(store: Store) -> None:
    push(store, written("a"), written("b", delivery_tag="celery"), written("c", delivery_tag="celery"))
    taken = store.take("q", count=2, now=123.25)
    assert [(each.tag, each.queue, each.list_key) for each in taken] == [
        ("me:0", "q", "t:q"),
        ("me:1", "q", "t:q"),
    ]
    assert [each.envelope for each in taken] == [written("a"), written("b", delivery_tag="celery")]
    assert store.waiting() == [written("c", delivery_tag="celery")]
    assert store.scores() == {"me:0": 123.25, "me:1": 123.25}
    assert store.held() == {each.tag: redis_held.entry(each.envelope, "", "q") for each in taken}
    assert [each.tag for each in store.take("q")] == ["me:2"]
    assert store.take("q") == []


def test_take_serves_steps_first_and_queues_inside(store: Store) -> None:
    for queue in ("a", "b"):
        for priority in (9, 3, 0):
            push(store, written(f"{queue}{priority}"), queue=queue, priority=priority)
    names = [json.loads(each.envelope)["headers"]["id"] for each in store.take("b", "a", count=5)]
    assert names == ["b0", "a0", "b3", "a3", "b9"]
    assert [each.queue for each in store.take("b", "a")] == ["a"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 6), min_size=2, max_size=4), st.integers(1, 20))
def test_take_gives_each_queue_its_part(store: Store, sizes: list[int], count: int) -> None:
    """None gets less than another that has no more of them to give, give or take one; and one of each, again and again."""
    queues = [f"q{number}" for number in range(len(sizes))]
    store.do(("FLUSHALL",))
    for queue, size in zip(queues, sizes, strict=True):
        if size:
            store.do(*redis.push(LAYOUT, queue, [written(f"{queue}.{at}") for at in range(size)], 0))
    taken = store.take(*queues, count=count)
    of = Counter(each.queue for each in taken)
    assert len(taken) == min(count, sum(sizes))
    most = max(of.values(), default=0)
    for queue, size in zip(queues, sizes, strict=True):
        assert of[queue] in (size, most, most - 1)
        own = [json.loads(each.envelope)["headers"]["id"] for each in taken if each.queue == queue]
        assert own == [f"{queue}.{at}" for at in range(len(own))]
    rounds = [sum(before.queue == each.queue for before in taken[:at]) for at, each in enumerate(taken)]
    assert rounds == sorted(rounds)
    assert [each.queue for each in taken[: len(of)]] == [queue for queue in queues if of[queue]]


def test_take_keeps_a_strict_order(redis_server: RedisServer) -> None:
    store = Store(redis_server, Layout(queue_order_strategy="priority"))
    for queue in ("a", "b"):
        for priority in (3, 0, 0):
            push(store, written(f"{queue}{priority}"), queue=queue, priority=priority)
    names = [json.loads(each.envelope)["headers"]["id"] for each in store.take("b", "a", count=5)]
    assert names == ["b0", "b0", "a0", "a0", "b3"]


def test_a_queue_name_with_quotes_is_restorable(store: Store) -> None:
    push(store, written("a"), queue='q"\\é')
    store.take('q"\\é')
    (raw,) = store.held().values()
    assert redis_held.parse_entry(raw).routing_key == 'q"\\é'


@pytest.mark.parametrize("ugly", UGLY)
def test_ugly_things_are_held_and_come_back(store: Store, ugly: bytes) -> None:
    push(store, ugly)
    (taken,) = store.take("q")
    assert taken.envelope == ugly
    entry = store.held()[taken.tag]
    if not (ugly.startswith(b"{") and ugly.endswith(b"}")):
        assert redis_held.parse_entry(entry).envelope == ugly
    assert store.do(redis_held.reclaim(LAYOUT, taken.tag, entry, "q")) == [1]
    assert store.waiting() == [redis_held.marked(ugly)]
    assert store.held() == store.scores() == {}


def test_what_only_looks_like_json_comes_back_too(store: Store) -> None:
    push(store, b"{broken}")
    (taken,) = store.take("q")
    assert store.do(redis_held.put_back(LAYOUT, [taken], front=True)) == [1]
    assert store.waiting() == [b"{broken}"]


def test_a_list_that_is_none_disturbs_nobody(store: Store) -> None:
    store.do(("SET", "t:a", "no list"))
    push(store, written("x"), queue="b")
    assert [each.queue for each in store.take("a", "b")] == ["b"]


def test_a_thousand_at_once(store: Store) -> None:
    store.do(*redis.push(LAYOUT, "q", [written(str(i)) for i in range(1200)]))
    taken = store.take("q", count=redis_held.MOST)
    assert [json.loads(each.envelope)["headers"]["id"] for each in taken] == [str(i) for i in range(1000)]
    assert len(store.held()) == len(store.scores()) == 1000
    assert store.do(*redis_held.ack(LAYOUT, *(each.tag for each in taken)))[-1] == [1000, 1000]
    assert len(store.waiting()) == 200


def test_put_back_in_front_keeps_the_order(store: Store) -> None:
    push(store, *map(written, "abcd"))
    taken = store.take("q", count=3)
    assert store.do(redis_held.put_back(LAYOUT, taken, front=True)) == [3]
    assert [json.loads(each)["headers"]["id"] for each in store.waiting()] == list("abcd")
    assert store.waiting()[0] == envelope.redelivered(written("a"))
    assert store.held() == store.scores() == {}


def test_put_back_behind(store: Store) -> None:
    push(store, written("a"), written("b"))
    (taken,) = store.take("q", count=1)
    assert store.do(redis_held.put_back(LAYOUT, [taken], front=False)) == [1]
    assert store.waiting() == [written("b"), envelope.redelivered(written("a"))]


def test_what_somebody_restored_does_not_come_back_twice(store: Store) -> None:
    push(store, written("a"))
    taken = store.take("q")
    entry = store.held()["me:0"]
    assert store.do(redis_held.reclaim(LAYOUT, "me:0", entry, "q")) == [1]
    assert store.do(redis_held.put_back(LAYOUT, taken, front=True)) == [0]
    assert store.do(redis_held.reclaim(LAYOUT, "me:0", entry, "q")) == [0]
    assert len(store.waiting()) == 1


def test_renewing_and_the_sweep(store: Store) -> None:
    push(store, *map(written, "abc"))
    store.take("q", now=100.0)
    store.do(*redis_held.ack(LAYOUT, "me:2"))
    assert store.do(redis_held.renew(LAYOUT, ["me:0", "me:2"], 104.0)) == [0]
    assert store.scores() == {"me:0": 104.0, "me:1": 100.0}
    for overdue in (redis_held.overdue, redis_held.overdue_before_6_2):
        assert store.do(overdue(LAYOUT, 105.5)) == [[b"me:1", b"100"]]
    late, renewed = store.do(redis_held.entries(LAYOUT, ["me:1", "me:0"]))[0]
    assert store.do(redis_held.reclaim(LAYOUT, "me:0", renewed, "q", latest=100.5)) == [0]
    assert store.do(redis_held.reclaim(LAYOUT, "me:1", late, "q", latest=100.5)) == [1]
    assert store.waiting() == [envelope.redelivered(written("b"))]


def test_an_index_without_its_message_is_cleared(store: Store) -> None:
    store.do(("ZADD", LAYOUT.unacked_index, 1, "ghost"))
    assert store.do(redis_held.entries(LAYOUT, ["ghost"])) == [[None]]
    assert store.do(redis_held.reclaim(LAYOUT, "ghost", None, "q")) == [1]
    assert store.scores() == {}
    assert store.waiting() == []


def test_only_a_dead_owner_loses_what_it_holds(store: Store) -> None:
    push(store, written("a"))
    (taken,) = store.take("q", owner="w1")
    owner = redis_held.owner_of(taken.tag)
    assert owner == "w1"
    store.do(redis_held.lease(LAYOUT, owner, 60))
    assert store.do(redis_held.leases(LAYOUT, [owner, "w2"])) == [[b"", None]]
    entry = store.held()[taken.tag]
    assert store.do(redis_held.reclaim(LAYOUT, taken.tag, entry, "q", dead_owner=owner)) == [0]
    store.do(redis_held.release(LAYOUT, owner))
    assert store.do(redis_held.everything_held(LAYOUT)) == [[b"w1:0"]]
    assert store.do(redis_held.reclaim(LAYOUT, taken.tag, entry, "q", dead_owner=owner)) == [1]


def test_the_restore_lock(store: Store) -> None:
    assert store.do(redis_held.lock(LAYOUT, "a"), redis_held.lock(LAYOUT, "b")) == [b"OK", None]
    assert store.do(redis_held.unlock(LAYOUT, "b"), redis_held.unlock(LAYOUT, "a")) == [0, 1]
    assert store.do(redis_held.lock(LAYOUT, "b")) == [b"OK"]


def test_parked_messages_come_when_they_are_due(store: Store) -> None:
    push(store, *map(written, "abcd"))
    taken = store.take("q", count=3)
    etas = [300.0, 200.0, 250.5]
    assert store.do(redis_parked.park(LAYOUT, zip(taken, etas, strict=True))) == [3]
    assert store.held() == store.scores() == {}
    assert store.parked() == ["me:1", "me:2", "me:0"]
    assert store.do(redis_parked.next_due(LAYOUT)) == [[b"me:1", b"200"]]
    assert store.do(redis_parked.pump(LAYOUT, 199.0)) == [0]
    assert store.do(redis_parked.pump(LAYOUT, 250.5)) == [2]
    assert store.waiting() == [written("b"), written("c"), written("d")]
    assert store.do(redis_parked.pump(LAYOUT, 900.0, 1), redis_parked.pump(LAYOUT, 900.0)) == [1, 0]
    assert store.do(("EXISTS", redis_parked.parked(LAYOUT), redis_parked.parked_index(LAYOUT))) == [0]


def test_parking_unparking_forgetting(store: Store) -> None:
    push(store, *map(written, "abc"))
    taken = store.take("q")
    store.do(*redis_held.ack(LAYOUT, "me:0"))
    assert store.do(redis_parked.park(LAYOUT, [(each, 9e9) for each in taken])) == [2]
    assert store.do(redis_parked.unpark(LAYOUT, ["me:0", "me:2"])) == [1]
    assert store.waiting() == [written("c")]
    assert store.do(*redis_parked.forget(LAYOUT, "me:1"))[-1] == [1, 1]
    assert store.parked() == []


def test_a_parcel_that_cannot_be_delivered_waits_and_stops_nobody(store: Store) -> None:
    push(store, *map(written, "abc"))
    a, b, c = store.take("q")
    store.do(("SET", "t:none", "no list"))
    spoilt = Taken(a.tag, "none", "t:none", a.envelope)
    store.do(redis_parked.park(LAYOUT, [(spoilt, 1.0), (b, 2.0), (c, 3.0)]))
    store.do(("HSET", redis_parked.parked(LAYOUT), c.tag, "nonsense"))
    store.do(("ZADD", redis_parked.parked_index(LAYOUT), 1, "ghost"))
    assert store.do(redis_parked.pump(LAYOUT, 10.0)) == [4]
    assert store.waiting() == [b.envelope]
    assert store.do(("ZRANGE", redis_parked.parked_index(LAYOUT), 0, -1, "WITHSCORES")) == [
        [b"me:0", b"70", b"me:2", b"70"]
    ]
    assert store.do(redis_parked.unpark(LAYOUT, ["me:0", "me:2"])) == [0]
    store.do(("DEL", "t:none"))
    assert store.do(redis_parked.unpark(LAYOUT, ["me:0"])) == [1]


def test_bindings_with_a_deadline(store: Store) -> None:
    store.do(*redis.bind(LAYOUT, "ex", "k", "q", expires=1000))
    store.do(*redis.bind(LAYOUT, "lasting", "k", "q", expires=1000), *redis.bind(LAYOUT, "lasting", "k2", "q2"))
    assert store.do(redis.members(LAYOUT, "ex")) == [[b"k\x06\x16\x06\x16q"]]
    (deadline,) = store.do(("ZSCORE", LAYOUT.binding_deadlines, "ex"))
    seconds = int(store.do(("TIME",))[0][0])
    assert 3_590 < int(deadline) / 1000 - seconds < 3_601
    assert store.do(redis.sweep_bindings(LAYOUT)) == [0]
    store.do(*redis.bind(LAYOUT, "ex", "k", "q", expires=1000))
    store.do(("ZADD", LAYOUT.binding_deadlines, 1, "ex", 1, "lasting"))
    assert store.do(redis.sweep_bindings(LAYOUT)) == [2]
    assert store.do(redis.members(LAYOUT, "ex")) == [[]]
    assert len(store.do(redis.members(LAYOUT, "lasting"))[0]) == 2


def test_watching_takes_nothing(store: Store) -> None:
    push(store, written("a"), written("b"))
    before = store.waiting()
    assert store.do(redis.watch(LAYOUT, "q", 1)) == [written("a")]
    assert store.waiting() == before


class Conservation(RuleBasedStateMachine):
    """Whatever is done in whatever order: each message is in exactly one place until it is acknowledged."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(self.server)
        self.alive: set[str] = set()
        self.held: list[Taken] = []
        self.made = 0
        self.now = 100.0

    @rule(queue=st.sampled_from("ab"), priority=st.sampled_from([0, 3, 9]), count=st.integers(1, 3))
    def push(self, queue: str, priority: int, count: int) -> None:
        names = [f"m{self.made + i}" for i in range(count)]
        self.made += count
        self.alive.update(names)
        self.store.do(*redis.push(LAYOUT, queue, [written(name, priority=priority) for name in names], priority))

    @rule(count=st.integers(1, 4), queues=st.sampled_from([("a",), ("b", "a")]))
    def take(self, count: int, queues: tuple[str, ...]) -> None:
        self.now += 1
        self.held += self.store.take(*queues, count=count, now=self.now)

    def some(self, data: st.DataObject) -> list[Taken]:
        return data.draw(st.lists(st.sampled_from(self.held), unique_by=lambda each: each.tag, min_size=1))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        chosen = self.some(data)
        still = [each for each in chosen if each.tag in self.store.held()]
        self.store.do(*redis_held.ack(LAYOUT, *(each.tag for each in chosen)))
        self.alive -= {self.name(each.envelope) for each in still}

    @precondition(lambda self: self.held)
    @rule(data=st.data(), front=st.booleans())
    def put_back(self, data: st.DataObject, front: bool) -> None:
        self.store.do(redis_held.put_back(LAYOUT, self.some(data), front=front))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self.now += 1
        self.store.do(redis_held.renew(LAYOUT, [each.tag for each in self.some(data)], self.now))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), eta=st.integers(0, 200))
    def park(self, data: st.DataObject, eta: int) -> None:
        self.store.do(redis_parked.park(LAYOUT, [(each, eta) for each in self.some(data)]))

    @rule()
    def pump(self) -> None:
        self.store.do(redis_parked.pump(LAYOUT, self.now))

    @rule()
    def unpark(self) -> None:
        if tags := self.store.parked():
            self.store.do(redis_parked.unpark(LAYOUT, tags[:2]))

    @rule(front=st.booleans())
    def sweep(self, front: bool) -> None:
        (rows,) = self.store.do(redis_held.overdue(LAYOUT, self.now))
        for tag in rows[::2]:
            (raw,) = self.store.do(redis_held.entries(LAYOUT, [tag.decode()]))[0]
            if front:
                latest = self.now - LAYOUT.visibility_timeout
                self.store.do(redis_held.reclaim(LAYOUT, tag.decode(), raw, "b", latest=latest))
            else:
                found = redis_held.parse_entry(raw)
                queues = redis_held.destinations(found, "direct", [])
                self.store.do(*redis_held.restore(LAYOUT, tag.decode(), found, queues, front=True))

    def name(self, data: bytes) -> str:
        return envelope.parse(data).message.body.decode()

    @invariant()
    def each_message_is_in_one_place(self) -> None:
        places = [
            self.name(data) for queue in "ab" for p in LAYOUT.priority_steps for data in self.store.waiting(queue, p)
        ]
        held = self.store.held()
        places += [self.name(redis_held.parse_entry(raw).envelope) for raw in held.values()]
        parcels = self.store.do(("HVALS", redis_parked.parked(LAYOUT)))[0]
        places += [self.name(parcel[parcel.index(b"{") :]) for parcel in parcels]
        assert sorted(places) == sorted(self.alive)
        assert set(self.store.scores()) == set(held)
        assert len(self.store.parked()) == len(parcels)


def test_messages_are_conserved(redis_server: RedisServer) -> None:
    run_state_machine_as_test(
        type("OnServer", (Conservation,), {"server": redis_server}),
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

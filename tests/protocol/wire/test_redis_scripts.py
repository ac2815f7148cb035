"""The scripts on a real Redis, and beside a stock worker's transport on the same Redis."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from celeriac.protocol.wire import envelope, redis, redis_bindings, redis_held, redis_parked, redis_scripts, resp
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.redis import Layout
from celeriac.protocol.wire.redis_held import Taken
from tests.servers import RedisServer
from tests.servers import redis_server as started

pytestmark = pytest.mark.real

LAYOUT = Layout(global_keyprefix="t:", visibility_timeout=5)
ROOT = Path(__file__).parents[3]
# Ugly things people leave in queues; each is taken, held and put back unchanged but for the flags.
UGLY = [b"", b"this is not json", b"[]", b"5", b"\xff\xfe{", b'{"a": 1', b'\x00\x01"\\/', "é".encode(), b" {} "]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with started() as running:
        for script in redis_scripts.SCRIPTS:
            assert running.call(*script.load()).decode() == script.sha
        yield running


class Store:
    """Commands as the library makes them, against the server."""

    def __init__(self, server: RedisServer, layout: Layout = LAYOUT) -> None:
        self.server = server
        self.layout = layout
        self.serial = 0
        server.call("FLUSHDB")

    def do(self, *commands: resp.Command) -> list[Any]:
        return [self.server.call(*command) for command in commands]

    def take(self, *queues: str, count: int = 10, now: float = 100.0, owner: str = "me") -> list[Taken]:
        (reply,) = self.do(redis_held.take(self.layout, queues, count, owner, self.serial, now))
        taken = redis_held.parse_taken(self.layout, reply, queues)
        self.serial += len(taken)
        return taken

    def waiting(self, queue: str = "q", priority: int = 0) -> list[bytes]:
        """The next one first."""
        found: list[bytes] = self.server.call("LRANGE", self.layout.list_key(queue, priority), 0, -1)
        return found[::-1]

    def held(self) -> dict[str, bytes]:
        flat = self.server.call("HGETALL", self.layout.unacked)
        return {tag.decode(): value for tag, value in zip(flat[::2], flat[1::2], strict=True)}

    def scores(self) -> dict[str, float]:
        flat = self.server.call("ZRANGE", self.layout.unacked_index, 0, -1, "WITHSCORES")
        return {tag.decode(): float(score) for tag, score in zip(flat[::2], flat[1::2], strict=True)}

    def parked(self) -> list[str]:
        return [tag.decode() for tag in self.do(redis_parked.tags(self.layout))[0]]


@pytest.fixture
def store(server: RedisServer) -> Store:
    return Store(server)


def written(name: str, **properties: Any) -> bytes:
    """An envelope as foreign clients space it: nothing may be decoded and written anew on its way."""
    value = {
        "body": base64.b64encode(name.encode()).decode(),
        "headers": {"id": name, "big": 12345678901234567890, "empty": []},
        "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}, "body_encoding": "base64", **properties},
    }
    return json.dumps(value, separators=(",", ":")).encode()


def push(store: Store, *envelopes: bytes, queue: str = "q", priority: int = 0) -> None:
    for data in envelopes:
        store.do(*redis.push(store.layout, queue, [data], priority))


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


def test_messages_are_conserved(server: RedisServer) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        type("OnServer", (Conservation,), {"server": server}),
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


# Beside kombu itself, the release that stock Celery 5.7 uses


def kombu(server: RedisServer, program: str, options: dict[str, Any] | None = None) -> Any:
    """Runs a program with a stock channel `c` on the same Redis; what it leaves in `out` comes back."""
    head = f"""
        import json, time
        from kombu import Connection
        from queue import Empty
        options = {options or {}!r}
        connection = Connection("redis://127.0.0.1:{server.port}/0", transport_options=options)
        c = connection.default_channel
        out = None
    """
    source = textwrap.dedent(head) + textwrap.dedent(program) + "\nprint(json.dumps(out))\n"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def shared(server: RedisServer) -> Store:
    return Store(server, Layout(visibility_timeout=5))


def ours(name: str, priority: int = 0) -> bytes:
    return envelope.build(
        Message(f'"{name}"'.encode(), "application/json", "utf-8", {"h": 1}, {"priority": priority}),
        exchange="",
        routing_key="q",
        delivery_tag=f"tag-{name}",
    )


def test_kombu_consumes_what_we_push(server: RedisServer, shared: Store) -> None:
    shared.do(*redis.push(shared.layout, "q", [ours("a"), ours("b")]))
    shared.do(*redis.push(shared.layout, "q", [ours("c", 9)], 9))
    got = kombu(
        server,
        """
        from kombu import Queue
        messages = [c.basic_get("q") for _ in range(3)]
        out = [[m.decode(), m.headers, m.delivery_tag, m.properties["priority"]] for m in messages]
        for m in messages[:2]:
            m.ack()
        """,
    )
    assert got == [["a", {"h": 1}, "tag-a", 0], ["b", {"h": 1}, "tag-b", 0], ["c", {"h": 1}, "tag-c", 9]]
    # The channel put back what it had not acknowledged when it closed, or left it held for the sweep.
    back = [*shared.waiting(priority=9), *(redis_held.parse_entry(raw).envelope for raw in shared.held().values())]
    assert [envelope.parse(data).message.body for data in back] == [b'"c"']


def test_we_take_what_kombu_publishes(server: RedisServer, shared: Store) -> None:
    kombu(
        server,
        """
        from kombu import Exchange, Queue
        exchange = Exchange("tex", "topic")
        queue = Queue("q", exchange, routing_key="task.#")
        with connection.Producer() as producer:
            producer.publish("plain", routing_key="q", declare=[queue], headers={"h": 1})
            producer.publish("topic", exchange=exchange, routing_key="task.x", priority=5, declare=[queue])
            producer.publish("lost", exchange=exchange, routing_key="task", declare=[queue])
        """,
    )
    bindings = redis_bindings.parse_members(shared.do(redis.members(shared.layout, "tex"))[0], shared.layout.sep)
    assert redis_bindings.reached("topic", bindings, "task.x") == ["q"]
    assert redis_bindings.reached("topic", bindings, "task") == []
    taken = shared.take("q")
    read = [envelope.parse(each.envelope) for each in taken]
    assert [each.message.body for each in read] == [b"plain", b"topic"]
    assert [(each.exchange, each.routing_key, each.priority) for each in read] == [("", "q", 0), ("tex", "task.x", 5)]
    for each, data in zip(read, taken, strict=True):
        again = envelope.build(
            each.message,
            exchange=each.exchange,
            routing_key=each.routing_key or "",
            delivery_tag=each.delivery_tag or "",
        )
        assert again == data.envelope


def test_kombu_restores_what_we_took(server: RedisServer, shared: Store) -> None:
    foreign = written("foreign", delivery_tag="celery")
    push(shared, ours("a"), foreign, foreign)
    taken = shared.take("q", now=1.0)
    assert len(taken) == 3
    kombu(server, "c.qos.restore_visible()", {"visibility_timeout": 5})
    assert shared.held() == shared.scores() == {}
    back = [envelope.parse(data) for data in shared.waiting()]
    assert sorted(each.message.body for each in back) == [b'"a"', b"foreign", b"foreign"]
    assert all(each.redelivered and each.message.headers["redelivered"] for each in back)
    assert {each.delivery_tag for each in back} == {"tag-a", "celery"}


def test_kombu_leaves_what_we_renew(server: RedisServer, shared: Store) -> None:
    push(shared, ours("a"))
    (taken,) = shared.take("q", now=1.0)
    shared.do(redis_held.renew(shared.layout, [taken.tag], 9e9))
    kombu(server, "c.qos.restore_visible()", {"visibility_timeout": 5})
    assert list(shared.held()) == [taken.tag]


def test_we_restore_what_a_dead_kombu_took(server: RedisServer, shared: Store) -> None:
    kombu(
        server,
        """
        import os
        with connection.Producer() as producer:
            producer.publish("a", routing_key="q", priority=3)
        message = c.basic_get("q")
        print(json.dumps(message.delivery_tag), flush=True)
        os._exit(0)
        """,
    )
    (rows,) = shared.do(redis_held.overdue(shared.layout, 9e9))
    tag = rows[0].decode()
    assert redis_held.owner_of(tag) is None
    (raw,) = shared.do(redis_held.entries(shared.layout, [tag]))[0]
    found = redis_held.parse_entry(raw)
    assert (found.exchange, found.routing_key) == ("", "q")
    (queue,) = redis_held.destinations(found, "direct", [])
    assert shared.do(redis_held.reclaim(shared.layout, tag, raw, queue)) == [1]
    (back,) = shared.waiting(priority=3)
    assert back == envelope.redelivered(found.envelope)
    got = kombu(server, 'm = c.basic_get("q"); out = [m.decode(), m.delivery_info["redelivered"]]; m.ack()')
    assert got == ["a", True]


def test_kombu_sees_our_bindings_and_deadlines(server: RedisServer, shared: Store) -> None:
    shared.do(
        *redis.bind(shared.layout, "tex", "task.*", "q", "topic"),
        *redis.bind(shared.layout, "old", "k", "q", expires=1),
    )
    got = kombu(
        server,
        """
        from kombu import Exchange
        with connection.Producer(exchange=Exchange("tex", "topic")) as producer:
            producer.publish("a", routing_key="task.x")
        c.client.zadd("_kombu.binding_deadlines", {"old": 1})
        out = [c.sweep_bindings(), sorted(k.decode() for k in c.client.keys("_kombu*"))]
        """,
    )
    assert got == [1, ["_kombu.binding.tex", "_kombu.binding_permanent.tex"]]
    assert len(shared.waiting()) == 1


def test_fanout_reaches_kombu_and_us(server: RedisServer, shared: Store) -> None:
    listener = server.connect()
    try:
        listener.call(*redis.subscribe(shared.layout, [("fan", "")]))
        program = """
            from kombu import Exchange, Queue, Consumer
            got = []
            queue = Queue("mine", Exchange("fan", "fanout"), auto_delete=True)
            with Consumer(c, [queue], no_ack=True, callbacks=[lambda body, message: got.append(body)]):
                try:
                    connection.drain_events(timeout=0.1)
                except OSError:
                    pass
                c.client.publish("/0.fan", open(0).read())
                with connection.Producer(exchange=Exchange("fan", "fanout")) as producer:
                    producer.publish("theirs")
                while len(got) < 2:
                    connection.drain_events(timeout=5)
            out = got
        """
        (command,) = redis.publish(shared.layout, "fan", "", ours("ours"))
        program = program.replace("open(0).read()", repr(ours("ours").decode()))
        assert command[1] == "/0.fan"
        assert kombu(server, program) == ["ours", "theirs"]
        arrived = [listener.read() for _ in range(2)]
        assert {redis.exchange_of(shared.layout, each[2]) for each in arrived} == {"fan"}
        assert [envelope.parse(each[3]).message.body for each in arrived] == [b'"ours"', b"theirs"]
    finally:
        listener.close()

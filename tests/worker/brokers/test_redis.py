"""What is the Redis broker's own: deadlines, leases, the layout that stock shares, what it leaves behind."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.redis import Layout
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Delivery, Parcel, Park, Queue, Verdict
from celeriac.worker.brokers.redis import RedisBroker
from celeriac.worker.brokers.redis_lease import Keeper
from tests import proxy, servers
from tests.conformance.brokers import acked, bodies, bodies_of, message, numbered, take_all, to

pytestmark = pytest.mark.real

QUEUE = Queue("q")
Connect = Callable[..., RedisBroker]


@pytest.fixture
def server(redis_server: servers.RedisServer) -> servers.RedisServer:
    redis_server.call("FLUSHALL")
    return redis_server


@pytest.fixture
def connect(server: servers.RedisServer) -> Iterator[Connect]:
    made: list[Broker] = []

    def make(url: str = server.url, timeout: float = 4.0, **options: Any) -> RedisBroker:
        broker = brokers.connect(url, options, timeout)
        made.append(broker)
        assert isinstance(broker, RedisBroker)
        return broker

    yield make
    for broker in made:
        broker.close()


@contextmanager
def sent_after(seconds: float, broker: RedisBroker, parcel: Parcel) -> Iterator[None]:
    """It is sent from another thread meanwhile."""
    sending = threading.Timer(seconds, broker.send, [[parcel]])
    sending.start()
    try:
        yield
    finally:
        sending.join()


def vanish(broker: RedisBroker) -> None:
    """As a process that is killed: its sockets are closed, and nothing is said."""
    broker.abandon()


def until(true: Callable[[], bool], within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it has not come to be"
        time.sleep(0.01)


# --- what lies in Redis


def test_what_is_held_lies_in_unacked_as_kombu_has_it(server: servers.RedisServer, connect: Connect) -> None:
    broker = connect()
    broker.send(to(QUEUE, numbered(1)))
    broker.listen([QUEUE], credit=5)
    (taken,) = broker.take(5, 1)
    (held,) = server.call("HVALS", "unacked")
    envelope, exchange, key = json.loads(held)
    assert (exchange, key, envelope["properties"]["delivery_info"]) == ("", "q", {"exchange": "", "routing_key": "q"})
    assert server.call("ZRANGE", "unacked_index", 0, -1) == [taken.tag.encode()]
    assert server.call("LLEN", "q") == 0


def test_nothing_is_left_behind(server: servers.RedisServer, connect: Connect) -> None:
    private = Queue("mine", "replies", "direct", "mine", exclusive=True, auto_delete=True, expires=10)
    copy = Queue("copy", "news", "fanout", auto_delete=True, expires=10)
    broker = connect()
    broker.listen([QUEUE, private, copy], credit=5)
    broker.send(
        [*to(QUEUE, numbered(3)), Parcel(message(), "mine", "replies"), Parcel(message(), "", "news", "fanout")]
    )
    taken = take_all(broker, 5)
    assert len(taken) == 5
    broker.settle(acked(taken))
    broker.tend(time.time())
    broker.close()
    assert set(server.call("KEYS", "*")) <= {b"_kombu.binding_deadlines", b"celeriac.watch", b"unacked_mutex"}


def test_an_expiring_queue_expires(server: servers.RedisServer, connect: Connect) -> None:
    brief = Queue("brief", "e", "direct", "brief", expires=0.2)
    broker = connect()
    broker.declare([brief])
    broker.send(to(brief, numbered(1)))
    assert 0 < server.call("PTTL", "brief") <= 200
    if server.version >= (6, 2):  # without ZADD GT the deadline of a binding cannot be kept
        assert server.call("ZSCORE", "_kombu.binding_deadlines", "e") is not None
    until(lambda: broker.size("brief") == 0)


def test_a_message_that_is_no_envelope_is_delivered_as_it_is(server: servers.RedisServer, connect: Connect) -> None:
    server.call("LPUSH", "q", b"\xff garbage", b'{"body": 5}')
    broker = connect()
    broker.listen([QUEUE], credit=5)
    taken = take_all(broker, 2)
    assert bodies(taken) == [b"\xff garbage", b'{"body": 5}']
    broker.settle([(taken[0], Verdict.ACK), (taken[1], Verdict.RESTORE)])
    broker.tend(time.time())
    assert server.call("LRANGE", "q", 0, -1) == [b'{"body": 5}']


def test_a_script_that_the_server_forgot_is_told_again(server: servers.RedisServer, connect: Connect) -> None:
    broker = connect()
    broker.listen([QUEUE], credit=5)
    broker.send(to(QUEUE, numbered(2)))
    server.call("SCRIPT", "FLUSH")
    (first, second) = broker.take(5, 1)
    server.call("SCRIPT", "FLUSH")
    broker.settle([(first, Verdict.ACK), (second, Verdict.RESTORE)])
    broker.tend(time.time())
    assert bodies(broker.take(5, 1)) == [b"1"]


def test_what_redis_refuses_is_said(server: servers.RedisServer, connect: Connect) -> None:
    server.call("SET", "q", "no list")
    broker = connect()
    with pytest.raises(OperationalError, match=r"redis://127.0.0.1:\d+/0 answered LPUSH with an error: WRONGTYPE"):
        broker.send(to(QUEUE, numbered(1)))
    with pytest.raises(OperationalError, match="closed"):
        broker.send(to(QUEUE, numbered(1)))


def test_what_to_do_about_a_refusal_is_said(connect: Connect) -> None:
    with servers.redis_server("--maxmemory", "1mb") as full:
        broker = connect(full.url)
        with pytest.raises(OperationalError, match=r"OOM command not allowed.*\(it is full: raise its maxmemory"):
            broker.send([Parcel(message(b"x" * 2_000_000), "q")] * 2)


def test_taking_needs_listening(connect: Connect) -> None:
    with pytest.raises(BadCall, match="call `listen` first"):
        connect().take(1, 0)


def test_an_unknown_option_is_named_once(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        connect(visibilty_timeout=5)
        connect(visibilty_timeout=5)
    assert [each.getMessage() for each in caplog.records] == [
        "the Redis broker knows no transport option 'visibilty_timeout'; did you mean visibility_timeout?"
    ]


def test_an_unknown_option_in_the_url_is_named(
    server: servers.RedisServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        connect(f"{server.url}?socket_tiemout=5&client_name=me")
    assert [each.getMessage() for each in caplog.records] == [
        "the Redis broker knows no option in a URL 'socket_tiemout'; did you mean socket_timeout?"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease", "x"),
        ("lease", 0),
        ("unacked_restore_interval", "x"),
        ("unacked_restore_throttle", -1),
        ("body_encoding", "rot13"),
        ("deadletter_queue", 3),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_at_once(connect: Connect, name: str, value: Any) -> None:
    with pytest.raises(BadCall, match=f"transport option {name}: expected .*, got "):
        connect(**{name: value})


def test_what_reaches_no_queue_goes_to_the_dead_letters(
    server: servers.RedisServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    broker = connect(deadletter_queue="dead")
    broker.declare([Queue("q", "ex", routing_key="here")])
    with caplog.at_level(logging.WARNING):
        broker.send([Parcel(message(b"1"), "here", "ex"), Parcel(message(b"2"), "there", "ex")])
        broker.send([Parcel(message(b"3"), "there", "ex")])
        broker.send([Parcel(message(b"4"), "")])
    assert (server.call("LLEN", "q"), server.call("LLEN", "dead")) == (1, 3)
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == 2
    assert "no queue is bound to exchange 'ex' with the key 'there': such messages go to dead" in said[0]


def test_priorities_have_the_lists_of_the_options(server: servers.RedisServer, connect: Connect) -> None:
    broker = connect(priority_steps=[0, 5], sep=":", global_keyprefix="p.")
    for priority in (9, 4, 5):
        urgent = message()
        urgent.properties["priority"] = priority
        broker.send([Parcel(urgent, "q")])
    assert (server.call("LLEN", "p.q"), server.call("LLEN", "p.q:5")) == (1, 2)


def test_many_are_sent_at_once_in_order(connect: Connect) -> None:
    broker = connect()
    messages = numbered(2500)
    broker.send(to(QUEUE, messages))
    broker.listen([QUEUE], credit=5000)
    assert bodies(take_all(broker, 2500)) == bodies_of(messages)


# --- the clock


def test_what_is_held_is_renewed(server: servers.RedisServer, connect: Connect) -> None:
    broker = connect(visibility_timeout=4)
    broker.send(to(QUEUE, numbered(1)))
    broker.listen([QUEUE], credit=5)
    (taken,) = broker.take(5, 1)
    later = time.time() + 1000
    broker.tend(later)
    assert float(server.call("ZSCORE", "unacked_index", taken.tag)) == pytest.approx(later)


def test_a_clock_set_back_stops_nothing(server: servers.RedisServer, connect: Connect) -> None:
    broker = connect()
    broker.listen([QUEUE], credit=5)
    now = time.time()
    broker.tend(now + 1_000_000)
    assert broker.tend(now) <= now + 10


def test_a_dead_owners_messages_are_back_within_15_s_each_once(connect: Connect) -> None:
    dying = connect()
    peers = [connect() for _ in range(3)]
    dying.send(to(QUEUE, numbered(700)))
    dying.listen([QUEUE], credit=600)
    assert len(dying.take(600, 1)) == 600
    for peer in peers:
        peer.listen([QUEUE], credit=1000)
    rest = take_all(peers[0], 100)
    assert len(rest) == 100
    vanish(dying)
    started = time.monotonic()
    back: list[Delivery] = []
    while len(back) < 600:
        assert time.monotonic() - started < 15
        for peer in peers:
            peer.tend(time.time())
            back += peer.take(100, 0.02)
    for peer in peers:
        peer.tend(time.time() + 1000)
        back += peer.take(100, 0.05)
    assert sorted(bodies(back), key=int) == bodies_of(numbered(600))
    assert all(each.redelivered for each in back)


def test_what_a_lost_connection_held_is_back_at_once(connect: Connect) -> None:
    """To who lost it, or to any other; and what it had on its way when it was lost is not forgotten either."""
    lost, again = connect(lease=2), connect(lease=2)
    lost.send(to(QUEUE, numbered(30)))
    lost.listen([QUEUE], credit=20)
    held = lost.take(20, 1)
    assert len(held) == 20
    again.listen([QUEUE], credit=1000)
    lost.settle(acked(held[:5]))
    lost._link.settle()
    late = connect(lease=2)
    late.owner = lost.owner  # what it does is what the lost one had sent
    vanish(lost)
    lost.close()
    again.inherit(lost)
    first = take_all(again, 25)
    assert bodies(first) == bodies_of(numbered(30))[5:]
    assert [each.redelivered for each in first] == [True] * 15 + [False] * 10
    late.send(to(QUEUE, numbered(1)))
    late.listen([QUEUE], credit=1)
    late._serial = 100
    assert len(late.take(1, 1)) == 1
    vanish(late)
    began = time.monotonic()
    while not again.take(1, 0.05):
        again.tend(time.time())
        assert time.monotonic() - began < 30


def test_the_living_keep_what_they_hold(connect: Connect) -> None:
    holder, peer = connect(lease=0.4), connect(lease=0.4)
    holder.send(to(QUEUE, numbered(3)))
    holder.listen([QUEUE], credit=5)
    assert len(holder.take(5, 1)) == 3
    peer.listen([QUEUE], credit=5)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        holder.tend(time.time())
        peer.tend(time.time())
        assert peer.take(5, 0.05) == []


def test_what_is_overdue_is_swept_whoever_held_it(server: servers.RedisServer, connect: Connect) -> None:
    """A stock worker's, with an exchange that leads to two queues, with one that leads nowhere; and what is ugly."""
    broker = connect(visibility_timeout=10)
    one, two = Queue("one", "t", "topic", "a.#"), Queue("two", "t", "topic", "#")
    broker.declare([one, two])
    old = time.time() - 20
    envelope = b'{"body": "", "properties": {"delivery_info": {}}}'
    held = {"k1": b'[%b, "t", "a.b"]' % envelope, "k2": b'[%b, "gone", "lost"]' % envelope, "k3": b"no entry"}
    for tag, entry in held.items():
        server.call("HSET", "unacked", tag, entry)
        server.call("ZADD", "unacked_index", old, tag)
    server.call("ZADD", "unacked_index", old, "k4")
    server.call("HSET", "unacked", "young", held["k1"])
    server.call("ZADD", "unacked_index", time.time(), "young")
    broker.listen([Queue("else")], credit=5)
    broker.tend(time.time())
    assert [server.call("LLEN", each) for each in ("one", "two", "lost", "celeriac.stranded")] == [1, 1, 1, 1]
    assert server.call("HKEYS", "unacked") == [b"young"]
    assert server.call("ZRANGE", "unacked_index", 0, -1) == [b"young"]


def test_the_parked_survive_their_parker(server: servers.RedisServer, connect: Connect) -> None:
    parker, peer = connect(), connect()
    parker.send(to(QUEUE, numbered(1)))
    parker.listen([QUEUE], credit=5)
    (taken,) = parker.take(5, 1)
    far = time.time() + 500
    parker.settle([(taken, Park(far))])
    parker.tend(time.time())
    vanish(parker)
    assert server.call("HLEN", "unacked") == 0
    peer.listen([QUEUE], credit=5)
    peer.tend(time.time())
    assert peer.take(5, 0.05) == []
    peer.tend(far + 1)
    assert bodies(peer.take(5, 1)) == [b"0"]


# --- waiting


@pytest.mark.parametrize("denied", ["-client|tracking", "-hello"])
def test_where_redis_cannot_tell_the_lists_are_polled(
    server: servers.RedisServer, connect: Connect, denied: str
) -> None:
    url = server.add_user("plain", denied, needs=(7, 0) if "|" in denied else (6, 0))
    fan = Queue("fan", "news", "fanout", auto_delete=True)
    broker, other = connect(url), connect()
    broker.listen([QUEUE, fan], credit=5)
    assert broker.take(1, 0) == []
    with sent_after(0.3, other, *to(QUEUE, numbered(1))):
        assert bodies(broker.take(1, 5)) == [b"0"]
    with sent_after(0.3, other, Parcel(message(b"n"), "", "news", "fanout")):
        assert bodies(broker.take(1, 5)) == [b"n"]


def test_every_list_wakes_the_waiter(connect: Connect) -> None:
    queues = [Queue(f"q{number}") for number in range(5)]
    broker, other = connect(), connect()
    broker.listen(queues, credit=50)
    for queue in queues:
        for priority in (0, 3, 6, 9):
            assert broker.take(1, 0) == []
            sent = message()
            sent.properties["priority"] = priority
            started = time.monotonic()
            with sent_after(0.02, other, Parcel(sent, queue.name)):
                (taken,) = broker.take(1, 5)
            assert (taken.queue, taken.priority) == (queue.name, priority)
            assert time.monotonic() - started < 4
            broker.settle(acked([taken]))


# --- deadlines


@pytest.fixture
def wire(server: servers.RedisServer) -> Iterator[proxy.Proxy]:
    with proxy.to(server.port) as wire:
        yield wire


def through(wire: proxy.Proxy) -> str:
    return f"redis://127.0.0.1:{wire.port}/0"


@pytest.mark.parametrize("fault", ["stall", "half_open"])
def test_a_send_into_the_void_raises_in_time(connect: Connect, wire: proxy.Proxy, fault: str) -> None:
    broker = connect(through(wire), timeout=1)
    broker.send(to(QUEUE, numbered(1)))
    getattr(wire, fault)()
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"no answer while waiting for a reply, after 1\.\d s"):
        broker.send(to(QUEUE, numbered(1)))
    assert time.monotonic() - started < 3
    broker.close()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("fault", ["stall", "half_open", "cut"])
def test_a_taker_notices_that_its_redis_is_gone(connect: Connect, wire: proxy.Proxy, fault: str) -> None:
    broker = connect(through(wire), timeout=0.5, health_check_interval=0.3)
    broker.listen([QUEUE], credit=5)
    assert broker.take(1, 0.1) == []
    getattr(wire, fault)()
    started = time.monotonic()
    with pytest.raises(OperationalError):
        broker.take(1, 30)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("held", [0, 2])
def test_who_is_cut_off_tells_of_what_it_holds_and_of_nothing_else(
    held: int, connect: Connect, wire: proxy.Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    broker = connect(through(wire), timeout=0.5)
    broker.send(to(QUEUE, numbered(held)))
    broker.listen([QUEUE], credit=5)
    assert len(broker.take(5, 1 if held else 0.1)) == held
    wire.cut()
    broker.close()
    told = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert len(told) == bool(held), told
    assert all("2 messages could not be put back, and come back by themselves" in line for line in told)


def test_a_frozen_server_makes_a_send_raise_and_a_new_connection_finds_it_thawed() -> None:
    with servers.redis_server() as frozen:
        broker = brokers.connect(frozen.url, {}, 0.5)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(OperationalError):
                broker.send(to(QUEUE, numbered(1)))
            with pytest.raises(OperationalError):
                brokers.connect(frozen.url, {}, 0.5).send(to(QUEUE, numbered(1)))
            assert time.monotonic() - started < 4
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        broker.close()
        again = brokers.connect(frozen.url, {}, 4)
        again.send(to(QUEUE, numbered(1)))
        again.close()


def test_settlements_that_were_lost_are_counted(connect: Connect, wire: proxy.Proxy) -> None:
    broker = connect(through(wire), timeout=0.5)
    broker.send(to(QUEUE, numbered(3)))
    broker.listen([QUEUE], credit=5)
    taken = broker.take(5, 1)
    wire.cut()
    with suppress(OperationalError):
        broker.settle(acked(taken))  # may be written all the same: that nobody answers is told by the next call
    with pytest.raises(OperationalError):
        broker.size(QUEUE.name)
    assert broker.dropped == 3


def test_any_split_of_the_bytes_is_the_same(connect: Connect, wire: proxy.Proxy) -> None:
    wire.split(1)
    broker = connect(through(wire))
    broker.send(to(QUEUE, numbered(3)))
    broker.listen([QUEUE], credit=5)
    taken = take_all(broker, 3)
    assert bodies(taken) == [b"0", b"1", b"2"]


def test_no_password_is_ever_said(server: servers.RedisServer) -> None:
    with pytest.raises(OperationalError) as caught:
        brokers.connect(f"redis://somebody:s3cret@127.0.0.1:{server.port}/0")
    assert "s3cret" not in str(caught.value)
    assert "refused AUTH: " in str(caught.value)


def test_a_sweeper_that_dies_keeps_nobody_away_for_long(server: servers.RedisServer, connect: Connect) -> None:
    """Kombu's lock lasts five minutes: so long would a dead stock worker's messages wait."""
    broker = connect()
    asked: list[Any] = []

    def ask(*commands: Any) -> list[Any]:
        if asked:
            raise OperationalError("killed")
        asked.extend(commands)
        return broker._ask(*commands)

    with pytest.raises(OperationalError, match="killed"):
        Keeper(Layout(), "me", ask, {}, {}).sweep(time.time())
    assert 0 < server.call("PTTL", "unacked_mutex") <= 30_000

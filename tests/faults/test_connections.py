"""What networks and servers do to a broker's connection, at each instant of its life, for Redis and for RabbitMQ.

Whatever happens: a call completes or raises `OperationalError` within its deadline, nothing else, and afterwards every
message that was sent is in its queue, held for somebody, or done.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.wire.redis_held import parse_entry
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Delivery, Parcel, Queue, Verdict
from celeriac.worker.brokers.redis_opening import opened
from tests import proxy, servers
from tests.conformance.brokers import acked, bodies, message, numbered, take_all, to
from tests.faults.mortal import MortalRabbit

pytestmark = pytest.mark.real

LIMIT = 0.5  # of every operation, as configured here
SLACK = 2.5  # for closing, and for a machine that is busy
OPTIONS: dict[str, dict[str, Any]] = {
    "redis": {"socket_timeout": LIMIT},
    "amqp": {"timeout": LIMIT, "confirm_timeout": LIMIT, "connect_timeout": LIMIT},
}


class Place:
    """A broker's server, the way to it through a proxy, and the way past it."""

    def __init__(self, kind: str, url: str, port: int, wire: proxy.Proxy, redis: servers.RedisServer | None) -> None:
        self.kind = kind
        self.wire = wire
        self.queue = Queue(f"q-{uuid.uuid4()}")
        self._url = url
        self._through = url.replace(f":{port}/", f":{wire.port}/")
        self._redis = redis

    def connect(self, **options: Any) -> Broker:
        return brokers.connect(self._through, OPTIONS[self.kind] | options, LIMIT)

    def past(self) -> Broker:
        return brokers.connect(self._url, {}, 10)

    def left(self, expected: set[bytes]) -> list[bytes]:
        """The bodies that wait or are held for somebody; RabbitMQ gives back what a dead connection held."""
        if self._redis is not None:
            name = self.queue.name
            # In one instant: what a stalled connection had asked for may be done only now.
            for command in (("MULTI",), ("LRANGE", name, 0, -1), ("HVALS", "unacked")):
                self._redis.call(*command)
            waiting, held = self._redis.call("EXEC")
            envelopes = [*waiting, *(parse_entry(entry).envelope for entry in held)]
            return [opened(None, each, name).message.body for each in envelopes]
        broker = self.past()
        broker.declare([self.queue])
        broker.listen([self.queue], credit=1000)
        found: list[bytes] = []
        end = time.monotonic() + 20
        while time.monotonic() < end:
            taken = broker.take(1000, 0.1)
            found += bodies(taken)
            if not taken and expected <= set(found):
                break
        broker.settle([])
        broker.close()
        return found


@pytest.fixture(params=["redis", "amqp"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    server = request.getfixturevalue({"redis": "redis_server", "amqp": "rabbitmq_server"}[request.param])
    redis = server if request.param == "redis" else None
    if redis is not None:
        redis.call("FLUSHALL")
    with proxy.to(server.port) as wire:
        yield Place(request.param, server.url, server.port, wire, redis)


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        spent = time.monotonic() - started
        assert spent < seconds, f"{what} took {spent:.1f} s"


class Errand:
    """Everything one does with a broker, step by step, and what must be true of its messages afterwards."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.broker: Broker | None = None
        self.sent: set[bytes] = set()
        self.tried: set[bytes] = set()
        self.settled: set[bytes] = set()
        self.taken: list[Delivery] = []
        self.steps: dict[str, Callable[[], Any]] = {
            "connect": self.connect,
            "declare": lambda: self.open.declare([place.queue]),
            "send": lambda: self.send(b"one"),
            "bulk": lambda: self.send(*(b"%d" % number for number in range(40))),
            "large": lambda: self.send(b"large" * 100_000),
            "size": lambda: self.open.size(place.queue.name),
            "listen": lambda: self.open.listen([place.queue], credit=100),
            "take": self.take,
            "settle": self.settle,
            "tend": lambda: self.open.tend(time.time()),
            "send again": lambda: self.send(b"again"),
            "purge": lambda: self.open.purge("another-queue"),
            "close": self.close,
        }

    @property
    def open(self) -> Broker:
        assert self.broker is not None
        return self.broker

    def close(self) -> None:
        self.open.close()

    def connect(self) -> None:
        self.broker = self.place.connect()

    def send(self, *bodies: bytes) -> None:
        self.tried.update(bodies)
        self.open.send([Parcel(message(body), self.place.queue.name) for body in bodies])
        self.sent.update(bodies)

    def take(self) -> None:
        self.taken = self.open.take(20, LIMIT)

    def settle(self) -> None:
        self.settled.update(bodies(self.taken))
        self.open.settle(acked(self.taken))

    def run(self, before: str | None = None, harm: Callable[[], None] = lambda: None) -> None:
        """All steps, or until the first that fails. `harm` happens before that step."""
        try:
            for name, step in self.steps.items():
                if name == before:
                    harm()
                with within(LIMIT + SLACK, name):
                    step()
        except OperationalError:
            pass
        finally:
            if self.broker is not None:
                with within(LIMIT + SLACK, "the last close"):
                    self.broker.close()

    def check(self) -> None:
        """Nothing is nowhere, nothing is there twice, nothing appeared that nobody sent."""
        self.place.wire.heal()
        found = Counter(self.place.left(self.sent - self.settled))
        assert self.sent - self.settled <= set(found)
        assert set(found) <= self.tried
        assert not [body for body, count in found.items() if count > 1]


STEPS = ["connect", "declare", "send", "bulk", "large", "size", "listen", "take", "settle", "tend", "purge", "close"]


@pytest.mark.parametrize("harm", ["cut", "stall", "half_open", "refuse"])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_happens_before_a_step(place: Place, step: str, harm: str) -> None:
    errand = Errand(place)
    errand.run(step, getattr(place.wire, harm))
    errand.check()


@pytest.mark.parametrize("toward", [proxy.SERVER, proxy.CLIENT])
@pytest.mark.parametrize("harm", ["cut_after", "stall_after"])
def test_whatever_happens_between_two_bytes(place: Place, harm: str, toward: str) -> None:
    whole = Errand(place)
    whole.steps.pop("large")
    whole.run()
    whole.check()
    count = place.wire.passed[toward]
    tries = 20 if harm == "cut_after" else 4
    for offset in sorted(random.sample(range(1, count), tries)):
        place.queue = Queue(f"q-{uuid.uuid4()}")
        if place._redis is not None:
            place._redis.call("FLUSHALL")
        errand = Errand(place)
        errand.steps.pop("large")
        getattr(place.wire, harm)(offset, toward)
        errand.run()
        errand.check()


def test_every_byte_in_a_packet_of_its_own(place: Place) -> None:
    place.wire.split()
    broker = brokers.connect(place._through, {}, 30)
    broker.declare([place.queue])
    broker.send(to(place.queue, numbered(60)))
    broker.listen([place.queue], credit=100)
    taken = take_all(broker, 60, 30)
    assert bodies(taken) == [b"%d" % number for number in range(60)]
    broker.settle([(each, Verdict.ACK) for each in taken])
    broker.tend(time.time())
    assert broker.size(place.queue.name) == 0
    broker.close()


def waits_until_it_fails(broker: Broker) -> float:
    """How long a taker, who does what a worker does, went on before it was told."""
    started = time.monotonic()

    def work() -> None:
        while time.monotonic() < started + 20:
            broker.take(10, 0.1)
            broker.tend(time.time())

    with pytest.raises(OperationalError):
        work()
    return time.monotonic() - started


@pytest.mark.parametrize("harm", ["half_open", "stall"])
def test_an_idle_taker_notices_that_nobody_is_there(place: Place, harm: str, figures: list[str]) -> None:
    """Within three heartbeats of one second; on Redis within the health check, of one second, and its deadline."""
    broker = place.connect(**{"redis": {"health_check_interval": 1}, "amqp": {"heartbeat": 1}}[place.kind])
    broker.declare([place.queue])
    broker.listen([place.queue], credit=10)
    assert broker.take(1, 0.05) == []
    getattr(place.wire, harm)()
    spent = waits_until_it_fails(broker)
    broker.close()
    figures.append(f"{place.kind}: an idle taker noticed {harm} after {spent:.1f} s (heartbeat, health check: 1 s)")
    assert spent < 3.5


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The server and whatever belongs to its group stand still."""
    group = os.getpgid(pid)
    assert group != os.getpgid(0)
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


def test_a_frozen_server_makes_a_call_raise(place: Place, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue({"redis": "redis_server", "amqp": "rabbitmq_server"}[place.kind])
    sender, taker = place.connect(), place.connect()
    sender.declare([place.queue])
    sender.send(to(place.queue, numbered(1)))
    taker.listen([place.queue], credit=10)
    assert bodies(take_all(taker, 1)) == [b"0"]

    def connect_and_ask() -> None:
        broker = place.connect()
        try:
            broker.size(place.queue.name)
        finally:
            broker.close()

    with frozen(server.pid):
        with within(LIMIT + SLACK, "a send"), pytest.raises(OperationalError):
            sender.send(to(place.queue, numbered(200)))
        with within(LIMIT + SLACK, "connecting and asking"), pytest.raises(OperationalError):
            connect_and_ask()
        with within(LIMIT + SLACK, "asking for a size"), pytest.raises(OperationalError):
            taker.size(place.queue.name)
        with within(LIMIT + SLACK, "closing"):
            sender.close()
            taker.close()
    # The frozen send may have arrived, as it says; what was held came back, or is still held.
    assert b"0" in place.left({b"0"})


def test_what_rabbitmq_confirmed_survives_its_death(figures: list[str]) -> None:
    """It is killed in the middle of bulk sends, and started again on what it has on its disk."""
    confirmed = tried = 0
    queue = Queue("lasting")
    with rabbitmq_that_dies() as server:
        server.start()
        broker = brokers.connect(server.url, {"timeout": 5})
        broker.declare([queue])
        killer = threading.Timer(random.uniform(0.1, 0.4), server.kill)
        with suppress(OperationalError):
            while tried < 200_000:
                part = [Parcel(message(b"%d" % (tried + number)), queue.name) for number in range(500)]
                tried += len(part)
                broker.send(part)
                confirmed += len(part)
                if confirmed == len(part):
                    killer.start()
        killer.join()
        broker.close()
        server.start()
        broker = brokers.connect(server.url, {}, 10)
        broker.declare([queue])
        size = broker.size(queue.name)
        broker.listen([queue], credit=2000, acks=False)
        found = {int(body) for body in bodies(take_all(broker, max(size, confirmed), 60))}
        broker.close()
    figures.append(f"RabbitMQ killed in a bulk send: {tried} tried, {confirmed} confirmed, {len(found)} there after")
    assert set(range(confirmed)) <= found <= set(range(tried))


@contextmanager
def rabbitmq_that_dies() -> Iterator[MortalRabbit]:
    with servers._folder("mortal") as home:
        server = MortalRabbit(home)
        try:
            yield server
        finally:
            server.close()

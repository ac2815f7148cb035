"""The RabbitMQ broker on a bad network: half-open, frozen, cut, split at every byte; and when its server is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Delivery, Queue
from tests import proxy, servers
from tests.conformance.brokers import acked, bodies, bodies_of, message, numbered, take_all, to
from tests.servers import RabbitServer

pytestmark = pytest.mark.real


@pytest.fixture
def wire(rabbitmq_server: RabbitServer) -> Iterator[proxy.Proxy]:
    with proxy.to(rabbitmq_server.port) as wire:
        yield wire


@pytest.fixture
def queue(rabbitmq_server: RabbitServer) -> Queue:
    queue = Queue(f"q-{uuid.uuid4()}")
    broker = brokers.connect(rabbitmq_server.url)
    broker.declare([queue])
    broker.close()
    return queue


def through(wire: proxy.Proxy, **options: Any) -> Broker:
    return brokers.connect(f"amqp://127.0.0.1:{wire.port}//", options)


def waiting(server: RabbitServer, queue: Queue) -> list[bytes]:
    broker = brokers.connect(server.url)
    broker.listen([queue], credit=1000)
    found: list[Delivery] = []
    end = time.monotonic() + 30
    there = broker.size(queue.name)
    while (more := take_all(broker, 1, within=0.5)) or (there and time.monotonic() < end):
        broker.settle(acked(more))
        found += more
        there = broker.size(queue.name)
    broker.close()
    return bodies(found)


def test_a_half_open_connection_is_noticed_within_three_heartbeats(wire: proxy.Proxy, queue: Queue) -> None:
    broker = through(wire, heartbeat=1)
    broker.listen([queue], credit=1)
    wire.half_open()
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"nothing was heard for 2.\d s, with a heartbeat of 1 s"):
        broker.take(1, 30)
    assert time.monotonic() - started < 3
    broker.close()


def test_a_half_open_connection_is_noticed_by_who_only_tends_it(wire: proxy.Proxy, queue: Queue) -> None:
    broker = through(wire, heartbeat=1)
    wire.half_open()
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"nothing was heard"):
        tend_for(broker, 10)
    assert time.monotonic() - started < 3
    broker.close()


def tend_for(broker: Broker, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(max(broker.tend(time.time()) - time.time(), 0))


def test_heartbeats_keep_an_idle_connection(wire: proxy.Proxy, rabbitmq_server: RabbitServer, queue: Queue) -> None:
    """RabbitMQ closes what is silent for two heartbeats."""
    broker = through(wire, heartbeat=1)
    tend_for(broker, 3.5)
    broker.send(to(queue, numbered(1)))
    assert broker.size(queue.name) == 1
    broker.close()


def test_a_send_into_a_frozen_server_raises(wire: proxy.Proxy, rabbitmq_server: RabbitServer, queue: Queue) -> None:
    broker = through(wire, confirm_timeout=0.5)
    broker.send(to(queue, numbered(1)))
    wire.stall()
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"1 messages were not confirmed within 0.5 s"):
        broker.send(to(queue, numbered(1)))
    with pytest.raises(OperationalError):
        broker.send(to(queue, numbered(1)))
    broker.close()
    assert time.monotonic() - started < 3


def test_more_than_the_buffers_hold_into_a_frozen_server_raises(wire: proxy.Proxy, queue: Queue) -> None:
    broker = through(wire, confirm_timeout=0.5)
    broker.send(to(queue, numbered(1)))
    wire.stall()
    with pytest.raises(OperationalError, match=r"took none of our bytes for 0.5 s"):
        broker.send(to(queue, [message(b"x" * 40_000_000)]))
    broker.close()


def test_connecting_to_a_frozen_server_raises(wire: proxy.Proxy) -> None:
    wire.stall()
    with pytest.raises(OperationalError, match=r"logging in failed after 0.\d s: no connection.start came"):
        brokers.connect(f"amqp://127.0.0.1:{wire.port}//", {}, 0.5)


def test_every_message_arrives_when_the_wire_splits_every_byte(wire: proxy.Proxy, queue: Queue) -> None:
    wire.split(1)
    broker = through(wire)
    broker.listen([queue], credit=50)
    broker.send(to(queue, numbered(30)))
    taken = take_all(broker, 30, within=20)
    assert bodies(taken) == bodies_of(numbered(30))
    broker.settle(acked(taken))
    broker.close()


def test_cut_at_any_byte_a_send_has_arrived_or_raises(
    wire: proxy.Proxy, rabbitmq_server: RabbitServer, queue: Queue
) -> None:
    confirmed: list[bytes] = []
    for number in range(25):
        broker = through(wire)
        broker.send(to(queue, [message(b"first %d" % number)]))
        confirmed.append(b"first %d" % number)
        wire.cut_after(number * 7 + 1)
        body = b"cut %d" % number
        try:
            broker.send(to(queue, [message(body)]))
        except OperationalError:
            pass
        else:
            confirmed.append(body)
        broker.close()
        wire.heal()
    there = waiting(rabbitmq_server, queue)
    assert set(confirmed) <= set(there)
    assert len(there) == len(set(there))


def test_what_was_held_when_the_wire_was_cut_comes_back(
    wire: proxy.Proxy, rabbitmq_server: RabbitServer, queue: Queue
) -> None:
    broker = through(wire)
    broker.send(to(queue, numbered(10)))
    broker.listen([queue], credit=5)
    taken = take_all(broker, 5)
    broker.settle(acked(taken[:2]))
    broker.tend(time.time())
    broker.size(queue.name)
    wire.cut()

    def take_until_it_breaks() -> None:
        while True:  # two more may have come in place of the acknowledged, before the cut
            broker.take(5, 5)

    with pytest.raises(OperationalError, match=r"the connection broke: Connection reset by peer"):
        take_until_it_breaks()
    broker.settle(acked(taken[2:]))
    assert broker.dropped == 3  # type: ignore[attr-defined]  # RabbitMQ's own
    broker.close()
    assert sorted(waiting(rabbitmq_server, queue)) == bodies_of(numbered(10))[2:]


def test_a_server_killed_during_sends_has_what_was_confirmed() -> None:
    """Durable queue, persistent messages: confirmed is on disk. Every other send raised, none hung."""
    confirmed: list[bytes] = []
    raised: list[str] = []
    with servers.rabbitmq_server() as server:
        broker = brokers.connect(server.url, {"timeout": 5})
        queue = Queue("survivors")
        broker.declare([queue])

        def send() -> None:
            number = 0
            while not raised:
                body = b"%d" % (number := number + 1)
                try:
                    broker.send(to(queue, [message(body)]))
                    confirmed.append(body)
                except OperationalError as why:
                    raised.append(str(why))

        sender = threading.Thread(target=send)
        sender.start()
        while len(confirmed) < 50:
            time.sleep(0.01)
        os.killpg(server.pid, signal.SIGKILL)
        sender.join(20)
        assert not sender.is_alive(), "a send hangs"
        broker.close()
        assert len(raised) == 1
        assert raised[0].startswith("AMQP broker 127.0.0.1")
        restarted = start_again(server)
        try:
            assert set(confirmed) <= set(waiting(server, queue))
        finally:
            servers._stop(restarted)


def start_again(server: RabbitServer) -> subprocess.Popen[bytes]:
    """The same node, on the same data."""
    epmd_port = server.node.partition("@")[0].rpartition("-")[2]
    local = {"ERL_EPMD_PORT": epmd_port, "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": str(server.home)}
    inner = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    program = str(inner) if inner.exists() else servers._program("rabbitmq-server")
    settings = servers._rabbit_settings(server.home, server.node, server.port)
    process = servers._spawn([program], server.home, local | settings)
    answers = partial(servers._rabbit_answers, server.port)
    servers._wait_for(answers, process, "rabbitmq-server", server.home / "output", seconds=120)
    return process

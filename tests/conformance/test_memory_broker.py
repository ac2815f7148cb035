"""The memory broker against the contract, and what is its own."""

from __future__ import annotations

import time
import uuid

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue, Verdict
from tests.conformance.brokers import BrokerContract, Connect, bodies, message, numbered, take_all, to


@pytest.fixture
def connect() -> Connect:
    url = f"memory://{uuid.uuid4()}"
    return lambda: brokers.connect(url)


class TestMemory(BrokerContract):
    @pytest.fixture
    def connect(self, connect: Connect) -> Connect:
        return connect


def test_a_queue_is_refused_that_would_be_half_served(connect: Connect) -> None:
    with pytest.raises(BadCall, match="does not do x-max-length"):
        connect().declare([Queue("q", arguments={"x-max-length": 5})])


def test_an_exclusive_queue_has_one_listener_and_dies_with_it(connect: Connect) -> None:
    one, two = connect(), connect()
    queue = Queue("mine", exclusive=True)
    one.listen([queue], credit=1)
    one.send([Parcel(message(), "mine")])
    with pytest.raises(BadCall, match="it is exclusive"):
        two.listen([queue], credit=1)
    one.close()
    assert two.size("mine") == 0


def test_a_message_that_outlived_its_ttl_is_not_served(connect: Connect) -> None:
    broker = connect()
    queue = Queue("brief", arguments={"x-message-ttl": 50})
    broker.declare([queue])
    broker.send([Parcel(message(), "brief")])
    time.sleep(0.1)
    broker.listen([queue], credit=1)
    assert broker.take(1, 0) == []


def test_a_queue_that_nobody_uses_is_deleted(connect: Connect) -> None:
    broker = connect()
    broker.declare([Queue("private", expires=0.05)])
    broker.send([Parcel(message(), "private")])
    time.sleep(0.1)
    broker.tend(time.time())
    assert broker.size("private") == 0


def test_a_message_of_a_deleted_queue_is_dropped_quietly(connect: Connect) -> None:
    broker = connect()
    broker.listen([Queue("gone", auto_delete=True)], credit=1)
    broker.listen([], credit=1)
    assert take_all(broker, 1, within=0.1) == []


def test_a_message_that_came_before_its_queue_does_not_cost_the_binding(connect: Connect) -> None:
    broker = connect()
    broker.send([Parcel(message(b"early"), "q")])
    broker.listen([Queue("q", "exchange", "direct", "key")], credit=5)
    broker.send([Parcel(message(b"late"), "key", "exchange")])
    assert bodies(broker.take(5, 0)) == [b"early", b"late"]


def test_listening_again_keeps_a_queue_that_dies_with_its_last_listener(connect: Connect) -> None:
    broker = connect()
    queue = Queue("mine", auto_delete=True)
    broker.listen([queue], credit=5)
    broker.send(to(queue, numbered(2)))
    broker.listen([queue, Queue("more")], credit=5)
    assert bodies(broker.take(5, 0)) == [b"0", b"1"]
    broker.listen([Queue("more")], credit=5)
    assert broker.size("mine") == 0


def test_what_outlived_its_ttl_is_dead_lettered(connect: Connect) -> None:
    broker = connect()
    arguments = {"x-message-ttl": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    queue = Queue("brief", arguments=arguments)
    broker.declare([queue])
    broker.send(to(queue, numbered(2)))
    time.sleep(0.01)
    broker.tend(time.time())
    broker.listen([Queue("dead")], credit=5)
    assert bodies(broker.take(5, 0)) == [b"0", b"1"]


def test_expiry_in_milliseconds_counts_as_well(connect: Connect) -> None:
    broker = connect()
    broker.declare([Queue("private", arguments={"x-expires": 20}), Queue("kept", "exchange", "fanout")])
    now = time.time()
    assert now < broker.tend(now) < now + 0.021
    time.sleep(0.03)
    broker.send([Parcel(message(), "private")])
    broker.tend(time.time())
    assert broker.size("private") == 0


def test_dropped_goes_through_the_exchange_as_it_was_declared(connect: Connect) -> None:
    broker = connect()
    dead = Queue("dead", "dlx", "topic", "dead.#")
    queue = Queue("q", arguments={"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "dead.q.now"})
    broker.declare([dead])
    broker.send(to(queue, numbered(1)))
    broker.listen([queue], credit=1)
    broker.settle([(each, Verdict.DROP) for each in broker.take(1, 0)])
    assert broker.size("dead") == 1


def test_an_exchange_of_no_known_type_is_refused(connect: Connect) -> None:
    with pytest.raises(BadCall, match="'headers' is unknown"):
        connect().declare([Queue("q", "exchange", "headers", "key")])


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(BadCall, match="no broker for 'smtp'; there are"):
        brokers.connect("smtp://localhost")

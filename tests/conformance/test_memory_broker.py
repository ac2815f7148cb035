"""The memory broker against the contract, and what is its own."""

from __future__ import annotations

import time
import uuid

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue
from tests.conformance.brokers import BrokerContract, Connect, message, take_all


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


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(BadCall, match="no broker for 'smtp'; there are"):
        brokers.connect("smtp://localhost")

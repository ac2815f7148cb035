"""The RabbitMQ broker against the contract: classic queues, then quorum queues."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Delivery, Queue, Verdict
from tests.conformance.brokers import BrokerContract, Connect, acked, bodies, bodies_of, numbered, take_all, to
from tests.servers import RabbitServer

pytestmark = pytest.mark.real


class Amqp(BrokerContract):
    @pytest.fixture
    def connect(self, rabbitmq_server: RabbitServer) -> Iterator[Connect]:
        made: list[Broker] = []

        def connect() -> Broker:
            made.append(brokers.connect(rabbitmq_server.url))
            return made[-1]

        yield connect
        for each in made:
            each.close()


class TestClassic(Amqp):
    pass


class TestQuorum(Amqp):
    @pytest.fixture
    def queue(self, broker: Broker) -> Queue:
        queue = Queue(f"q-{uuid.uuid4()}", arguments={"x-queue-type": "quorum"})
        broker.declare([queue])
        return queue

    def test_requeued_goes_behind_and_restored_in_front(self, broker: Broker, queue: Queue) -> None:
        """A quorum queue itself decides where a returned message goes: to its end, up to RabbitMQ 3.13 at least."""
        broker.send(to(queue, numbered(3)))
        broker.listen([queue], credit=1)
        (first,) = take_all(broker, 1)
        broker.settle([(first, Verdict.RESTORE)])
        (second,) = take_all(broker, 1)
        broker.settle([(second, Verdict.REQUEUE)])
        order = []
        for _ in range(3):
            (each,) = take_all(broker, 1)
            order.append((each.message.body, each.redelivered))
            broker.settle(acked([each]))
        assert sorted(order) in (
            [(b"0", True), (b"1", True), (b"2", False)],
            [(b"0", True), (b"1", False), (b"2", False)],  # where it went to the front
        )

    def test_restored_last_to_first_all_stand_where_they_stood(self, broker: Broker, queue: Queue) -> None:
        """None is lost, that is all: for the same reason."""
        broker.send(to(queue, numbered(5)))
        broker.listen([queue], credit=3)
        broker.settle([(each, Verdict.RESTORE) for each in reversed(take_all(broker, 3))])
        served: list[Delivery] = []
        while len(served) < 5 and (more := take_all(broker, 3)):
            broker.settle(acked(more))
            served += more
        assert sorted(bodies(served)) == bodies_of(numbered(5))

"""The RabbitMQ broker and a real RabbitMQ: queues declared otherwise, nowhere to go, full, exclusive, parked twice."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.amqp import AmqpBroker
from celeriac.worker.brokers.base import Parcel, Park, Queue, Verdict
from tests.conformance.brokers import acked, bodies, bodies_of, message, numbered, take_all, to
from tests.servers import RabbitServer

pytestmark = pytest.mark.real

Connect = Callable[..., AmqpBroker]


@pytest.fixture
def connect(rabbitmq_server: RabbitServer) -> Iterator[Connect]:
    made: list[AmqpBroker] = []

    def connect(**options: Any) -> AmqpBroker:
        broker = brokers.connect(rabbitmq_server.url, options)
        assert isinstance(broker, AmqpBroker)
        made.append(broker)
        return broker

    yield connect
    for each in made:
        each.close()


@pytest.fixture
def name() -> str:
    return f"q-{uuid.uuid4()}"


def test_a_queue_declared_otherwise_is_used_as_it_is(
    connect: Connect, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = connect()
    broker.declare([Queue(name, arguments={"x-max-priority": 5})])
    with caplog.at_level(logging.WARNING, "celeriac.broker"):
        broker.declare([Queue(name), Queue(f"{name}-b"), Queue(name)])
        broker.listen([Queue(name), Queue(f"{name}-b")], credit=10)
    assert caplog.text.count(f"queue.declare {name}: used as it is found there: PRECONDITION_FAILED") == 1
    broker.send([*to(Queue(name), numbered(2)), *to(Queue(f"{name}-b"), numbered(1))])
    assert sorted(bodies(take_all(broker, 3))) == [b"0", b"0", b"1"]


def test_an_exchange_of_another_kind_is_used_as_it_is(
    connect: Connect, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = connect()
    broker.declare([Queue(name, f"x-{name}", "topic", "a.*")])
    broker.declare([Queue(f"{name}-b", f"x-{name}", "direct", "a.b")])
    assert f"exchange.declare x-{name}: used as it is found" in caplog.text
    broker.send([Parcel(message(), "a.b", f"x-{name}", "topic")])
    assert (broker.size(name), broker.size(f"{name}-b")) == (1, 1)


def test_a_queue_that_is_not_there_is_named(connect: Connect, name: str) -> None:
    with pytest.raises(OperationalError, match=rf"there is no queue named {name}: 2 messages had nowhere to go"):
        connect().send(to(Queue(name), numbered(2)))


def test_who_minds_no_missing_queue_may_say_so(connect: Connect, name: str) -> None:
    connect(mandatory=False).send(to(Queue(name), numbered(2)))


def test_without_confirms_what_had_nowhere_to_go_is_logged(
    connect: Connect, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = connect(confirm_publish=False)
    broker.send(to(Queue(name), numbered(2)))
    end = time.monotonic() + 20
    while "had nowhere to go" not in caplog.text and time.monotonic() < end:
        broker.send([Parcel(message(), "", "amq.fanout", "fanout")])  # is not mandatory, so it may go nowhere
    assert f"there is no queue named {name}: " in caplog.text
    assert broker._outbox._returned == []


def test_an_exchange_that_is_not_there_is_named(connect: Connect, name: str) -> None:
    with pytest.raises(
        OperationalError, match=rf"no exchange '{name}' in vhost '/'.*nobody has declared this exchange"
    ):
        connect().send([Parcel(message(), "k", name)])


def test_a_full_queue_refuses(connect: Connect, name: str) -> None:
    broker = connect()
    full = Queue(name, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    broker.declare([full])
    with pytest.raises(OperationalError, match=r"it refused \d+ messages"):
        broker.send(to(full, numbered(5)))


def test_what_a_full_queue_does_not_take_back_behind_goes_back_in_front(connect: Connect, name: str) -> None:
    broker = connect()
    full = Queue(name, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    broker.listen([full], credit=1)
    broker.send(to(full, [message(b"held")]))
    (held,) = take_all(broker, 1)
    broker.send(to(full, [message(b"fills it")]))
    broker.settle([(held, Verdict.REQUEUE)])
    served = take_all(broker, 1)
    broker.settle(acked(served))
    served += take_all(broker, 1)
    assert sorted(bodies(served)) == [b"fills it", b"held"]


def test_an_exclusive_queue_of_somebody_else_is_named(connect: Connect, name: str) -> None:
    mine = Queue(name, exclusive=True, durable=False, auto_delete=True, expires=10)
    one, two = connect(), connect()
    one.listen([mine], credit=1, acks=False)
    with pytest.raises(OperationalError, match=rf"queue.declare {name}: 405 .*a second worker of the same name"):
        two.listen([mine], credit=1, acks=False)
    one.send([Parcel(message(), name)])
    assert len(take_all(one, 1)) == 1


def test_a_queue_deleted_under_its_listener_is_noticed(connect: Connect, name: str) -> None:
    broker, other = connect(), connect()
    broker.listen([Queue(name)], credit=1)
    other._channels.open(9, "deleting")
    other._channels.ask(9, [("queue.delete", {"queue": name})])
    with pytest.raises(OperationalError, match=rf"queue {name} was deleted"):
        broker.take(1, 10)


def test_a_message_may_be_parked_again_and_again(connect: Connect, name: str) -> None:
    """RabbitMQ takes a message that comes to a waiting queue twice for a loop, unless its traces are removed."""
    broker = connect(delayed_delivery="classic")
    queue = Queue(name, f"x-{name}", "topic", f"jobs.{name}")
    bystander = Queue(f"x.{name}", f"x-{name}", "topic", f"jobs.{name}")
    broker.listen([queue], credit=5)
    broker.declare([bystander])
    sent = Message(b"b", "application/json", "utf-8", {"id": "i"}, {"expiration": "100000", "priority": 3})
    broker.send([Parcel(sent, name)])
    for _ in range(2):
        (taken,) = take_all(broker, 1, within=10)
        assert (taken.message.headers, taken.exchange, taken.routing_key) == ({"id": "i"}, "", name)
        assert (taken.message.body, taken.priority) == (b"b", 3)
        broker.settle([(taken, Park(time.time() + 2.5))])  # three seconds: through two waiting queues
        broker.tend(time.time())
    assert bodies(take_all(broker, 1, within=10)) == [b"b"]
    assert broker.size(bystander.name) == 0


def test_what_was_requeued_can_be_requeued_again(connect: Connect, name: str) -> None:
    broker = connect()
    broker.listen([Queue(name)], credit=5)
    broker.send(to(Queue(name), [message(b"b", CC=["nowhere"])]))
    for _ in range(3):
        (taken,) = take_all(broker, 1)
        broker.settle([(taken, Verdict.REQUEUE)])
    (taken,) = take_all(broker, 1)
    assert taken.redelivered
    assert "redelivered" not in taken.message.headers


def test_many_are_sent_at_once_and_all_arrive_in_order(connect: Connect, name: str) -> None:
    broker, other = connect(), connect()
    queue = Queue(name)
    broker.declare([queue])
    other.listen([queue], credit=500)
    broker.send(to(queue, numbered(10_000)))
    served: list[bytes] = []
    while len(served) < 10_000 and (taken := other.take(500, 5)):
        served += bodies(taken)
        other.settle(acked(taken))
    assert served == bodies_of(numbered(10_000))


def test_without_confirms_a_send_returns_at_once(connect: Connect, name: str) -> None:
    broker = connect(confirm_publish=False)
    assert "confirm" not in broker.can
    broker.listen([Queue(name)], credit=10)
    broker.send(to(Queue(name), numbered(2)))
    first, second = take_all(broker, 2)
    broker.settle([(first, Verdict.REQUEUE), (second, Verdict.ACK)])
    assert bodies(take_all(broker, 1)) == [b"0"]


def test_what_was_heard_while_asking_rings_the_bell(connect: Connect, name: str) -> None:
    import select

    broker, other = connect(), connect()
    broker.listen([Queue(name)], credit=10)
    descriptor = broker.fileno()
    other.send(to(Queue(name), numbered(2)))
    while not any(line.waiting for line in broker._turns):
        broker.size(name)
    assert select.select([descriptor], [], [], 0)[0]
    assert len(broker.take(1, 1)) == 1
    while len(broker._turns[0].waiting) < 1:
        broker.size(name)
    assert select.select([descriptor], [], [], 0)[0]
    assert len(broker.take(1, 1)) == 1
    assert not select.select([descriptor], [], [], 0)[0]


def test_a_locked_out_user_reads_why(rabbitmq_server: RabbitServer) -> None:
    with pytest.raises(OperationalError, match=r"403 access-refused .*wrong user or password") as caught:
        brokers.connect(f"amqp://guest:hunter2@127.0.0.1:{rabbitmq_server.port}//")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(OperationalError, match=r"530 not-allowed .*vhost nowhere not found"):
        brokers.connect(f"amqp://127.0.0.1:{rabbitmq_server.port}/nowhere")


def test_amqplain_is_spoken_too(rabbitmq_server: RabbitServer) -> None:
    brokers.connect(f"pyamqp://127.0.0.1:{rabbitmq_server.port}//?login_method=AMQPLAIN").close()

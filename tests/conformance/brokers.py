"""The contract of a broker as a suite. A broker proves itself by a subclass with one fixture, `connect`.

    class TestMemory(BrokerContract):
        @pytest.fixture
        def connect(self) -> Iterator[Connect]: ...

What a broker does not claim in `can` is not asked of it; everything else is.
"""

from __future__ import annotations

import select
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from celeriac.protocol.wire.amqp.contents import write_message
from celeriac.protocol.wire.message import Message, Posting, Task
from celeriac.protocol.wire.template import Particulars, Template
from celeriac.worker.brokers.base import ABILITIES, Again, Broker, Delivery, Parcel, Park, Queue, Verdict

Connect = Callable[[], Broker]
SOON = 5.0


def message(body: bytes = b"[[], {}, {}]", **changes: Any) -> Message:
    properties = {"correlation_id": "i", "reply_to": "r", "delivery_mode": 2, "priority": 0}
    return Message(body, "application/json", "utf-8", {"task": "t", "id": "i"} | changes, properties)


def numbered(count: int) -> list[Message]:
    return [message(str(number).encode()) for number in range(count)]


def to(queue: Queue, messages: Sequence[Message]) -> list[Parcel]:
    return [Parcel(each, queue.name) for each in messages]


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [each.message.body for each in deliveries]


def acked(deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Verdict]]:
    return [(each, Verdict.ACK) for each in deliveries]


def take_all(broker: Broker, count: int, within: float = SOON) -> list[Delivery]:
    """Until there are so many, or it has taken too long; and a little longer, to see that there are no more."""
    taken: list[Delivery] = []
    end = time.monotonic() + within
    while len(taken) < count and time.monotonic() < end:
        broker.tend(time.time())
        taken += broker.take(count - len(taken), 0.1)
    return taken + broker.take(100, 0.05)


class BrokerContract:
    """Each test is a sentence of `worker/brokers/base.py`."""

    @pytest.fixture
    def connect(self) -> Iterator[Connect]:
        raise NotImplementedError

    @pytest.fixture
    def broker(self, connect: Connect) -> Iterator[Broker]:
        broker = connect()
        yield broker
        broker.close()

    @pytest.fixture
    def other(self, connect: Connect) -> Iterator[Broker]:
        broker = connect()
        yield broker
        broker.close()

    @pytest.fixture
    def queue(self, broker: Broker) -> Queue:
        queue = Queue(f"q-{uuid.uuid4()}")
        broker.declare([queue])
        return queue

    def needs(self, broker: Broker, ability: str) -> None:
        if ability not in broker.can:
            pytest.skip(f"does not claim it: {ABILITIES[ability]}")

    def test_it_claims_what_the_contract_knows(self, broker: Broker) -> None:
        assert broker.can <= set(ABILITIES)

    def test_what_is_sent_is_taken_as_it_was(self, broker: Broker, queue: Queue) -> None:
        sent = message(b"\x00\xff\xfe binary", eta=None, nested={"a": [1, None, "\u00e9", 1.5]}, big=2**40)
        broker.send([Parcel(sent, queue.name)])
        broker.listen([queue], credit=10)
        (taken,) = take_all(broker, 1)
        assert (taken.message.body, taken.message.content_type) == (sent.body, sent.content_type)
        assert (taken.message.content_encoding, taken.message.headers) == (sent.content_encoding, sent.headers)
        assert {name: taken.message.properties[name] for name in sent.properties} == sent.properties
        assert (taken.queue, taken.redelivered, taken.priority) == (queue.name, False, 0)
        assert (taken.exchange, taken.routing_key) == ("", queue.name)

    def test_texts_are_sent_as_they_are(self, broker: Broker, queue: Queue) -> None:
        self.needs(broker, "texts")
        blank = Message(b"body", "application/json", "utf-8", {}, {"priority": 3})
        broker.send([Parcel(blank, queue.name, texts=('{"task": "t", "n": 1.0}', '{"correlation_id": "i"}'))])
        broker.listen([queue], credit=10)
        (taken,) = take_all(broker, 1)
        assert (taken.message.body, taken.message.headers) == (b"body", {"task": "t", "n": 1.0})
        assert taken.message.properties == {"correlation_id": "i", "priority": 3}
        assert taken.priority == 3

    def test_a_form_sends_what_the_parcels_would(self, broker: Any, queue: Queue) -> None:
        self.needs(broker, "form")
        template = Template.of(Task("add", "", argsrepr="100 %s"), Posting(priority=3))
        form = broker.form(template, queue.name, "", "direct")
        given = [Particulars(f"id{n}", (n, "\x00ä%s"), {"k": n}, f"({n},)", "%d") for n in range(5)]
        pieces = [form.fill(each) for each in given]
        broker.send_filled(form, pieces[:1])
        broker.send_filled(form, pieces[1:])
        broker.send([Parcel(template.message(each), queue.name) for each in given])
        broker.listen([queue], credit=20)
        found = take_all(broker, 10)
        assert [each.message for each in found[:5]] == [each.message for each in found[5:]]
        assert [each.message.headers["id"] for each in found[:5]] == [each.id for each in given]

    def test_content_is_sent_as_it_is(self, broker: Broker, queue: Queue) -> None:
        self.needs(broker, "content")
        known = message(b"body", mine=1)
        broker.send([Parcel(Message(known.body), queue.name, content=write_message(known))])
        broker.listen([queue], credit=1)
        (taken,) = take_all(broker, 1)
        assert (taken.message.body, taken.message.headers) == (known.body, known.headers)
        assert taken.message.content_type == known.content_type

    @pytest.mark.parametrize("body", [b"", b"x" * 2_000_000, "\u2603".encode() * 1000], ids=["empty", "2 MB", "snow"])
    def test_any_body_arrives(self, broker: Broker, queue: Queue, body: bytes) -> None:
        broker.send([Parcel(message(body), queue.name)])
        broker.listen([queue], credit=10)
        assert bodies(take_all(broker, 1)) == [body]

    def test_messages_are_served_in_the_order_they_were_sent(self, broker: Broker, queue: Queue) -> None:
        messages = numbered(300)
        broker.send(to(queue, messages[:100]))
        for each in messages[100:110]:
            broker.send(to(queue, [each]))
        broker.send(to(queue, messages[110:]))
        broker.listen([queue], credit=1000)
        assert bodies(take_all(broker, 300)) == bodies_of(messages)

    def test_declaring_again_changes_nothing(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(3)))
        broker.declare([queue, queue])
        assert broker.size(queue.name) == 3

    def test_sending_nothing_is_nothing(self, broker: Broker, queue: Queue) -> None:
        broker.send([])
        assert broker.size(queue.name) == 0

    def test_a_queue_that_does_not_exist_is_empty(self, broker: Broker) -> None:
        assert broker.size(f"nowhere-{uuid.uuid4()}") == 0
        assert broker.purge(f"nowhere-{uuid.uuid4()}") == 0

    def test_purging_says_how_much_it_was_and_leaves_what_is_held(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(5)))
        broker.listen([queue], credit=2)
        held = take_all(broker, 2)
        assert broker.purge(queue.name) == 3
        broker.settle([(each, Verdict.RESTORE) for each in held])
        assert sorted(bodies(take_all(broker, 2))) == [b"0", b"1"]

    def test_no_more_is_taken_than_the_credit(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(10)))
        broker.listen([queue], credit=3)
        first = take_all(broker, 10, within=0.5)
        assert bodies(first) == [b"0", b"1", b"2"]
        broker.settle(acked(first[:2]))
        assert bodies(take_all(broker, 10, within=0.5)) == [b"3", b"4"]

    def test_no_more_is_taken_than_the_limit(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(10)))
        broker.listen([queue], credit=10)
        assert 1 <= len(broker.take(2, SOON)) <= 2

    def test_what_is_acknowledged_is_gone(self, connect: Connect, broker: Broker, queue: Queue) -> None:
        consumer = connect()
        broker.send(to(queue, numbered(4)))
        consumer.listen([queue], credit=10)
        consumer.settle(acked(take_all(consumer, 4)))
        consumer.close()
        broker.listen([queue], credit=10)
        assert take_all(broker, 1, within=0.3) == []

    def test_what_is_held_comes_back_when_its_holder_leaves(
        self, connect: Connect, broker: Broker, queue: Queue
    ) -> None:
        consumer = connect()
        broker.send(to(queue, numbered(5)))
        consumer.listen([queue], credit=3)
        consumer.settle(acked(take_all(consumer, 3)[:1]))
        consumer.close()
        consumer.close()
        broker.listen([queue], credit=10)
        back = take_all(broker, 4)
        assert sorted(bodies(back)) == [b"1", b"2", b"3", b"4"]
        assert {each.message.body: each.redelivered for each in back}[b"1"]

    def test_requeued_goes_behind_and_restored_in_front(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(3)))
        broker.listen([queue], credit=1)
        (first,) = take_all(broker, 1)
        broker.settle([(first, Verdict.RESTORE)])
        (again,) = take_all(broker, 1)
        assert (again.message.body, again.redelivered) == (b"0", True)
        broker.settle([(again, Verdict.REQUEUE)])
        order = []
        for _ in range(3):
            (each,) = take_all(broker, 1)
            order.append(each)
            broker.settle(acked([each]))
        self.check_requeue_order(order)

    def check_requeue_order(self, order: Sequence[Delivery]) -> None:
        """For a broker whose requeue cannot go behind, to say so."""
        assert bodies(order) == [b"1", b"2", b"0"]
        assert [each.redelivered for each in order] == [False, False, True]

    def test_losses_are_told_to_whoever_takes_it_next(self, broker: Broker, other: Broker, queue: Queue) -> None:
        """And are no part of the message: what a task sends on does not have them."""
        broker.send(to(queue, numbered(2)))
        broker.listen([queue], credit=2)
        first, second = take_all(broker, 2)
        assert (first.losses, second.losses) == (0, 0)
        broker.settle([(first, Again(7)), (second, Verdict.RESTORE)])
        broker.close()
        other.listen([queue], credit=2)
        found = {each.message.body: each for each in take_all(other, 2)}
        assert {body: each.losses for body, each in found.items()} == {b"0": 7, b"1": 0}
        assert found[b"0"].redelivered
        assert "celeriac_losses" not in found[b"0"].message.headers
        other.settle([(found[b"0"], Verdict.RESTORE), (found[b"1"], Verdict.ACK)])
        (again,) = take_all(other, 1)
        assert again.losses == 7
        other.settle([(again, Verdict.ACK)])

    def test_restored_last_to_first_all_stand_where_they_stood(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(5)))
        broker.listen([queue], credit=3)
        held = take_all(broker, 3)
        broker.settle([(each, Verdict.RESTORE) for each in reversed(held)])
        back = take_all(broker, 3)
        broker.settle(acked(back))
        assert bodies(back + take_all(broker, 2)) == bodies_of(numbered(5))

    def test_dropped_is_gone(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(1)))
        broker.listen([queue], credit=1)
        broker.settle([(each, Verdict.DROP) for each in take_all(broker, 1)])
        assert take_all(broker, 1, within=0.3) == []

    def test_settling_twice_is_settling_once(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(2)))
        broker.listen([queue], credit=1)
        (first,) = take_all(broker, 1)
        broker.settle(acked([first]))
        broker.settle([(first, Verdict.RESTORE)])
        assert bodies(take_all(broker, 2, within=0.3)) == [b"1"]

    def test_without_acknowledgements_what_is_taken_is_gone(
        self, connect: Connect, broker: Broker, queue: Queue
    ) -> None:
        consumer = connect()
        consumer.listen([queue], credit=1, acks=False)
        broker.send(to(queue, numbered(3)))
        taken = take_all(consumer, 3)
        assert bodies(taken) == [b"0", b"1", b"2"]
        consumer.settle(acked(taken))
        consumer.close()
        broker.listen([queue], credit=10)
        assert take_all(broker, 1, within=0.3) == []

    def test_taking_waits_no_longer_than_told(self, broker: Broker, queue: Queue) -> None:
        broker.listen([queue], credit=10)
        started = time.monotonic()
        assert broker.take(1, 0.3) == []
        assert 0.2 < time.monotonic() - started < SOON
        started = time.monotonic()
        assert broker.take(1, 0) == []
        assert time.monotonic() - started < 1

    def test_taking_ends_its_wait_when_something_arrives(self, broker: Broker, other: Broker, queue: Queue) -> None:
        broker.listen([queue], credit=10)
        sender = threading.Timer(0.3, lambda: other.send(to(queue, numbered(1))))
        sender.start()
        started = time.monotonic()
        taken = broker.take(10, 20)
        sender.join()
        assert bodies(taken) == [b"0"]
        assert time.monotonic() - started < 10

    def test_listening_again_is_to_these_queues_and_no_others(self, broker: Broker, queue: Queue) -> None:
        second = Queue(f"second-{uuid.uuid4()}")
        broker.send(to(queue, numbered(3)))
        broker.listen([queue], credit=1)
        (held,) = take_all(broker, 1)
        broker.listen([second], credit=5)
        broker.send(to(second, numbered(1)))
        taken = take_all(broker, 1)
        assert [each.queue for each in taken] == [second.name]
        broker.settle([*acked(taken), (held, Verdict.ACK)])
        broker.listen([queue], credit=5)
        assert sorted(bodies(take_all(broker, 2))) == [b"1", b"2"]

    def test_listening_declares_first(self, broker: Broker, other: Broker) -> None:
        name = f"new-{uuid.uuid4()}"
        broker.listen([Queue(name, name, "direct", "key")], credit=5)
        broker.send([Parcel(message(), "key", name)])
        assert len(take_all(broker, 1)) == 1

    @pytest.mark.parametrize("limit", [1, 4])
    def test_a_long_queue_starves_no_other(self, broker: Broker, queue: Queue, limit: int) -> None:
        short = Queue(f"short-{uuid.uuid4()}")
        broker.declare([short])
        broker.send(to(queue, numbered(200)))
        broker.send(to(short, numbered(3)))
        broker.listen([queue, short], credit=1000)
        served: list[str] = []
        while len(served) < 40:
            taken = broker.take(limit, SOON)
            served += [each.queue for each in taken]
            broker.settle(acked(taken))
        assert served.count(short.name) == 3

    def test_each_message_goes_to_one_of_its_takers(self, broker: Broker, other: Broker, queue: Queue) -> None:
        broker.listen([queue], credit=10)
        other.listen([queue], credit=10)
        broker.send(to(queue, numbered(100)))
        served: list[bytes] = []
        end = time.monotonic() + SOON
        while len(served) < 100 and time.monotonic() < end:
            for each in (broker, other):
                taken = each.take(7, 0.05)
                served += bodies(taken)
                each.settle(acked(taken))
        assert sorted(served) == sorted(bodies_of(numbered(100)))

    @pytest.mark.parametrize(
        ("kind", "binding", "key", "hits"),
        [
            ("direct", "k", "k", True),
            ("direct", "k", "l", False),
            ("topic", "task.#", "task.a.b", True),
            ("topic", "task.*", "task.a", True),
            ("topic", "task.*", "other.a", False),
        ],
    )
    def test_exchanges_route_by_key(self, broker: Broker, kind: str, binding: str, key: str, hits: bool) -> None:
        name = f"{kind}-{uuid.uuid4()}"
        queue = Queue(f"q-{name}", name, kind, binding)
        broker.declare([queue])
        broker.send([Parcel(message(), key, name, kind)])
        broker.listen([queue], credit=10)
        taken = take_all(broker, 1, within=SOON if hits else 0.3)
        assert len(taken) == hits
        assert all((each.exchange, each.routing_key) == (name, key) for each in taken)

    def test_fanout_gives_each_listener_its_copy(self, broker: Broker, other: Broker) -> None:
        self.needs(broker, "fanout")
        name = f"fan-{uuid.uuid4()}"
        for each, key in ((broker, "a"), (other, "b")):
            each.listen(
                [Queue(f"{key}-{name}", name, "fanout", durable=False, auto_delete=True)], credit=10, acks=False
            )
        broker.send([Parcel(message(b"to all"), "", name, "fanout")])
        assert bodies(take_all(broker, 1)) == [b"to all"]
        assert bodies(take_all(other, 1)) == [b"to all"]

    def test_parked_is_nobodys_until_it_is_due(self, connect: Connect, broker: Broker, queue: Queue) -> None:
        self.needs(broker, "park")
        consumer = connect()
        broker.send(to(queue, numbered(1)))
        consumer.listen([queue], credit=1)
        (taken,) = take_all(consumer, 1)
        due = time.time() + 1.5
        consumer.settle([(taken, Park(due))])
        assert take_all(consumer, 1, within=0.5) == []
        consumer.close()
        broker.listen([queue], credit=10)
        assert bodies(take_all(broker, 1, within=10)) == [b"0"]
        assert time.time() >= due - 0.05

    def test_priorities_are_kept_apart(self, broker: Broker) -> None:
        self.needs(broker, "priority")
        queue = Queue(f"q-{uuid.uuid4()}", arguments={"x-max-priority": 9})
        broker.declare([queue])
        for priority in (3, 0, 9):
            each = Message(str(priority).encode(), "application/json", "utf-8", {}, {"priority": priority})
            broker.send([Parcel(each, queue.name)])
        broker.listen([queue], credit=10)
        served = bodies(take_all(broker, 3))
        assert served in ([b"0", b"3", b"9"], [b"9", b"3", b"0"])  # Redis and RabbitMQ disagree about what is first

    def test_dropped_goes_where_its_queue_says(self, broker: Broker) -> None:
        self.needs(broker, "dead-letter")
        name = uuid.uuid4()
        dead = Queue(f"dead-{name}", f"dlx-{name}", "direct", "dead")
        arguments = {"x-dead-letter-exchange": f"dlx-{name}", "x-dead-letter-routing-key": "dead"}
        queue = Queue(f"q-{name}", arguments=arguments)
        broker.declare([dead, queue])
        broker.send(to(queue, numbered(1)))
        broker.listen([queue], credit=1)
        broker.settle([(each, Verdict.DROP) for each in take_all(broker, 1)])
        broker.tend(time.time())
        broker.listen([dead], credit=1)
        assert bodies(take_all(broker, 1)) == [b"0"]

    def test_its_descriptor_tells_of_what_arrives(self, broker: Broker, other: Broker, queue: Queue) -> None:
        if "descriptor" not in broker.can:
            assert broker.fileno() == -1
            return
        broker.listen([queue], credit=10)
        assert broker.take(1, 0) == []
        other.send(to(queue, numbered(1)))
        taken: list[Delivery] = []
        end = time.monotonic() + SOON
        while not taken and time.monotonic() < end:
            assert select.select([broker.fileno()], [], [], SOON)[0], "nothing was told"
            taken = broker.take(1, 0)
        assert bodies(taken) == [b"0"]


def bodies_of(messages: Sequence[Message]) -> list[bytes]:
    return [each.body for each in messages]

"""A real RabbitMQ on the other end of a bare socket, and kombu beside it, in both directions."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from kombu.pidbox import Mailbox
from kombu.transport import native_delayed_delivery

from celeriac.protocol.wire.amqp import delayed, frames, handshake, topology
from celeriac.protocol.wire.amqp.confirms import Confirms
from celeriac.protocol.wire.amqp.contents import read_message, write_message
from celeriac.protocol.wire.amqp.headers import HeaderReader
from celeriac.protocol.wire.amqp.inbox import Called, Confirmed, Delivery, Event, Got, Inbox, Returned
from celeriac.protocol.wire.amqp.topology import Exchange, Queue, Topology
from celeriac.protocol.wire.message import Message
from tests.servers import RabbitServer

pytestmark = pytest.mark.real

HEADERS = {
    "task": "wire.add", "id": "1f", "eta": None, "retries": 0, "timelimit": [None, 2.5], "ignore_result": True,
    "long": 1 << 40, "stamps": {"é": ["x", {"deep": None}]}, "raw": b"\xff",
}  # fmt: skip
TASK = Message(
    b"[[1, 2], {}, {}]", "application/json", "utf-8", HEADERS, {"delivery_mode": 2, "priority": 3, "reply_to": "me"}
)


class Talk:
    """A conversation in our own frames: nothing here but a socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.inbox = Inbox()
        self.heard: list[Event] = []
        self.frame_max = 4096
        self.say(frames.PROTOCOL_HEADER)
        start = self.hear(Called).args
        self.server_properties = start["server_properties"]
        self.ask(0, "connection.start-ok", handshake.start_ok(start, "guest", "guest", login_methods=("AMQPLAIN",)))
        tune = handshake.tune_ok(self.hear(Called).args, 30)
        self.frame_max = self.inbox.frame_max = tune["frame_max"]
        self.ask(0, "connection.tune-ok", tune)
        assert self.call(0, "connection.open", handshake.open_connection("/")).name == "connection.open-ok"
        assert self.call(1, "channel.open", {}).name == "channel.open-ok"

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, channel: int, name: str, args: dict[str, Any]) -> None:
        self.say(frames.write_call(channel, name, args))

    def call(self, channel: int, name: str, args: dict[str, Any]) -> Called:
        self.ask(channel, name, args)
        return self.hear(Called)

    def hear(self, kind: Callable[..., Any]) -> Any:
        while not self.heard:
            data = self.socket.recv(1000)
            assert data, "the broker hung up"
            self.heard += self.inbox.feed(data)
        event = self.heard.pop(0)
        assert isinstance(event, kind), event  # type: ignore[arg-type] # a class of events
        return event

    def declare(self, declarations: Topology) -> None:
        for declaration in declarations:
            name, args = declaration.call()
            assert self.call(1, name, args).name == f"{name}-ok"

    def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool = False) -> None:
        call = frames.publish_call(1, exchange, routing_key, mandatory=mandatory)
        self.say(frames.write_publish(call, 1, write_message(message), message.body, self.frame_max))

    def get(self, queue: str) -> Got:
        """The next message; waits until there is one, since a confirm comes before a quorum queue shows it."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self.say(frames.write_get(1, queue))
            event = self.hear((Got, Called))
            if isinstance(event, Got):
                return event
            assert event.name == "basic.get-empty"
            time.sleep(0.05)
        raise AssertionError(f"nothing came to {queue}")

    def close(self) -> None:
        assert self.call(0, "connection.close", handshake.orderly_close()).name == "connection.close-ok"
        self.socket.close()


@pytest.fixture
def talk(rabbitmq_server: RabbitServer) -> Iterator[Talk]:
    conversation = Talk(rabbitmq_server.port)
    yield conversation
    conversation.socket.close()


@pytest.fixture
def theirs(rabbitmq_server: RabbitServer) -> Iterator[kombu.Connection]:
    with kombu.Connection(rabbitmq_server.url) as connection:
        yield connection


@pytest.mark.parametrize("arguments", [{}, dict(topology.QUORUM)], ids=["classic", "quorum"])
def test_publish_confirm_get_and_ack_many(talk: Talk, arguments: dict[str, Any]) -> None:
    name = f"q{len(arguments)}"
    queue = Queue(name, arguments=arguments)
    talk.declare(topology.task_queue(queue))
    talk.declare(topology.task_queue(queue))  # once more: not refused
    assert talk.call(1, "confirm.select", {}).name == "confirm.select-ok"
    confirms = Confirms()
    for _ in range(5):
        confirms.published()
        talk.publish("", name, TASK)
    while confirms.waiting:
        told = talk.hear(Confirmed)
        assert told.accepted
        confirms.settle(told)
    got = [talk.get(name) for _ in range(5)]
    reader = HeaderReader()
    assert {event.delivery_tag for event in got} == set(range(1, 6))
    for event in got:
        message = read_message(event.properties, event.body or b"", reader.read)
        if arguments:
            assert message.headers.pop("x-delivery-count") == 0  # a quorum queue counts, in a header
        else:
            assert event.properties == write_message(TASK)
        assert message == TASK
    talk.say(frames.write_ack(1, 3, multiple=True) + frames.write_reject(1, 4, requeue=True) + frames.write_nack(1, 5))
    again = [talk.get(name), talk.get(name)]
    assert [(event.redelivered, event.delivery_tag) for event in again] == [(True, 6), (True, 7)]
    talk.say(frames.write_ack(1, 7, multiple=True))
    assert talk.call(1, "queue.purge", {"queue": name}).args == {"message_count": 0}
    talk.close()


def test_consume_a_body_of_many_frames(talk: Talk) -> None:
    talk.declare(topology.task_queue(Queue("large")))
    is_global = topology.qos_is_global(talk.server_properties)
    assert talk.call(1, *topology.qos_call(4, is_global=is_global)).name == "basic.qos-ok"
    assert talk.call(1, "basic.consume", {"queue": "large", "consumer_tag": "None1"}).args == {"consumer_tag": "None1"}
    for body in (b"", bytes(talk.frame_max - 8), bytes(range(256)) * 2000):
        talk.publish("large", "large", Message(body))
        event = talk.hear(Delivery)
        assert (event.consumer_tag, event.exchange, event.routing_key) == ("None1", "large", "large")
        assert (event.body, event.body_size) == (body, len(body))
        talk.say(frames.write_ack(1, event.delivery_tag))
    assert talk.call(1, "basic.cancel", {"consumer_tag": "None1"}).name == "basic.cancel-ok"
    talk.close()


def test_what_no_queue_wants_comes_back(talk: Talk) -> None:
    talk.publish("", "nowhere", TASK, mandatory=True)
    event = talk.hear(Returned)
    assert (event.reply_code, event.reply_text, event.routing_key) == (312, "NO_ROUTE", "nowhere")
    assert read_message(event.properties, event.body or b"") == TASK
    talk.close()


def test_a_closed_channel_says_why(talk: Talk) -> None:
    talk.declare((Queue("settled"),))
    closed = talk.call(1, *Queue("settled", durable=False).call())
    assert closed.name == "channel.close"
    why = handshake.read_close(closed.args)
    assert (why.code, why.name, why.method) == (406, "precondition-failed", "queue.declare")
    talk.ask(1, "channel.close-ok", {})
    assert talk.call(1, "channel.open", {}).name == "channel.open-ok"
    talk.close()


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_delayed_message_comes_when_it_is_due(talk: Talk, queue_type: str) -> None:
    prefix = f"short_{queue_type}"
    levels = 2
    exchange = Exchange(f"{prefix}_ex", "topic")
    queue = Queue(f"{prefix}_tasks", arguments=topology.QUORUM)
    talk.declare(topology.task_queue(queue, exchange, "rk"))
    talk.declare(delayed.delayed_topology(queue_type, prefix, levels))
    talk.declare(delayed.delayed_bindings(queue.name, exchange, "rk", prefix))
    assert talk.call(1, "basic.consume", {"queue": queue.name, "consumer_tag": "c"}).name == "basic.consume-ok"
    sent = time.monotonic()
    key = delayed.delayed_routing_key(1, "rk", levels)
    talk.publish(delayed.entry_exchange(prefix, levels), key, TASK)
    event = talk.hear(Delivery)
    assert time.monotonic() - sent > 0.9
    assert (event.exchange, event.routing_key) == (delayed.delivery_exchange(prefix), key)
    assert delayed.parse_delayed_routing_key(event.routing_key, levels) == (1, "rk")
    message = read_message(event.properties, event.body or b"")
    (death,) = message.headers.pop("x-death")  # RabbitMQ's own table: other letters, and a timestamp
    assert (death["queue"], death["reason"], death["count"]) == (f"{prefix}_celery_delayed_0", "expired", 1)
    assert {name: message.headers[name] for name in HEADERS} == HEADERS
    talk.close()


def test_kombu_declares_after_us_and_we_after_kombu(talk: Talk, theirs: kombu.Connection) -> None:
    """Other flags or arguments would be refused (406)."""
    shared = {"durable": True, "exclusive": False}  # exclusive queues belong to one connection
    talk.declare(topology.task_queue(Queue("both", arguments=topology.queue_arguments(max_priority=10))))
    talk.declare(topology.control_requests("w1@h", namespace="n", durable=True, exclusive=False))
    talk.declare(topology.events("1f", durable=True, exclusive=False))
    talk.declare(topology.rpc_replies("oid"))
    talk.declare(delayed.delayed_topology("classic", "both"))
    channel = theirs.default_channel
    kombu.Queue("both", kombu.Exchange("both"), "both", max_priority=10).bind(channel).declare()
    mailbox = Mailbox(
        "n", type="fanout", queue_ttl=300.0, queue_expires=10.0, queue_durable=True, queue_exclusive=False
    )
    mailbox.get_queue("w1@h").bind(channel).declare()
    events = kombu.Exchange("celeryev", "topic")
    kombu.Queue("celeryev.1f", events, "#", expires=60.0, message_ttl=5.0, **shared).bind(channel).declare()
    kombu.Queue("oid", auto_delete=True, expires=86400).bind(channel).declare()
    native_delayed_delivery.declare_native_delayed_delivery_exchanges_and_queues(theirs, "classic", "both")
    kombu.Queue("after", kombu.Exchange("after_ex", "topic"), "a.#").bind(channel).declare()
    talk.declare(topology.task_queue(Queue("after"), Exchange("after_ex", "topic"), "a.#"))
    talk.close()


def test_kombu_reads_what_we_publish_and_we_what_kombu_publishes(talk: Talk, theirs: kombu.Connection) -> None:
    talk.declare(topology.task_queue(Queue("shared")))
    talk.publish("shared", "shared", TASK)
    queue = kombu.Queue("shared", kombu.Exchange("shared"), "shared", channel=theirs.default_channel)
    deadline = time.monotonic() + 10
    while (read := queue.get()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert read is not None
    read.ack()
    assert (read.body.encode(), read.headers) == (TASK.body, HEADERS)
    assert (read.content_type, read.content_encoding) == ("application/json", "utf-8")
    assert {name: read.properties[name] for name in TASK.properties} == TASK.properties
    theirs.Producer().publish(
        TASK.body, routing_key="shared", content_type="application/json", content_encoding="utf-8",
        headers=HEADERS, **TASK.properties,
    )  # fmt: skip
    event = talk.get("shared")
    assert event.properties == write_message(TASK)
    assert read_message(event.properties, event.body or b"") == TASK
    talk.say(frames.write_ack(1, event.delivery_tag))
    talk.close()

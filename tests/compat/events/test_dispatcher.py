"""What our dispatcher sends is what stock's sent, byte for byte; and when it sends, keeps and drops."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from celeriac import Celery
from celeriac.compat.events import Event, EventDispatcher, get_exchange, group_from
from celeriac.compat.events import event as event_module
from tests.compat.events.hearing import AmqpEar, RedisEar, golden_amqp, golden_redis, hearing, without_tag
from tests.servers import RabbitServer, RedisServer

REDIS, AMQP = list(golden_redis()), list(golden_amqp())
_COMMON = ("hostname", "utcoffset", "pid", "clock", "timestamp", "type")
WAYS = ("ours", "connection", "channel")


class SetClock:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.value = 0

    def forward(self) -> int:
        return self.value


@contextmanager
def dispatcher(app: Celery, way: str, **options: Any) -> Iterator[EventDispatcher]:
    with ExitStack() as stack:
        if way != "ours":
            connection = stack.enter_context(app.connection_for_write())
            options["connection" if way == "connection" else "channel"] = (
                connection if way == "connection" else connection.default_channel
            )
        yield stack.enter_context(app.events.Dispatcher(**options))


def replay(app: Celery, way: str, decoded: Any) -> None:
    """Send once more what was sent then."""
    events = decoded if isinstance(decoded, list) else [decoded]
    group = {"task"} if isinstance(decoded, list) else None
    with dispatcher(app, way, hostname=events[0]["hostname"], buffer_group=group, buffer_while_offline=False) as sender:
        sender.clock = SetClock()
        for each in events:
            sender.clock.value, sender.pid = each["clock"], each["pid"]
            sender.send(
                each["type"],
                utcoffset=lambda each=each: each["utcoffset"],
                Event=lambda kind, each=each, **fields: Event(kind, __now__=lambda: each["timestamp"], **fields),
                **{name: value for name, value in each.items() if name not in _COMMON},
            )
        sender.flush()


@pytest.mark.real
@pytest.mark.parametrize("way", WAYS)
def test_events_on_redis_are_stocks_byte_for_byte(redis_server: RedisServer, way: str) -> None:
    app = Celery("sender", broker=redis_server.url)
    assert len(REDIS) > 50
    with hearing(RedisEar(redis_server)) as ear:
        for case, channel, envelope in REDIS:
            decoded = json.loads(base64.b64decode(json.loads(envelope)["body"]))
            replay(app, way, decoded)
            heard = ear.next()
            assert (case, heard[0], without_tag(heard[1])) == (case, channel, without_tag(envelope))
    app.close()


@pytest.mark.real
@pytest.mark.parametrize("way", WAYS)
def test_events_on_rabbitmq_are_stocks_byte_for_byte(rabbitmq_server: RabbitServer, way: str) -> None:
    app = Celery("sender", broker=rabbitmq_server.url)
    assert len(AMQP) > 5
    with hearing(AmqpEar(rabbitmq_server.url)) as ear:
        for sent in AMQP:
            replay(app, way, json.loads(sent[2]))
            assert ear.next() == sent
    app.close()


# --- without a broker


class Printer:
    """A producer that keeps what it is told to publish, or fails."""

    def __init__(self) -> None:
        self.published: list[Any] = []
        self.fails = False

    def publish(self, body: Any, **options: Any) -> None:
        if self.fails:
            raise ConnectionError("gone")
        self.published.append((options["routing_key"], body))

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.published]


@pytest.fixture
def app() -> Celery:
    return Celery("sender", broker="memory://", set_as_current=False)


@pytest.fixture
def make(app: Celery) -> Callable[..., tuple[EventDispatcher, Printer]]:
    def made(**options: Any) -> tuple[EventDispatcher, Printer]:
        sender, printer = app.events.Dispatcher(**options), Printer()
        sender.publisher = printer
        return sender, printer

    return made


def test_only_events_of_its_groups_are_sent(make: Callable[..., Any]) -> None:
    sender, printer = make(groups=["worker"])
    sender.send("task-sent", uuid="a")
    sender.send("worker-online")
    assert printer.keys == ["worker.online"]


def test_a_disabled_dispatcher_sends_nothing_and_says_when_it_changes(make: Callable[..., Any]) -> None:
    sender, printer = make()
    told: list[str] = []
    sender.on_enabled.add(lambda: told.append("on"))
    sender.on_disabled.add(lambda: told.append("off"))
    sender.disable()
    sender.disable()
    sender.send("worker-online")
    sender.enable()
    assert told == ["off", "on"]
    assert printer.published == []
    assert sender.publisher is sender.app.amqp.outlet


def test_what_cannot_be_sent_is_kept_in_order_and_sent_later(make: Callable[..., Any]) -> None:
    sender, printer = make()
    printer.fails = True
    for number in range(3):
        sender.send("custom-thing", number=number)
    sender.flush()  # still gone: kept again
    printer.fails = False
    heir, heirs_printer = make()
    heir.extend_buffer(sender)
    for each, its in ((sender, printer), (heir, heirs_printer)):
        each.flush()
        each.flush()
        assert [body["number"] for _, body in its.published] == [0, 1, 2]


def test_who_does_not_keep_is_told(make: Callable[..., Any]) -> None:
    sender, printer = make(buffer_while_offline=False)
    printer.fails = True
    with pytest.raises(ConnectionError):
        sender.send("worker-online")


def test_a_group_is_gathered_up_to_its_limit(make: Callable[..., Any]) -> None:
    asked: list[int] = []
    sender, printer = make(buffer_group={"task"}, buffer_limit=3, on_send_buffered=lambda: asked.append(1))
    for number in range(4):
        sender.send("task-started", uuid=str(number))
    assert [(key, [each["uuid"] for each in body]) for key, body in printer.published] == [
        ("task.multi", ["0", "1", "2"])
    ]
    assert len(asked) == 3
    sender.flush(groups=False)
    assert len(printer.published) == 1
    sender.flush(errors=False)
    sender.flush()
    assert [len(body) for _, body in printer.published] == [3, 1]


def test_a_closed_one_keeps_its_buffers_and_publishes_by_other_producers(make: Callable[..., Any]) -> None:
    sender, printer = make(buffer_group={"task"})
    sender.send("task-started", uuid="a")
    with sender:
        pass
    sender.send("worker-online")
    sender.flush()
    assert printer.published == []
    sender.publish("custom-x", {"a": 1}, printer, blind=True)
    assert [(key, body["a"], body["clock"]) for key, body in printer.published] == [("custom.x", 1, None)]
    sender.enable()
    sender.publisher = printer
    sender.flush()
    assert printer.keys == ["custom.x", "task.multi"]


def test_no_events_over_a_database() -> None:
    app = Celery("sender", broker="sqla+sqlite://", set_as_current=False)
    assert not app.events.Dispatcher().enabled


def test_a_disabled_one_asks_nothing_of_the_broker() -> None:
    app = Celery("sender", broker="nonsense://", set_as_current=False)
    assert not app.events.Dispatcher(enabled=False).enabled


# --- events and their exchange


def test_an_event_is_a_dict_in_order() -> None:
    assert list(Event("a-b", x=1, __now__=lambda: 5.0)) == ["x", "timestamp", "type"]
    given = {"y": 2, "timestamp": 1.0}
    assert Event("a-b", given, x=1) == {"y": 2, "timestamp": 1.0, "x": 1, "type": "a-b"}
    assert "type" not in given
    assert (group_from("task-sent"), group_from("custom-my-event"), group_from("alone")) == ("task", "custom", "alone")


@pytest.mark.parametrize(("broker", "kind"), [("redis://h", "fanout"), ("amqp://h", "topic"), ("memory://", "topic")])
def test_the_exchange_fits_the_transport(broker: str, kind: str) -> None:
    app = Celery("sender", broker=broker, set_as_current=False)
    assert get_exchange(app.connection_for_read(), name="mine").type == kind
    assert app.events.Dispatcher(enabled=False).exchange == get_exchange(app.connection_for_read())
    assert event_module.event_exchange.type == "topic"

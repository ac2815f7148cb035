"""Results as messages: the queue, the buffer, a lost connection, a forked child."""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from amqp import NotFound
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends, brokers
from celeriac.worker.backends import rpc
from celeriac.worker.backends.base import Address, Settings
from celeriac.worker.backends.rpc import RpcStore
from celeriac.worker.brokers.base import Broker, Delivery, Parcel, Queue
from celeriac.worker.brokers.memory import MemoryBroker, store_named
from tests.conformance.backends import SOON, done, failed, new_id
from tests.conformance.test_rpc_backend import opened
from tests.servers import RabbitServer, RedisServer


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4()}"


@pytest.fixture
def client(url: str) -> Iterator[RpcStore]:
    store = opened(url)
    yield store
    store.close()


@pytest.fixture
def worker(url: str) -> Iterator[RpcStore]:
    store = opened(url)
    yield store
    store.close()


def test_nobody_asked_nothing_is_sent(url: str) -> None:
    def dial() -> Broker:
        raise AssertionError("nobody is to be called")

    store = RpcStore(dial, dial)
    assert store.store(done(new_id()))
    assert store.store(done(new_id()), Address(None, "c"))
    assert store.store(done(new_id()), Address("", "c"))


def test_the_queue_is_there_before_anything_is_sent(url: str, client: RpcStore, worker: RpcStore) -> None:
    queue = client.answer_to()
    assert queue == client.answer_to()
    line = store_named(url.partition("://")[2]).lines[queue].queue
    assert (line.durable, line.auto_delete, line.exclusive, line.expires) == (True, True, False, 86400)
    worker.store(done("t"), Address(queue, "t"))
    assert client.fetch("t") == done("t")


def test_a_result_outlives_a_later_state(client: RpcStore, worker: RpcStore) -> None:
    to = Address(client.answer_to(), None)
    for each in (failed("t"), done("t"), failed("t")):
        worker.store(each, to)
    assert client.fetch("t") == done("t")


def test_who_wants_what_the_other_took(client: RpcStore, worker: RpcStore) -> None:
    """Two waits on one store, each inside the other."""
    to = Address(client.answer_to(), None)
    outer = client.wait(["a", "b"], SOON)
    worker.store(done("a"), to)
    assert next(outer)[0] == "a"
    worker.store(done("c"), to)
    worker.store(done("b"), to)
    assert [task_id for task_id, _ in client.wait(["c"], SOON)] == ["c"]
    assert next(outer)[0] == "b"
    assert list(outer) == []


def test_the_buffer_is_bounded(url: str, worker: RpcStore) -> None:
    client = RpcStore(lambda: brokers.connect(url), lambda: brokers.connect(url), limit=3)
    to = Address(client.answer_to(), None)
    for number in range(5):
        worker.store(done(str(number)), to)
    assert set(client.fetch_many(map(str, range(5)))) == {"2", "3", "4"}
    assert client.dropped == 2
    client.close()


def test_what_names_no_task_is_dropped(client: RpcStore, caplog: pytest.LogCaptureFixture) -> None:
    queue = client.answer_to()
    for properties in ({}, {"correlation_id": ""}, {"correlation_id": 5}):
        message = Message(b"{}", "application/json", "utf-8", {}, dict(properties))
        client._sending(lambda broker, message=message: broker.send([Parcel(message, queue)]))
    with caplog.at_level(logging.WARNING):
        assert client.fetch("t") is None
    assert client.dropped == 3
    assert "names no task" in caplog.text


class Failing(MemoryBroker):
    """Fails at each call of the kinds that are named."""

    failing: set[str]

    def _at(self, name: str) -> None:
        if name in self.failing:
            raise OperationalError(f"{name} failed")

    def send(self, parcels: Sequence[Parcel]) -> None:
        self._at("send")
        super().send(parcels)

    def take(self, limit: int, timeout: float) -> list[Delivery]:
        self._at("take")
        return super().take(limit, timeout)

    def size(self, queue: str) -> int:
        self._at("size")
        return super().size(queue)


class Line:
    """Connections to one memory broker, the first of which fail."""

    def __init__(self, bad: int, *failing: str) -> None:
        self.bad, self.failing, self.made = bad, set(failing), 0
        self.name = str(uuid.uuid4())
        brokers.connect(f"memory://{self.name}").declare([Queue("keep")])

    def __call__(self) -> Broker:
        self.made += 1
        broker = Failing(store_named(self.name))
        broker.failing = self.failing if self.made <= self.bad else set()
        return broker


def store_on(line: Line) -> RpcStore:
    store = RpcStore(line, line, queue="answers")
    store.pause = 0.01
    return store


def test_a_result_is_sent_again_when_the_broker_fails(caplog: pytest.LogCaptureFixture) -> None:
    line = Line(3, "send")
    store = store_on(line)
    with caplog.at_level(logging.WARNING):
        assert store.store(done("t"), Address("keep", "t"))
    assert line.made == 4
    assert "again (1/20)" in caplog.text
    assert store._sending(lambda broker: broker.size("keep")) == 1
    store.close()


def test_it_gives_up_at_last() -> None:
    line = Line(1000, "send")
    store = store_on(line)
    store.retries = 2
    with pytest.raises(OperationalError):
        store.store(done("t"), Address("keep", "t"))
    assert line.made == 3


def test_a_lost_connection_is_made_again_while_waiting() -> None:
    line = Line(0)
    store, worker = store_on(line), store_on(line)
    line.bad, line.failing = 2, {"take"}
    with pytest.raises(OperationalError):
        list(store.wait(["t"], SOON, interval=0.05))
    worker.store(done("t"), Address(store.answer_to(), "t"))
    assert dict(store.wait(["t"], SOON)) == {"t": done("t")}
    store.close()
    worker.close()


def test_a_silent_connection_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "PROBE", 0.1)
    line = Line(0)
    store = store_on(line)
    asked = threading.Event()

    def listening() -> Broker:
        broker = line()
        size = broker.size

        def told(queue: str) -> int:
            asked.set()
            return size(queue)

        broker.size = told  # type: ignore[method-assign]  # to see that it is asked
        return broker

    store._dial_listen = listening
    store.fetch("t")
    asked.clear()
    assert list(store.wait(["t"], SOON, interval=0.02, stop=asked.is_set)) == []
    assert asked.is_set()
    store.close()


def test_a_forked_child_has_a_queue_of_its_own(url: str, client: RpcStore, worker: RpcStore) -> None:
    queue = client.answer_to()
    worker.store(done("t"), Address(queue, "t"))
    assert client.fetch("t") is not None
    read, write = os.pipe()
    pid = os.fork()
    if not pid:  # the child
        try:
            with os.fdopen(write, "w") as out:
                seen = client.fetch("t")
                json.dump([client.answer_to(), seen is None], out)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        child_queue, saw_nothing = json.load(pipe)
    os.waitpid(pid, 0)
    assert child_queue != queue
    assert saw_nothing
    assert client.fetch("t") == done("t")


def test_an_empty_id_is_refused(client: RpcStore) -> None:
    for call in (lambda: client.fetch(""), lambda: client.store(done(""))):
        with pytest.raises(BadCall):
            call()


def test_from_the_configuration(url: str) -> None:
    store = backends.connect("rpc://", Settings(options={"broker_url": url, "result_persistent": True}))
    assert isinstance(store, RpcStore)
    queue = store.answer_to()
    store.store(done("t"), Address(queue, "c"))
    (parcel,) = [each.message for line in store_named(url.partition("://")[2]).lines[queue].waiting for each in line]
    assert (parcel.properties["delivery_mode"], parcel.properties["correlation_id"]) == (2, "c")
    assert store.fetch("t") == done("t")
    store.close()
    with pytest.raises(BadCall, match="broker_url"):
        backends.connect("rpc://", Settings())


def test_who_names_no_queue_finds_the_last_state_in_one_of_the_tasks_own(url: str) -> None:
    task_id = str(uuid.uuid4())
    lines = store_named(url.partition("://")[2]).lines
    for on, to in ((False, Address("", "c")), (True, Address("mine", "c")), (True, Address("", "c"))):
        store = backends.connect("rpc://", Settings(options={"broker_url": url, "result_queue_per_task": on}))
        assert task_id.replace("-", "") not in lines
        store.store(Result(task_id, "STARTED", {}), to)
        assert task_id.replace("-", "") not in lines
        store.store(done(task_id), to)
        store.close()
    line = lines[task_id.replace("-", "")]
    assert (line.queue.durable, line.queue.auto_delete, line.queue.expires) == (True, True, 86400)
    assert [json.loads(each.message.body)["status"] for waiting in line.waiting for each in waiting] == ["SUCCESS"]


# --- on the real servers, beside what stock Celery does


@pytest.mark.real
def test_the_exchange_that_strangers_bind_to_is_there_before_the_first_answer(rabbitmq_server: RabbitServer) -> None:
    from kombu import Connection

    def there() -> bool:
        with Connection(rabbitmq_server.url) as connection, connection.channel() as channel:
            try:
                channel.exchange_declare(rpc.HUB.exchange, "direct", passive=True)
            except NotFound:
                return False
            return True

    with Connection(rabbitmq_server.url) as connection, connection.channel() as channel:
        channel.exchange_delete(rpc.HUB.exchange)
    for on in (False, True):
        options = {"broker_url": rabbitmq_server.url, "result_queue_per_task": on}
        store = backends.connect("rpc://", Settings(options=options))
        assert isinstance(store, RpcStore)
        store.await_strangers()
        store.close()
        assert there() is on


def test_a_worker_starts_though_no_such_exchange_can_be_made(caplog: pytest.LogCaptureFixture) -> None:
    options = {"broker_url": "amqp://guest:guest@127.0.0.1:1//", "result_queue_per_task": True}
    store = backends.connect("rpc://", Settings(options=options))
    assert isinstance(store, RpcStore)
    store.retries = 0
    store.await_strangers()
    assert f"exchange {rpc.HUB.exchange} is not made before the first answer" in caplog.text
    store.close()


STOCK_READER = """
import sys
from celery import Celery
from celery.result import AsyncResult
url, oid, task_id = sys.argv[1:]
app = Celery(broker=url, backend="rpc://")
app._local.oid = oid
app.__dict__["thread_oid"] = oid
backend = app.backend
backend.__dict__["oid"] = oid
result = AsyncResult(task_id, app=app)
with app.connection_for_write() as connection, connection.channel() as channel:
    backend.binding(channel).declare()
    print("ready", flush=True)
    sys.stdin.readline()
print(result.get(timeout=20))
"""


@pytest.mark.real
def test_the_queue_is_declared_as_stock_declares_it(rabbitmq_server: RabbitServer) -> None:
    """RabbitMQ refuses the same queue with other arguments (406)."""
    from kombu import Connection
    from kombu import Queue as StockQueue

    store = opened(rabbitmq_server.url)
    name = store.answer_to()
    with Connection(rabbitmq_server.url) as connection, connection.channel() as channel:
        StockQueue(name, durable=True, auto_delete=True, expires=86400)(channel).declare()
    store.close()


@pytest.mark.real
def test_a_queue_that_is_gone_takes_nothing_down(rabbitmq_server: RabbitServer) -> None:
    store = opened(rabbitmq_server.url)
    assert store.store(done("t"), Address(f"gone-{new_id()}", "t"))
    assert store.store(done("t"), Address(store.answer_to(), "t"))
    assert dict(store.wait(["t"], SOON)) == {"t": done("t")}
    store.close()


@pytest.mark.real
def test_stock_celery_reads_what_is_sent(redis_server: RedisServer, stock_python: Any) -> None:
    import subprocess

    oid, task_id = new_id(), new_id()
    reader = subprocess.Popen(
        [str(stock_python), "-c", STOCK_READER, redis_server.url, oid, task_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert reader.stdout is not None
        line = reader.stdout.readline()
        assert line == "ready\n", reader.stderr and reader.stderr.read()
        store = opened(redis_server.url)
        store.store(done(task_id, {"sum": 3}), Address(oid, task_id))
        out, err = reader.communicate("\n", timeout=30)
        assert out.strip() == "{'sum': 3}", err
        store.close()
    finally:
        reader.kill()
        reader.wait()


def test_several_brokers_are_tried_in_turn(url: str) -> None:
    worker = backends.connect("rpc://", Settings(options={"broker_url": f"redis://127.0.0.1:1/0;{url}"}))
    client = opened(f"redis://127.0.0.1:1/0;{url}")
    try:
        assert worker.store(done("t"), Address(client.answer_to(), "t"))
        assert client.fetch("t") == done("t")
    finally:
        worker.close()
        client.close()

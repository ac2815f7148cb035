"""The layout beside stock kombu on the same Redis: each takes, restores and routes what the other left."""

from __future__ import annotations

import json
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.wire import envelope, redis, redis_bindings, redis_held
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.redis import Layout
from tests.protocol.wire.redis_store import Store, push, written
from tests.servers import RedisServer

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Kombu:
    """Runs a program with a stock channel `c`; what it leaves in `out` comes back."""

    python: Path
    port: int

    def __call__(self, program: str, options: dict[str, Any] | None = None) -> Any:
        head = f"""
            import json
            from kombu import Connection
            url = "redis://127.0.0.1:{self.port}/0"
            connection = Connection(url, transport_options={options or {}!r})
            c = connection.default_channel
            out = None
        """
        source = f"{textwrap.dedent(head)}\n{textwrap.dedent(program)}\nprint(json.dumps(out))\n"
        done = subprocess.run([self.python, "-c", source], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def kombu(redis_server: RedisServer, stock_python: Path) -> Kombu:
    return Kombu(stock_python, redis_server.port)


@pytest.fixture
def shared(redis_server: RedisServer) -> Store:
    return Store(redis_server, Layout(visibility_timeout=5))


def ours(name: str, priority: int = 0) -> bytes:
    return envelope.build(
        Message(f'"{name}"'.encode(), "application/json", "utf-8", {"h": 1}, {"priority": priority}),
        exchange="",
        routing_key="q",
        delivery_tag=f"tag-{name}",
    )


def test_kombu_consumes_what_we_push(kombu: Kombu, shared: Store) -> None:
    shared.do(*redis.push(shared.layout, "q", [ours("a"), ours("b")]))
    shared.do(*redis.push(shared.layout, "q", [ours("c", 9)], 9))
    got = kombu(
        """
        from kombu import Queue
        messages = [c.basic_get("q") for _ in range(3)]
        out = [[m.decode(), m.headers, m.delivery_tag, m.properties["priority"]] for m in messages]
        for m in messages[:2]:
            m.ack()
        """,
    )
    assert got == [["a", {"h": 1}, "tag-a", 0], ["b", {"h": 1}, "tag-b", 0], ["c", {"h": 1}, "tag-c", 9]]
    # The channel put back what it had not acknowledged when it closed, or left it held for the sweep.
    back = [*shared.waiting(priority=9), *(redis_held.parse_entry(raw).envelope for raw in shared.held().values())]
    assert [envelope.parse(data).message.body for data in back] == [b'"c"']


def test_we_take_what_kombu_publishes(kombu: Kombu, shared: Store) -> None:
    kombu(
        """
        from kombu import Exchange, Queue
        exchange = Exchange("tex", "topic")
        queue = Queue("q", exchange, routing_key="task.#")
        with connection.Producer() as producer:
            producer.publish("plain", routing_key="q", declare=[queue], headers={"h": 1})
            producer.publish("topic", exchange=exchange, routing_key="task.x", priority=5, declare=[queue])
            producer.publish("lost", exchange=exchange, routing_key="task", declare=[queue])
        """,
    )
    bindings = redis_bindings.parse_members(shared.do(redis.members(shared.layout, "tex"))[0], shared.layout.sep)
    assert redis_bindings.reached("topic", bindings, "task.x") == ["q"]
    assert redis_bindings.reached("topic", bindings, "task") == []
    taken = shared.take("q")
    read = [envelope.parse(each.envelope) for each in taken]
    assert [each.message.body for each in read] == [b"plain", b"topic"]
    assert [(each.exchange, each.routing_key, each.priority) for each in read] == [("", "q", 0), ("tex", "task.x", 5)]
    for each, data in zip(read, taken, strict=True):
        again = envelope.build(
            each.message,
            exchange=each.exchange,
            routing_key=each.routing_key or "",
            delivery_tag=each.delivery_tag or "",
        )
        assert again == data.envelope


def test_kombu_restores_what_we_took(kombu: Kombu, shared: Store) -> None:
    foreign = written("foreign", delivery_tag="celery")
    push(shared, ours("a"), foreign, foreign)
    taken = shared.take("q", now=1.0)
    assert len(taken) == 3
    kombu("c.qos.restore_visible()", {"visibility_timeout": 5})
    assert shared.held() == shared.scores() == {}
    back = [envelope.parse(data) for data in shared.waiting()]
    assert sorted(each.message.body for each in back) == [b'"a"', b"foreign", b"foreign"]
    assert all(each.redelivered and each.message.headers["redelivered"] for each in back)
    assert {each.delivery_tag for each in back} == {"tag-a", "celery"}


def test_kombu_leaves_what_we_renew(kombu: Kombu, shared: Store) -> None:
    push(shared, ours("a"))
    (taken,) = shared.take("q", now=1.0)
    shared.do(redis_held.renew(shared.layout, [taken.tag], 9e9))
    kombu("c.qos.restore_visible()", {"visibility_timeout": 5})
    assert list(shared.held()) == [taken.tag]


def test_we_restore_what_a_dead_kombu_took(kombu: Kombu, shared: Store) -> None:
    kombu(
        """
        import os
        with connection.Producer() as producer:
            producer.publish("a", routing_key="q", priority=3)
        message = c.basic_get("q")
        print(json.dumps(message.delivery_tag), flush=True)
        os._exit(0)
        """,
    )
    (rows,) = shared.do(redis_held.overdue(shared.layout, 9e9))
    tag = rows[0].decode()
    assert redis_held.owner_of(tag) is None
    (raw,) = shared.do(redis_held.entries(shared.layout, [tag]))[0]
    found = redis_held.parse_entry(raw)
    assert (found.exchange, found.routing_key) == ("", "q")
    (queue,) = redis_held.destinations(found, "direct", [])
    assert shared.do(redis_held.reclaim(shared.layout, tag, raw, queue)) == [1]
    (back,) = shared.waiting(priority=3)
    assert back == envelope.redelivered(found.envelope)
    got = kombu('m = c.basic_get("q"); out = [m.decode(), m.delivery_info["redelivered"]]; m.ack()')
    assert got == ["a", True]


def test_kombu_sees_our_bindings_and_deadlines(kombu: Kombu, shared: Store) -> None:
    shared.do(
        *redis.bind(shared.layout, "tex", "task.*", "q", "topic"),
        *redis.bind(shared.layout, "old", "k", "q", expires=1),
    )
    got = kombu(
        """
        from kombu import Exchange
        with connection.Producer(exchange=Exchange("tex", "topic")) as producer:
            producer.publish("a", routing_key="task.x")
        c.client.zadd("_kombu.binding_deadlines", {"old": 1})
        out = [c.sweep_bindings(), sorted(k.decode() for k in c.client.keys("_kombu*"))]
        """,
    )
    assert got == [1, ["_kombu.binding.tex", "_kombu.binding_permanent.tex"]]
    assert len(shared.waiting()) == 1


def test_fanout_reaches_kombu_and_us(kombu: Kombu, shared: Store, redis_server: RedisServer) -> None:
    listener = redis_server.connect()
    try:
        listener.call(*redis.subscribe(shared.layout, [("fan", "")]))
        program = """
            from kombu import Exchange, Queue, Consumer
            got = []
            queue = Queue("mine", Exchange("fan", "fanout"), auto_delete=True)
            with Consumer(c, [queue], no_ack=True, callbacks=[lambda body, message: got.append(body)]):
                try:
                    connection.drain_events(timeout=0.1)
                except OSError:
                    pass
                c.client.publish("/0.fan", open(0).read())
                with connection.Producer(exchange=Exchange("fan", "fanout")) as producer:
                    producer.publish("theirs")
                while len(got) < 2:
                    connection.drain_events(timeout=5)
            out = got
        """
        (command,) = redis.publish(shared.layout, "fan", "", ours("ours"))
        program = program.replace("open(0).read()", repr(ours("ours").decode()))
        assert command[1] == "/0.fan"
        assert kombu(program) == ["ours", "theirs"]
        arrived = [listener.read() for _ in range(2)]
        assert {redis.exchange_of(shared.layout, each[2]) for each in arrived} == {"fan"}
        assert [envelope.parse(each[3]).message.body for each in arrived] == [b'"ours"', b"theirs"]
    finally:
        listener.close()

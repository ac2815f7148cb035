"""Topologies: kombu's own declarations, flag by flag, and the prefetch decision."""

from __future__ import annotations

from typing import Any

import kombu
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.common import Broadcast
from kombu.pidbox import Mailbox
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.transport.pyamqp import Transport

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.amqp import topology
from celeriac.protocol.wire.amqp.methods import read_method, write_method
from celeriac.protocol.wire.amqp.topology import QUORUM, Binding, Exchange, ExchangeBinding, Queue, queue_arguments


class Recorder:
    """A kombu channel that writes down what is declared on it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def prepare_queue_arguments(self, arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
        return to_rabbitmq_queue_arguments(arguments, **options)

    def exchange_declare(self, nowait: bool, arguments: Any, **args: Any) -> None:
        self.calls.append(
            ("exchange.declare", {**args, "internal": False, "no_wait": nowait, "arguments": arguments or {}})
        )

    def queue_declare(self, nowait: bool, arguments: Any, **args: Any) -> tuple[str, int, int]:
        self.calls.append(("queue.declare", {**args, "no_wait": nowait, "arguments": arguments or {}}))
        return args["queue"], 0, 0

    def queue_bind(self, nowait: bool = False, arguments: Any = None, **args: Any) -> None:
        self.calls.append(("queue.bind", {**args, "no_wait": nowait, "arguments": arguments or {}}))

    def exchange_bind(self, nowait: bool = False, arguments: Any = None, **args: Any) -> None:
        self.calls.append(("exchange.bind", {**args, "no_wait": nowait, "arguments": arguments or {}}))


def declared(queue: kombu.Queue) -> list[tuple[str, dict[str, Any]]]:
    recorder = Recorder()
    queue.bind(recorder).declare()
    return recorder.calls


def calls(declarations: topology.Topology) -> list[tuple[str, dict[str, Any]]]:
    return [declaration.call() for declaration in declarations]


options = st.fixed_dictionaries(
    {},
    optional={
        "expires": st.floats(0.001, 1e6) | st.integers(1, 1000),
        "message_ttl": st.floats(0, 1e6),
        "max_length": st.integers(0, 1000),
        "max_length_bytes": st.integers(0, 1000),
        "max_priority": st.integers(0, 255),
    },
)


@given(options)
def test_queue_arguments_are_kombus(given_: dict[str, Any]) -> None:
    own = {"x-queue-mode": "lazy"}
    assert queue_arguments(own, **given_) == to_rabbitmq_queue_arguments(own, **given_)
    assert queue_arguments(**given_) == to_rabbitmq_queue_arguments({}, **given_)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (topology.task_queue(Queue("q")), kombu.Queue("q", kombu.Exchange("q"), "q")),
        (
            topology.task_queue(Queue("q"), Exchange("x", "topic"), "a.#"),
            kombu.Queue("q", kombu.Exchange("x", "topic"), "a.#"),
        ),
        (topology.task_queue(Queue("q"), Exchange("")), kombu.Queue("q")),
        (
            topology.task_queue(Queue("q"), Exchange("amq.topic", "topic"), "k"),
            kombu.Queue("q", kombu.Exchange("amq.topic", "topic"), "k"),
        ),
        (
            topology.task_queue(Queue("q", arguments=QUORUM), Exchange("x"), ""),
            kombu.Queue("q", kombu.Exchange("x"), "", queue_arguments={"x-queue-type": "quorum"}),
        ),
        (
            topology.task_queue(Queue("q", durable=False, auto_delete=True, arguments=queue_arguments(max_priority=10))),
            kombu.Queue("q", kombu.Exchange("q"), "q", durable=False, auto_delete=True, max_priority=10),
        ),
        (
            topology.task_queue(Queue("q"), Exchange("x", durable=False, auto_delete=True, arguments={"x": 1}), "k"),
            kombu.Queue("q", kombu.Exchange("x", durable=False, auto_delete=True, arguments={"x": 1}), "k"),
        ),
        (topology.worker_direct("w1@h"), kombu.Queue("w1@h.dq2", kombu.Exchange("C.dq2"), "w1@h")),
        (topology.broadcast("bc", "1f", queue="named"), Broadcast("bc", "named", routing_key="celery")),
        (topology.broadcast("bc", "1f", "k", queue="bcast.1f"), Broadcast("bc", "bcast.1f", routing_key="k")),
        (
            topology.events("1f", "worker.#"),
            kombu.Queue(
                "celeryev.1f", kombu.Exchange("celeryev", "topic"), "worker.#",
                auto_delete=True, durable=False, exclusive=True, message_ttl=5.0, expires=60.0,
            ),
        ),
        (
            topology.events("1f", exchange="ev", prefix="p", durable=True, exclusive=False, message_ttl=None, expires=None),
            kombu.Queue("p.1f", kombu.Exchange("ev", "topic"), "#", auto_delete=False, durable=True),
        ),
        (topology.rpc_replies("oid"), kombu.Queue("oid", durable=True, auto_delete=True, expires=86400)),
        (topology.rpc_replies("oid", None), kombu.Queue("oid", durable=True, auto_delete=True)),
        (topology.foreign_results("1f-2e"), kombu.Queue("1f2e", auto_delete=True, expires=86400)),
    ],
)  # fmt: skip
def test_kombu_declares_the_same(ours: topology.Topology, theirs: kombu.Queue) -> None:
    assert calls(ours) == declared(theirs)


@pytest.mark.parametrize(("durable", "exclusive"), [(False, True), (False, False), (True, False)])
def test_control_queues_are_kombus(durable: bool, exclusive: bool) -> None:
    mailbox = Mailbox(
        "celery", type="fanout", queue_ttl=300.0, queue_expires=10.0, reply_queue_ttl=300.0, reply_queue_expires=10.0,
        queue_durable=durable, queue_exclusive=exclusive,
    )  # fmt: skip
    switches = {"durable": durable, "exclusive": exclusive}
    assert calls(topology.control_requests("w1@h", **switches)) == declared(mailbox.get_queue("w1@h"))
    assert calls(topology.control_replies(mailbox.oid, **switches)) == declared(mailbox.get_reply_queue())


def test_names_can_be_configured() -> None:
    exchange, queue, binding = topology.control_replies("oid", namespace="mine", message_ttl=None, expires=None)
    assert exchange == Exchange("reply.mine.pidbox", durable=False)
    assert queue == Queue("oid.reply.mine.pidbox", durable=False, exclusive=True, auto_delete=True)
    assert binding == Binding("oid.reply.mine.pidbox", "reply.mine.pidbox", "oid")
    assert topology.broadcast("bc", "1f")[1] == Queue("bcast.1f", auto_delete=True)
    assert topology.foreign_result_exchange() == Exchange("celeryresults", "direct")


@pytest.mark.parametrize(
    "declaration",
    [
        Exchange("x", "topic", durable=False, auto_delete=True, passive=True, arguments={"a": 1}),
        Queue("q", durable=False, exclusive=True, auto_delete=True, passive=True, arguments={"a": 1}),
        Binding("q", "x", "k", {"a": 1}),
        ExchangeBinding("d", "s", "k", {"a": 1}),
    ],
)
def test_a_declaration_is_a_call(declaration: topology.Declaration) -> None:
    name, args = declaration.call()
    assert read_method(write_method(name, args)) == (name, args)


@pytest.mark.parametrize(
    "queue",
    [
        Queue("q", exclusive=True, arguments=QUORUM),
        Queue("q", auto_delete=True, arguments=QUORUM),
        Queue("q", durable=False, arguments=QUORUM),
        Queue("q", arguments={**QUORUM, "x-max-priority": 3}),
    ],
)
def test_what_a_quorum_queue_cannot_be(queue: Queue) -> None:
    with pytest.raises(BadCall, match="queue q: a quorum queue"):
        topology.task_queue(queue)


def test_an_exclusive_queue_is_not_durable() -> None:
    for make in (topology.control_requests, topology.control_replies, topology.events):
        with pytest.raises(BadCall, match="cannot be durable"):
            make("1f", durable=True)


def test_dead_letter_arguments() -> None:
    assert topology.dead_letter_arguments("dlx") == {"x-dead-letter-exchange": "dlx"}
    assert topology.dead_letter_arguments("", "dead", at_least_once=True) == {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"product": "RabbitMQ", "version": "3.10.8"}, True),
        ({"product": "RabbitMQ", "version": "3.3.0"}, True),
        ({"product": "RabbitMQ", "version": "3.2.4"}, False),
        ({"product": "RabbitMQ", "version": "3"}, False),
        ({"product": "RabbitMQ", "version": "4.0.1"}, False),
        ({"product": "RabbitMQ", "version": "4.1.0-rc.1"}, False),
        ({"product": "RabbitMQ", "version": ""}, False),
        ({"product": "RabbitMQ"}, False),
        ({"product": "LavinMQ", "version": "3.10.8"}, False),
        ({}, False),
    ],
)
def test_prefetch_is_global_where_kombu_says_so(server: dict[str, str], expected: bool) -> None:
    class Connection:
        server_properties = server

    assert topology.qos_is_global(server) is expected
    assert Transport.qos_semantics_matches_spec(None, Connection) is not expected
    assert topology.qos_is_global(server, [Queue("a"), Queue("q", arguments=QUORUM)]) is False
    assert topology.qos_is_global(server, [Queue("a")]) is expected


@pytest.mark.parametrize("version", [5, None, "three.ten", "²." * 3, "9" * 5000, "3.x", {}])
def test_an_odd_version_is_not_global(version: object) -> None:
    assert topology.qos_is_global({"product": "RabbitMQ", "version": version}) is False


def test_qos_call() -> None:
    assert topology.qos_call(8, is_global=True) == (
        "basic.qos",
        {"prefetch_size": 0, "prefetch_count": 8, "global": True},
    )
    for wrong in (-1, 65536):
        with pytest.raises(BadCall, match="from 0 to 65535"):
            topology.qos_call(wrong, is_global=False)

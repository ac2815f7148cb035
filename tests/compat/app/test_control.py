"""Remote control: what `app.control` sends reaches stock workers, and their replies come back."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat.app import Celery, mailing
from celeriac.compat.exceptions import DuplicateNodenameWarning, ImproperlyConfigured
from celeriac.protocol.wire import control as wire
from celeriac.protocol.wire.message import Message
from celeriac.worker.brokers.base import Parcel, Queue
from tests import servers

PROGRAM = """
from celery import Celery
app = Celery("w", broker={url!r}, backend="disabled")
@app.task(name="w.add")
def add(x, y):
    return x + y
"""


def _app(url: str, **conf: Any) -> Celery:
    return Celery("w", broker=url, backend="disabled", set_as_current=False, **conf)


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def fleet(
    request: pytest.FixtureRequest, stock_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Celery]:
    """An app with one stock worker, `w1@here`."""
    url: str = request.getfixturevalue(f"{request.param}_server").url
    home = tmp_path_factory.mktemp("fleet")
    (home / "wapp.py").write_text(PROGRAM.format(url=url))
    env = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "PYTHON", "COV"))}
    command = [stock_python, "-m", "celery", "-A", "wapp", "worker", "-P", "solo", "-n", "w1@here", "-l", "INFO"]
    with (home / "log").open("w") as log, ExitStack() as end:
        worker = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log)
        try:
            app = _app(url)
            end.callback(app.close)
            until = time.monotonic() + 30
            while not app.control.ping(timeout=0.5, limit=1):
                assert time.monotonic() < until, (home / "log").read_text()
            yield app
            app.control.shutdown()
            assert worker.wait(15) == 0
        finally:
            worker.kill()
            worker.wait()


@pytest.mark.real
def test_a_stock_worker_is_asked(fleet: Celery) -> None:
    inspect = fleet.control.inspect(timeout=20, limit=1)
    assert inspect.ping() == {"w1@here": {"ok": "pong"}}
    assert inspect.registered() == {"w1@here": ["w.add"]}
    assert inspect.registered("max_retries") == {"w1@here": ["w.add [max_retries=3]"]}
    assert inspect.clock()["w1@here"]["clock"] > 0
    assert {"pid", "pool", "broker"} <= inspect.stats()["w1@here"].keys()
    assert inspect.active() == inspect.scheduled() == inspect.reserved() == {"w1@here": []}
    assert fleet.control.inspect("w1@here", timeout=20, limit=1)._prepare([{"w1@here": 1}]) == 1
    assert fleet.control.inspect(["nobody@here"], timeout=0.2).ping() is None


@pytest.mark.real
def test_a_stock_worker_is_told(fleet: Celery) -> None:
    control, got = fleet.control, []
    assert control.revoke("the-id") is None
    assert "the-id" in control.inspect(timeout=20, limit=1).revoked()["w1@here"]
    asked = {"reply": True, "limit": 1, "timeout": 3.0}
    assert control.rate_limit("w.add", "1/m", **asked) == [{"w1@here": {"ok": "new rate limit set successfully"}}]
    assert control.rate_limit("nothing", "1/m", **asked) == [{"w1@here": {"error": "unknown task"}}]
    assert control.ping(["w1@here"], timeout=3.0, callback=got.append) == got == [{"w1@here": {"ok": "pong"}}]
    assert control.ping(pattern="w*", matcher="glob", limit=1, timeout=20) == got
    assert control.ping(pattern="x*", matcher="glob", timeout=0.2) == []


@pytest.mark.real
def test_a_kombu_connection_is_used_when_given(fleet: Celery) -> None:
    with fleet.connection_for_write() as connection:
        assert fleet.control.ping(connection=connection, limit=1, timeout=20) == [{"w1@here": {"ok": "pong"}}]


@pytest.mark.real
def test_what_waits_is_deleted(fleet: Celery) -> None:
    with _app(fleet.conf.broker_url, task_default_queue="nobody-takes") as quiet:
        for _ in range(3):
            quiet.send_task("w.add", (1, 2))
        assert quiet.control.purge() == 3
        assert quiet.control.discard_all() == 0


@pytest.mark.real
def test_asking_leaves_nothing_behind(redis_server: servers.RedisServer) -> None:
    url = f"redis://127.0.0.1:{redis_server.port}/9"
    client = redis_server.connect()
    client.call("SELECT", 9)
    assert _app(url).control.ping(timeout=0.1) == []
    assert client.call("KEYS", "*pidbox*") == []
    client.close()


class _Node:
    """A worker in this process: it answers each request with these messages."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.requests: list[wire.Request] = []
        self.broker = mailing.connect(app)
        self.broker.listen([Queue("node", "celery.pidbox", "fanout", exchange_durable=False)], credit=10, acks=False)

    def answer(self, *messages: Any) -> threading.Thread:
        def run() -> None:
            for delivery in self.broker.take(1, 5.0):
                request = wire.parse_request(delivery.message)
                self.requests.append(request)
                home = request.reply_to
                assert home
                parcels = [Parcel(make(request), home.routing_key, home.exchange) for make in messages]
                self.broker.send(parcels)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def _reply(node: str, value: Any, clock: int = 3) -> Any:
    return lambda request: wire.build_reply(wire.Reply(node, value, request.ticket, clock))


@pytest.fixture
def node() -> Iterator[_Node]:
    made = _Node(_app("memory://"))
    yield made
    made.broker.close()


def test_replies_are_given_in_their_order_and_move_the_clock(node: _Node) -> None:
    thread = node.answer(_reply("a", 1), _reply("b", {"ok": 2}, clock=50))
    assert node.app.control.broadcast("ping", {"x": 1}, reply=True, timeout=20, limit=2, y=2) == [
        {"a": 1},
        {"b": {"ok": 2}},
    ]
    thread.join()
    assert (node.requests[0].method, node.requests[0].arguments) == ("ping", {"x": 1, "y": 2})
    assert node.app.clock.value > 50


def test_what_is_no_reply_costs_no_other(node: _Node, caplog: pytest.LogCaptureFixture) -> None:
    def garbage(request: wire.Request) -> Message:
        return Message(b"{", "application/json", "utf-8", {}, {})

    def of_another(request: wire.Request) -> Message:
        return wire.build_reply(wire.Reply("late", 1, "another-ticket"))

    thread = node.answer(garbage, of_another, _reply("a", 1))
    assert node.app.control.broadcast("ping", reply=True, timeout=20, limit=1) == [{"a": 1}]
    thread.join()
    assert "cannot be read" in caplog.text


def test_as_many_replies_as_there_are_names(node: _Node) -> None:
    thread = node.answer(_reply("a", 1), _reply("b", 2))
    began = time.monotonic()
    assert node.app.control.broadcast("ping", destination=["a"], reply=True, timeout=30) == [{"a": 1}]
    assert time.monotonic() - began < 20
    thread.join()
    assert node.requests[0].destination == ("a",)


def test_a_request_is_written_as_the_workers_of_the_app_read(node: _Node) -> None:
    app = _app("memory://", task_serializer="yaml", accept_content=["yaml"])
    app.control.broadcast("ping")
    (delivery,) = node.broker.take(1, 2.0)
    assert delivery.message.content_type == "application/x-yaml"
    assert b"method: ping" in delivery.message.body


def test_names_come_as_a_list(node: _Node) -> None:
    with pytest.raises(ValueError, match="destination must be a list/tuple"):
        node.app.control.broadcast("ping", destination="a")


def test_two_workers_of_one_name(node: _Node) -> None:
    thread = node.answer(_reply("a", 1), _reply("a", 2))
    with pytest.warns(DuplicateNodenameWarning, match="name: a"):
        assert node.app.control.inspect(limit=2).clock() == {"a": 2}
    thread.join()


def test_stamps_that_are_told_are_revoked(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    def broadcast(command: str, **options: Any) -> Any:
        told.append((command, options["arguments"]))
        return [{"a": {"ok": {"id"}}}, {"b": {"error": "no"}}] if "stamped" in command else None

    monkeypatch.setattr(node.app.control, "broadcast", broadcast)
    node.app.control.revoke_by_stamped_headers({"k": "v"}, terminate=True)
    assert told[1] == ("revoke", {"task_id": ["id"], "terminate": True, "signal": "SIGTERM"})


def test_queues_that_cannot_be(node: _Node) -> None:
    with pytest.raises(ImproperlyConfigured, match="control_queue_durable"):
        _ = _app("memory://", control_queue_durable=True, control_queue_exclusive=True).control


def test_kombus_mailbox_is_there_for_who_wants_it(node: _Node) -> None:
    mailbox = node.app.control.mailbox
    assert (type(mailbox).__name__, mailbox.namespace, mailbox.type) == ("Mailbox", "celery", "fanout")

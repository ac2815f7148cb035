"""Queues, litter and foreign clients on a RabbitMQ whose management plugin answers: what it tells and AMQP does not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from celeriac import Celery
from celeriac.compat.bin import queues_rabbit
from celeriac.compat.bin.celery import celery
from celeriac.worker import brokers
from celeriac.worker.brokers import rabbit_management
from celeriac.worker.brokers.base import Park, Queue
from celeriac.worker.brokers.rabbit_management import Management, Unanswered
from tests import servers
from tests.servers import RabbitServer
from tests.worker.running import wait_until

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitServer]:
    with servers.rabbitmq_server(management=True) as running:
        yield running
        os.killpg(running.pid, signal.SIGKILL)  # to leave in order takes it seconds, and nothing of it is kept


@pytest.fixture
def app(server: RabbitServer) -> Iterator[Celery]:
    made = Celery("managed", broker=server.url, set_as_current=False)
    made.conf.task_default_queue = "managed"
    made.conf.broker_management_url = f"http://127.0.0.1:{server.management}"
    yield made
    made.close()


def run(app: Celery, *words: str) -> Result:
    return CliRunner().invoke(celery, [*words], default_map={"app": app})


def told(app: Celery, *words: str) -> Any:
    done = run(app, *words, "--json")
    assert done.stdout, done.output
    return json.loads(done.stdout)


def rows(app: Celery) -> dict[str, Any]:
    return {row["queue"]: row for row in told(app, "queues", "-t", "0.1")["queues"]}


def test_bindings_are_listed(app: Celery, server: RabbitServer) -> None:
    with closing(brokers.connect(server.url)) as broker:
        broker.declare([Queue("bound", "subjects", "topic", "red.#")])
    wait_until(lambda: "red.#" in run(app, "list", "bindings").output, 20)
    done = run(app, "list", "bindings")
    assert done.exit_code == 0, done.output
    assert ["bound", "subjects", "red.#"] in [line.split() for line in done.output.splitlines()]
    assert ["managed", "managed", "managed"] in [line.split() for line in done.output.splitlines()]
    app.conf.broker_management_url = f"http://127.0.0.1:{servers.free_port()}"
    done = run(app, "list", "bindings")
    assert done.exit_code == 69
    assert "its management plugin does not answer" in done.output
    assert "rabbitmq-plugins enable rabbitmq_management" in done.output


def test_ages_and_what_is_held_and_queues_of_others(app: Celery, server: RabbitServer) -> None:
    app.conf.task_send_timestamp = True
    for _ in range(3):
        app.send_task("managed.add")
    with closing(brokers.connect(server.url)) as broker:
        broker.declare([Queue("of-another-app")])
        broker.listen([Queue("managed", "managed", routing_key="managed")], credit=1)
        assert len(broker.take(1, 5)) == 1
        wait_until(lambda: rows(app)["managed"]["unacked"] == 1, 20, lambda: f"{rows(app)}")
        wait_until(lambda: rows(app)["managed"]["oldest_is"] == "exact", 20, lambda: f"{rows(app)}")
        row = rows(app)["managed"]
        assert (row["ready"], row["consumers"], row["parked"]) == (2, 1, 0)
        assert 0 <= row["oldest"] < 60
    found = told(app, "queues", "-t", "0.1")
    assert "of-another-app" in {each["queue"] for each in found["queues"]}
    assert found["unknown"] == {}
    assert found["litter"] == []
    app.conf.task_send_timestamp = False
    app.send_task("managed.add", queue="ageless")
    wait_until(lambda: rows(app)["ageless"]["ready"] == 1, 20)
    assert rows(app)["ageless"]["oldest_is"] == "unknown"
    assert "timestamp" in told(app, "queues", "-t", "0.1")["unknown"]["oldest"]


def test_a_login_without_the_tag_and_no_plugin_at_all(app: Celery, server: RabbitServer) -> None:
    wrong = f"http://nobody:secret@127.0.0.1:{server.management}"
    with pytest.raises(Unanswered, match=r"401, the user nobody needs the tag `monitoring` or `management`"):
        Management(server.url, {}, wrong).queues()
    rabbit_management._silent.clear()
    closed = f"http://127.0.0.1:{servers.free_port()}"
    with pytest.raises(Unanswered, match="refused"):
        Management(server.url, {}, closed).queues()
    began = time.monotonic()
    with pytest.raises(Unanswered, match="refused"):  # it is left alone for a while
        Management(server.url, {}, closed).queues()
    assert time.monotonic() - began < 1
    rabbit_management._silent.clear()


def test_parked_messages_are_counted(app: Celery) -> None:
    assert told(app, "queues", "-t", "0.1")["parked"] == 0
    with app.connection_for_write() as connection:
        kept = queues_rabbit.parked(connection)
        assert kept == 0
        with closing(brokers.connect(app.conf.broker_url, {"delayed_delivery": "classic"})) as broker:
            home = Queue("parking", "parking", exchange_type="topic", routing_key="parking")
            broker.declare([home])
            app.send_task("managed.add", exchange="parking", routing_key="parking")
            broker.listen([home], credit=1)
            (taken,) = broker.take(1, 10)
            broker.settle([(taken, Park(time.time() + 3600))])
            broker.tend(time.time())
        wait_until(lambda: queues_rabbit.parked(connection) == 1, 20)
    found = told(app, "queues", "-t", "0.1")
    assert found["parked"] == 1
    assert found["unknown"]["parked"].startswith("1 in all")
    assert not [each["queue"] for each in found["queues"] if each["queue"].startswith("celery_delayed")]


def test_litter_is_told_first_and_removed_when_it_is_wanted(
    app: Celery, server: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours later, by the clock of who looks."""
    later = SimpleNamespace(time=lambda: time.time() + 7200, monotonic=time.monotonic)
    monkeypatch.setattr(rabbit_management, "time", later)
    names = ["0f0e0d0c-1111-3222-8333-444455556666.reply.celery.pidbox", "celeryev.0f0e0d0c", "0" * 32]
    with app.connection_for_write() as connection, connection.channel() as channel:
        for name in names:
            channel.queue_declare(queue=name, durable=True, auto_delete=False)
        channel.queue_declare(queue="tasks-of-somebody", durable=True, auto_delete=False)

        def found(*words: str) -> Any:
            return told(app, "janitor", *words)

        wait_until(lambda: {each["name"] for each in found()["found"]} == set(names), 30, lambda: f"{found()}")
        assert found()["removed"] == 0
        assert len(found()["found"]) == 3, "looking removes nothing"
        taking = connection.channel()
        taking.basic_consume(queue=names[0], callback=lambda _: None)
        said = run(app, "janitor", "--yes").output
        assert said.endswith(("2 of 3 removed.\n", "2 of 2 removed.\n")), said  # it may have been seen to be used
        wait_until(lambda: queues_rabbit.count(connection, names[1]) == (None, None), 20)
        assert queues_rabbit.count(connection, names[0])[0] == 0, "somebody has come back to it"
        assert queues_rabbit.count(connection, "tasks-of-somebody")[0] == 0
        taking.close()
        channel.queue_delete(names[0])

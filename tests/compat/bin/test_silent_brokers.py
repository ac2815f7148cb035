"""Commands where a broker is silent, or is the second of several: an answer or an error, and never a wait without end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner, Result

from celeriac import Celery
from celeriac.compat.beat_entries import lease_of, place_of
from celeriac.compat.bin.celery import celery
from celeriac.compat.bin.queues_rabbit import asked
from celeriac.compat.exceptions import ImproperlyConfigured
from celeriac.worker import brokers
from celeriac.worker.brokers.rabbit_management import Unanswered
from tests.servers import RabbitServer, RedisServer, free_port, sentinel_server

PATIENCE = 0.3
"""Seconds, with who never answers. Who does may be slow on a busy machine, and a port that is away refuses at once."""


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word, as a server that is stopped."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def run(broker: str, *words: str, patience: float = 10, **settings: Any) -> Result:
    app = Celery("silent", broker=broker, set_as_current=False)
    app.conf.update(broker_connection_timeout=patience, **settings)
    with closing(app):
        return CliRunner().invoke(celery, [*words], default_map={"app": app})


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("redis", ("amqp", "queue.declare", "q")),
        ("redis", ("dead", "list")),
        ("redis", ("list", "bindings")),
        ("redis", ("migrate", "memory://", "SILENT")),
        ("redis", ("purge", "-f")),
        ("redis", ("queues", "-t", "0.1")),
        ("amqp", ("janitor",)),
        ("amqp", ("list", "bindings")),
    ],
)
def test_a_silent_broker_is_told_of(silent: int, scheme: str, words: tuple[str, ...]) -> None:
    url = f"{scheme}://127.0.0.1:{silent}/0"
    began = time.monotonic()
    done = run(url, *(url if word == "SILENT" else word for word in words), patience=PATIENCE)
    assert done.exit_code == 69, done.output
    assert "Could not connect to the message broker" in done.output
    assert time.monotonic() - began < 60, "kombu tries some times, and each of them ends"


def test_a_silent_broker_of_another_kind_behind_one_that_is_away_is_told_of(silent: int) -> None:
    urls = f"amqp://127.0.0.1:{free_port()}//;redis://127.0.0.1:{silent}/0"
    done = run(urls, "list", "bindings", patience=PATIENCE)
    assert (done.exit_code, "Timeout" in done.output) == (69, True), done.output


def test_the_lease_of_beats_is_not_waited_for_longer_than_it_lasts(silent: int) -> None:
    done = run(f"redis://127.0.0.1:{silent}/0", "schedule", "list", beat_lease_ttl=PATIENCE)
    assert done.exit_code == 69, done.output
    assert "after 0.3 s" in done.output


@pytest.mark.real
def test_the_first_redis_that_answers_is_looked_at(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    redis_server.call("LPUSH", "1.reply.celery.pidbox", "x")
    away = f"redis://127.0.0.1:{free_port()}/0"
    urls = f"{away};{redis_server.url}"
    note = f"This is {redis_server.url}, the first that answers of 2 in broker_url; the others were not looked at"
    for words in (("queues", "-t", "0.1"), ("janitor", "-t", "0.1"), ("doctor", "--live", "-t", "0.1")):
        done = run(urls, *words)
        assert " ".join(note.split()) in " ".join(done.output.split()), (words, done.output)
        assert note not in run(redis_server.url, *words).output
    assert run(urls, "dead", "list").exit_code == 0
    found = json.loads(run(urls, "queues", "-t", "0.1", "--json").stdout)
    assert found["broker"] == redis_server.url
    assert run(f"{away};redis://127.0.0.1:{free_port()}/0", "queues", "-t", "0.1").exit_code == 69
    redis_server.call("FLUSHALL")


@pytest.mark.real
def test_sentinels_of_which_the_first_is_away(redis_server: RedisServer) -> None:
    """They lead to one Redis: it is looked at, and the lease of beats and its messages go there together."""
    with sentinel_server(redis_server) as port:
        urls = f"sentinel://127.0.0.1:{free_port()}/0;sentinel://127.0.0.1:{port}/0"
        settings = {"broker_transport_options": {"master_name": "mymaster"}}
        done = run(urls, "queues", "-t", "0.1", **settings)
        assert (done.exit_code, "broker_url" in done.output) == (0, False), done.output
        app = Celery("silent", broker=urls, set_as_current=False, **settings)
        with closing(app), closing(lease_of(app)) as lease:
            assert lease.queues_at == place_of(app)
            assert lease.acquire(10).token
        app = Celery("silent", broker=redis_server.url, set_as_current=False)
        app.conf.beat_lease_url = f"sentinel://127.0.0.1:{port}/0?master_name=mymaster"
        with closing(app), closing(lease_of(app)) as lease:
            assert lease.is_held()
    redis_server.call("FLUSHALL")


def test_beats_cannot_agree_in_several_places() -> None:
    app = Celery("silent", broker="redis://a;redis://b", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match=r"names several redis:// brokers.*set beat_lease_url"):
        lease_of(app)


@pytest.mark.real
def test_the_second_rabbitmq_is_looked_at(rabbitmq_server: RabbitServer) -> None:
    urls = f"amqp://guest:guest@127.0.0.1:{free_port()}//;{rabbitmq_server.url}"
    with closing(brokers.connect(rabbitmq_server.url)):
        done = run(urls, "queues", "-t", "0.1")
    assert done.exit_code == 0, done.output
    assert "of 2 in broker_url" in done.output


def test_each_management_plugin_has_its_turn() -> None:
    first, second = free_port(), free_port()
    app = Celery("silent", broker=f"amqp://127.0.0.1:{first}//;amqp://127.0.0.2:{second}//", set_as_current=False)
    tried = []

    def question(management: Any) -> str:
        tried.append(str(management))
        if len(tried) == 1:
            raise Unanswered("not here")
        return "here"

    assert asked(app, question) == "here"
    assert tried == ["http://127.0.0.1:15672", "http://127.0.0.2:15672"]

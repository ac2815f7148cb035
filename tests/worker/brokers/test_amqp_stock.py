"""Beside stock Celery 5.7 on one RabbitMQ: each takes what the other sends, both take from one queue, delays meet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from celeriac.protocol.wire.message import Task, build
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Delivery, Parcel, Park, Queue, Verdict
from tests.conformance.brokers import acked, take_all
from tests.servers import RabbitServer

pytestmark = pytest.mark.real

STOCK = """
import os, sys, time
from celery import Celery
from kombu import Exchange, Queue

url = sys.argv[1] if sys.argv[0].endswith("stock.py") else sys.argv[sys.argv.index("-b") + 1]
app = Celery("stock", broker=url)
app.conf.update(
    task_default_queue="shared", task_acks_late=True, worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    task_queues=[
        Queue("shared"),
        Queue("far", Exchange("far", "topic"), "far", queue_arguments={"x-queue-type": "quorum"}),
    ],
)

@app.task(name="note", bind=True)
def note(self, number, slow=0):
    time.sleep(slow)
    with open("noted", "a") as file:
        file.write(f"{number} {int(self.request.delivery_info['redelivered'])}\\n")

if __name__ == "__main__":
    options = {"queue": sys.argv[3]}
    if sys.argv[4] != "0":
        options["countdown"] = int(sys.argv[4])
    for number in range(int(sys.argv[2])):
        note.apply_async((number,), **options)
"""
QUEUE = Queue("shared", "shared", "direct", "shared")
FAR = Queue("far", "far", "topic", "far", arguments={"x-queue-type": "quorum"})


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "stock.py"
    path.write_text(STOCK)
    return path


@pytest.fixture
def broker(rabbitmq_server: RabbitServer) -> Iterator[Broker]:
    broker = brokers.connect(rabbitmq_server.url)
    broker.declare([QUEUE])
    broker.purge(QUEUE.name)
    yield broker
    broker.close()


@contextmanager
def worker(python: Path, script: Path, url: str, queue: str) -> Iterator[subprocess.Popen[bytes]]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [str(python), "-m", "celery", "-A", "stock", "-b", url, "worker", "-P", "solo", "-Q", queue, *quiet]
    with (script.parent / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=script.parent, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        print((script.parent / "worker.log").read_text())  # seen when the test fails


def stock_sends(python: Path, script: Path, url: str, count: int, queue: str = "shared", countdown: int = 0) -> None:
    command = [str(python), str(script), url, str(count), queue, str(countdown)]
    subprocess.run(command, cwd=script.parent, check=True, timeout=60)


def tasks(count: int, **kwargs: float) -> Sequence[Parcel]:
    return [Parcel(build(Task("note", f"id-{number}", (number,), kwargs)), "shared") for number in range(count)]


def noted(script: Path) -> list[int]:
    file = script.parent / "noted"
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def until(true: Callable[[], bool], within: float = 30) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def numbers(taken: Sequence[Delivery]) -> list[int]:
    return [json.loads(each.message.body)[0][0] for each in taken]


def test_we_take_what_stock_sends(
    broker: Broker, rabbitmq_server: RabbitServer, stock_python: Path, script: Path
) -> None:
    stock_sends(stock_python, script, rabbitmq_server.url, 20)
    broker.listen([QUEUE], credit=100)
    taken = take_all(broker, 20)
    assert numbers(taken) == list(range(20))
    message = taken[0].message
    assert (message.headers["task"], message.headers["id"]) == ("note", message.properties["correlation_id"])
    assert (taken[0].exchange, taken[0].routing_key, taken[0].priority) == ("", "shared", 0)
    broker.settle(acked(taken))
    broker.close()
    again = brokers.connect(rabbitmq_server.url)
    assert again.size("shared") == 0
    again.close()


def test_stock_runs_what_we_send_and_put_back_and_both_take_from_one_queue(
    broker: Broker, rabbitmq_server: RabbitServer, stock_python: Path, script: Path
) -> None:
    """Each message runs once: with us or with them. The worker is stopped (SIGSTOP) while we put some back."""
    with worker(stock_python, script, rabbitmq_server.url, "shared") as process:
        broker.send(tasks(1))
        until(lambda: noted(script) == [0])
        os.kill(process.pid, signal.SIGSTOP)
        broker.listen([QUEUE], credit=10)
        broker.send(tasks(60)[1:])
        held = take_all(broker, 10)
        assert len(held) == 10
        verdicts = (Verdict.RESTORE, Verdict.REQUEUE)
        broker.settle([(each, verdicts[place % 2]) for place, each in enumerate(held)])
        broker.tend(time.time())
        os.kill(process.pid, signal.SIGCONT)
        ours: list[int] = []

        def take() -> bool:
            taken = broker.take(3, 0.02)
            ours.extend(numbers(taken))
            broker.settle(acked(taken))
            broker.tend(time.time())
            return len(ours) + len(noted(script)) >= 60

        until(take)
        assert ours
        assert sorted(ours + noted(script)) == list(range(60))


def test_what_stock_delays_comes_to_us_in_time_and_what_we_park_to_stock(
    broker: Broker, rabbitmq_server: RabbitServer, stock_python: Path, script: Path
) -> None:
    """The quorum queue makes stock use native delayed delivery; we listened first, so the way back is ours."""
    broker.listen([FAR], credit=10)
    sent = time.time()
    stock_sends(stock_python, script, rabbitmq_server.url, 1, "far", 3)
    (taken,) = take_all(broker, 1, within=20)
    assert time.time() - sent >= 3
    assert taken.exchange == "celery_delayed_delivery"
    assert taken.routing_key.endswith(".1.1.far")
    assert not any(name.startswith("x-death") for name in taken.message.headers)
    broker.settle([(taken, Park(time.time() + 1))])
    broker.tend(time.time())
    broker.close()
    with worker(stock_python, script, rabbitmq_server.url, "far"):
        until(lambda: noted(script) == [0])

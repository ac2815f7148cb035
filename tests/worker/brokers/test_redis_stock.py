"""Beside stock Celery 5.7 on one Redis: each takes what the other sends, each gives back what the other held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from celeriac.protocol.wire.message import Task, build
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue
from tests import servers
from tests.conformance.brokers import acked, take_all
from tests.worker.brokers.test_redis import until

pytestmark = pytest.mark.real

STOCK = """
import sys, time
import redis
from celery import Celery

url = sys.argv[1] if sys.argv[0].endswith("stock.py") else sys.argv[sys.argv.index("-b") + 1]
app = Celery("stock", broker=url)
app.conf.update(
    task_default_queue="shared", broker_transport_options={"visibility_timeout": 2}, task_acks_late=True,
    broker_connection_retry_on_startup=True, worker_prefetch_multiplier=4,
)
done = redis.Redis.from_url(url)

@app.task(name="note")
def note(number, slow=0):
    done.rpush("started", number)
    time.sleep(slow)
    done.rpush("noted", number)

if __name__ == "__main__":
    for number in range(int(sys.argv[2])):
        note.delay(number, slow=int(sys.argv[3]))
"""
QUEUE = Queue("shared", "shared", "direct", "shared")


@pytest.fixture
def server(redis_server: servers.RedisServer) -> servers.RedisServer:
    redis_server.call("FLUSHALL")
    return redis_server


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "stock.py"
    path.write_text(STOCK)
    return path


@contextmanager
def worker(python: Path, script: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [str(python), "-m", "celery", "-A", "stock", "-b", url, "worker", "-P", "solo", "-Q", "shared", *quiet]
    process = subprocess.Popen(command, cwd=script.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def tasks(count: int) -> Sequence[Parcel]:
    return [Parcel(build(Task("note", f"id-{number}", (number,))), "shared") for number in range(count)]


def numbers(server: servers.RedisServer, key: str = "noted") -> list[int]:
    return sorted(map(int, server.call("LRANGE", key, 0, -1)))


def stock_sends(python: Path, script: Path, url: str, count: int, slow: int = 0) -> None:
    subprocess.run([str(python), str(script), url, str(count), str(slow)], cwd=script.parent, check=True, timeout=60)


HOLDER = """
import sys, time
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Queue
broker = brokers.connect(sys.argv[1], {"visibility_timeout": 2})
broker.listen([Queue("shared")], credit=5)
print(len(broker.take(5, 10)), flush=True)
time.sleep(60)  # until it is killed
"""


def test_stock_runs_what_we_send_and_what_our_killed_taker_held(
    server: servers.RedisServer, stock_python: Path, script: Path
) -> None:
    broker = brokers.connect(server.url)
    broker.declare([QUEUE])
    broker.send(tasks(20))
    taker = subprocess.Popen([sys.executable, "-c", HOLDER, server.url], stdout=subprocess.PIPE, text=True)
    assert taker.stdout is not None
    assert taker.stdout.readline() == "5\n"
    taker.kill()
    taker.wait()
    taker.stdout.close()
    broker.close()
    time.sleep(2.1)  # until they are overdue: a stock worker sweeps when it starts, and then only every 100 s
    with worker(stock_python, script, server.url):
        until(lambda: len(numbers(server)) >= 20, within=30)
        until(lambda: server.call("HLEN", "unacked") == 0)
    assert numbers(server) == list(range(20))


def test_we_take_what_stock_sends_and_what_its_killed_worker_held(
    server: servers.RedisServer, stock_python: Path, script: Path
) -> None:
    stock_sends(stock_python, script, server.url, 20, slow=60)
    with worker(stock_python, script, server.url) as stock:
        until(lambda: server.call("HLEN", "unacked") > 0, within=30)
        os.kill(stock.pid, signal.SIGKILL)
        stock.wait()
    broker = brokers.connect(server.url, {"visibility_timeout": 2})
    broker.listen([QUEUE], credit=50)
    held = server.call("HLEN", "unacked")
    taken = take_all(broker, 20 - held)
    assert len(taken) == 20 - held
    assert {each.message.headers["task"] for each in taken} == {"note"}
    end = time.monotonic() + 15
    while len(taken) < 20 and time.monotonic() < end:
        broker.tend(time.time())
        taken += broker.take(20, 0.1)
    assert len({each.message.headers["id"] for each in taken}) == 20
    broker.settle(acked(taken))
    broker.close()
    assert server.call("HLEN", "unacked") == 0
    assert server.call("LLEN", "shared") == 0


def test_both_work_off_one_queue_and_each_message_is_done_once(
    server: servers.RedisServer, stock_python: Path, script: Path
) -> None:
    broker = brokers.connect(server.url)
    broker.listen([QUEUE], credit=4)
    broker.send(tasks(10))
    with worker(stock_python, script, server.url):
        until(lambda: len(numbers(server)) > 0, within=30)
        broker.send(tasks(300)[10:])
        mine: list[int] = []
        end = time.monotonic() + 30
        while len(mine) + len(numbers(server)) < 300 and time.monotonic() < end:
            taken = broker.take(1, 0.05)
            mine += [int(each.message.headers["id"].removeprefix("id-")) for each in taken]
            broker.settle(acked(taken))
            broker.tend(time.time())
    broker.close()
    assert sorted(mine + numbers(server)) == list(range(300))
    assert mine

"""Kills of a taker at random instants: every message is in its queue, in `unacked` or done, never nowhere.

The same is done to stock kombu, which is expected to lose some; both figures end up in the report.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from celeriac.protocol.wire.redis_held import parse_entry
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel
from celeriac.worker.brokers.redis_opening import opened
from tests import servers
from tests.conformance.brokers import message

pytestmark = pytest.mark.real

TAKER = Path(__file__).with_name("redis_taker.py")
QUEUE = "loaded"
PLENTY = 2_000


class Sender:
    """Keeps the queue full, and knows what it has sent."""

    def __init__(self, url: str) -> None:
        self.broker = brokers.connect(url)
        self.sent = 0

    def fill(self) -> None:
        missing = PLENTY - self.broker.size(QUEUE)
        numbers = range(self.sent, self.sent + max(missing, 0))
        self.broker.send([Parcel(message(b"%d" % number), QUEUE) for number in numbers])
        self.sent += len(numbers)


@contextmanager
def takers(python: str, kind: str, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [python, str(TAKER), kind, url, QUEUE]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()


def kill_one(process: subprocess.Popen[str], server: servers.RedisServer) -> None:
    """One taker, from its start to its death at some instant after its first message."""
    assert process.stdin is not None
    assert process.stdout is not None
    done = server.call("SCARD", "done")
    process.stdin.write("go\n")
    process.stdin.flush()
    pid = int(process.stdout.readline())
    end = time.monotonic() + 20
    while server.call("SCARD", "done") == done and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.02))
    os.kill(pid, signal.SIGKILL)
    assert process.stdout.readline() == "ended\n"


def nowhere(server: servers.RedisServer, sent: int) -> int:
    waiting = server.call("LRANGE", QUEUE, 0, -1)
    held = [parse_entry(entry).envelope for entry in server.call("HVALS", "unacked")]
    found = {opened(None, each, QUEUE).message.body for each in (*waiting, *held)} | set(
        server.call("SMEMBERS", "done")
    )
    return len({b"%d" % number for number in range(sent)} - found)


def lost_by(python: str, kind: str, server: servers.RedisServer, kills: int) -> int:
    server.call("FLUSHALL")
    sender = Sender(server.url)
    with takers(python, kind, server.url) as process:
        for _ in range(kills):
            sender.fill()
            kill_one(process, server)
    sender.broker.close()
    return nowhere(server, sender.sent)


def test_a_killed_taker_loses_nothing(redis_server: servers.RedisServer, kills: int, figures: list[str]) -> None:
    lost = lost_by(sys.executable, "celeriac", redis_server, kills)
    figures.append(f"kills of a taker on Redis: celeriac lost {lost} messages in {kills} kills")
    assert lost == 0


def test_what_stock_kombu_loses(
    redis_server: servers.RedisServer, kills: int, figures: list[str], stock_python: Path
) -> None:
    lost = lost_by(str(stock_python), "kombu", redis_server, kills)
    figures.append(f"kills of a taker on Redis: stock kombu lost {lost} messages in {kills} kills")
    assert lost >= 0

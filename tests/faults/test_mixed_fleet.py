"""A stock Celery worker and a celeriac taker on one queue, each killed in turn: no message is lost in our hands.

Where a message is, is looked up after each kill, so that a loss has a name. Stock kombu on Redis holds what it takes in
its own memory alone for a moment (celery#4354): what it loses there is reported, and only there may anything be lost.
A message is worked off twice only where its first taker was killed between its work and its acknowledgement.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.wire.message import Posting, Task
from celeriac.protocol.wire.redis_held import parse_entry
from celeriac.protocol.wire.template import Particulars, Template
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue, Verdict
from celeriac.worker.brokers.redis_opening import opened
from tests import servers

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
QUEUE = Queue("mixed", "mixed", routing_key="mixed")
TEMPLATE = Template.of(Task("record", "", ignore_result=True), Posting())
ROUND = 50  # messages between two kills
PATIENCE = 60.0
STOCK, OURS = "stock", "celeriac"
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
COMMANDS: dict[str, Sequence[str]] = {
    STOCK: ("-m", "celery", "-A", "mixed_app", "worker", "-P", "solo", "-l", "ERROR", *QUIET),
    OURS: (str(HERE / "mixed_taker.py"),),
}


def until(true: Callable[[], Any], what: str, within: float = PATIENCE, where: Callable[[], str] = str) -> None:
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"after {within:g} s {what} {where()}")
        time.sleep(0.005)


class Fleet:
    """One worker of each kind, the queue they share, and the ledger of what was worked off."""

    def __init__(self, pythons: dict[str, str], url: str, ledger: servers.RedisServer, options: dict[str, Any]) -> None:
        self.pythons = pythons
        self.ledger = ledger
        where = {"BROKER": url, "LEDGER": f"redis://127.0.0.1:{ledger.port}/0", "OPTIONS": json.dumps(options)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "CELERY"))}
        self.variables = kept | where
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.kills: Counter[str] = Counter()
        self.sender = brokers.connect(url, options)
        self.sender.declare([QUEUE])
        self.sent = 0

    def start(self, kind: str) -> None:
        self.running[kind] = subprocess.Popen(
            [self.pythons[kind], *COMMANDS[kind]],
            cwd=HERE,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, kind: str) -> None:
        process = self.running.pop(kind)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        self.kills[kind] += 1

    def send(self, count: int) -> None:
        numbers = range(self.sent, self.sent + count)
        messages = [TEMPLATE.message(Particulars(f"id-{number}", (number,))) for number in numbers]
        # Half of them as Celery addresses them, half straight to the queue.
        self.sender.send(
            [Parcel(each, "mixed", "mixed" if at % 2 else "") for at, each in zip(numbers, messages, strict=True)]
        )
        self.sent += count

    def entries(self) -> list[list[str]]:
        return [entry.decode().split(":") for entry in self.ledger.call("LRANGE", "ledger", 0, -1)]

    def done(self, kind: str = "") -> list[int]:
        return [int(number) for who, number, _ in self.entries() if who.startswith(kind)]

    def round(self, victim: str) -> None:
        """Both work; the victim dies at some instant after it has done something of this round."""
        before = len(self.done(victim))
        self.send(ROUND)
        until(lambda: len(self.done(victim)) > before or not self.sender.size("mixed"), f"{victim} worked nothing off")
        time.sleep(random.uniform(0, 0.06))
        self.kill(victim)

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait(20)
        self.sender.close()


@contextmanager
def fleet(stock_python: Path, url: str, ledger: servers.RedisServer, **options: Any) -> Iterator[Fleet]:
    made = Fleet({STOCK: str(stock_python), OURS: sys.executable}, url, ledger, options)
    try:
        for kind in COMMANDS:
            made.start(kind)
        made.send(4)
        until(lambda: len(made.done()) >= 4, "none of the two has begun")
        yield made
    finally:
        made.close()


@pytest.fixture
def ledger() -> Iterator[servers.RedisServer]:
    with servers.redis_server() as server:
        yield server


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return max(2, int(request.config.getoption("--messages")) // ROUND)


def in_redis(server: servers.RedisServer) -> set[int]:
    """What waits or is held, at one instant."""
    for command in (("MULTI",), ("LRANGE", "mixed", 0, -1), ("HVALS", "unacked")):
        server.call(*command)
    waiting, held = server.call("EXEC")
    envelopes = [*waiting, *(parse_entry(entry).envelope for entry in held)]
    return {json.loads(opened(None, each, "mixed").message.body)[0][0] for each in envelopes}


def whereabouts(server: servers.RedisServer, numbers: set[int]) -> str:
    """For the reader of a failure: what became of these."""
    dump = {name: server.call(*how) for name, how in _LOOKS.items()}
    return f"{sorted(numbers)}; of them {sorted(numbers - in_redis(server))} are nowhere; {dump}"


_LOOKS: dict[str, Sequence[str | int]] = {
    "unacked": ("HKEYS", "unacked"),
    "index": ("ZRANGE", "unacked_index", 0, -1, "WITHSCORES"),
    "keys": ("KEYS", "*"),
    "time": ("TIME",),
    "mutex": ("PTTL", "unacked_mutex"),
}


def told(fleet: Fleet, name: str, lost: int, doubles: int) -> str:
    kills = ", ".join(f"{kind} killed {count} times" for kind, count in fleet.kills.items())
    return f"mixed fleet on {name}: {fleet.sent} messages, {kills}: lost {lost}, worked off twice {doubles}"


def doubles_of(fleet: Fleet) -> set[int]:
    """Who was worked off more than once; each time but the first it must have come as redelivered."""
    times: Counter[int] = Counter()
    for _, number, again in fleet.entries():
        times[int(number)] += 1
        assert times[int(number)] == 1 or again == "1", f"{number} came again without a word"
    return {number for number, count in times.items() if count > 1}


def left_on_rabbitmq(fleet: Fleet) -> dict[int, bool]:
    """What the last kills put back, and whether it says that it had been taken."""
    left: dict[int, bool] = {}
    fleet.sender.listen([QUEUE], credit=100)
    while came := fleet.sender.take(100, 1):
        left |= {json.loads(each.message.body)[0][0]: each.redelivered for each in came}
        fleet.sender.settle([(each, Verdict.ACK) for each in came])
    return left


def test_on_redis(
    stock_python: Path, redis_server: servers.RedisServer, ledger: servers.RedisServer, rounds: int, figures: list[str]
) -> None:
    redis_server.call("FLUSHALL")
    lost_by_stock: set[int] = set()
    may_double: set[int] = set()
    # Kombu's lock of its sweep outlives a sweeper that is killed by five minutes, unless told otherwise.
    with fleet(stock_python, redis_server.url, ledger, visibility_timeout=4, unacked_mutex_expire=5) as ours:

        def nowhere() -> set[int]:
            # First what Redis has, then what is done: what moves in between is seen twice rather than not at all.
            there = in_redis(redis_server)
            return set(range(ours.sent)) - there - set(ours.done()) - lost_by_stock

        for number in range(rounds):
            victim = (STOCK, OURS)[number % 2]
            ours.round(victim)
            may_double |= in_redis(redis_server) & set(ours.done())
            if victim == STOCK:
                lost_by_stock |= nowhere()
            else:
                # A live stock worker has some in its own memory for a moment; what we lost would stay nowhere.
                until(lambda: not nowhere(), "something is nowhere after a celeriac taker was killed", 20)
            ours.start(victim)
        every = set(range(ours.sent))
        until(
            lambda: every - lost_by_stock <= set(ours.done()),
            "not all was worked off:",
            where=lambda: whereabouts(redis_server, every - lost_by_stock - set(ours.done())),
        )
        until(lambda: not in_redis(redis_server), "something is left")
        doubles = doubles_of(ours)
        figures.append(
            told(ours, "Redis", 0, len(doubles)) + f"; by stock kombu's own window: {len(lost_by_stock)} lost"
        )
    assert doubles <= may_double, "a message was worked off twice though no kill allowed it"


def test_on_rabbitmq(
    stock_python: Path,
    rabbitmq_server: servers.RabbitServer,
    ledger: servers.RedisServer,
    rounds: int,
    figures: list[str],
) -> None:
    with fleet(stock_python, rabbitmq_server.url, ledger) as ours:
        for number in range(rounds):
            victim = (STOCK, OURS)[number % 2]
            ours.round(victim)
            ours.start(victim)
        until(lambda: set(range(ours.sent)) <= set(ours.done()), "not all was worked off")
        for kind in list(ours.running):
            ours.kill(kind)
        doubles = doubles_of(ours)
        figures.append(told(ours, "RabbitMQ", ours.sent - len(set(ours.done())), len(doubles)))
        # One task at a time in each: a kill leaves at most the one that was done and not yet acknowledged, and ours
        # those of the last few milliseconds whose acknowledgement was still to be written.
        copies = left_on_rabbitmq(ours)
        assert all(again for again in copies.values()), "a message is left that nobody has ever taken"
        assert len(doubles | set(copies)) <= ours.kills[STOCK] + 4 * ours.kills[OURS]

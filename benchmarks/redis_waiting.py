"""How expensive waiting is: many idle consumers on one Redis, then a trickle of messages.

    python benchmarks/redis_waiting.py [--waiters 200] [--rate 20] [--seconds 5] [MODE ...]

Modes: celeriac (as it is), herd (as it is, but nobody steps back), blmove (each waiter blocks on one list), kombu.
Asserts nothing. docs/decisions/0001-waiting-on-redis.md quotes it.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from celeriac.protocol.wire import redis_held
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.redis import Layout
from celeriac.protocol.wire.redis_scripts import TAKE
from celeriac.worker import brokers
from celeriac.worker.brokers import redis as redis_broker
from celeriac.worker.brokers.base import Parcel, Queue, Verdict
from celeriac.worker.redis_link import connect
from celeriac.worker.redis_place import parse
from tests import servers

NAME = "q"


def celeriac(url: str, told: Callable[[float], None]) -> None:
    broker = brokers.connect(url, {}, 30)
    broker.listen([Queue(NAME)], credit=4)
    while True:
        for each in broker.take(1, 1):
            told(float(each.message.body))
            broker.settle([(each, Verdict.ACK)])
        broker.tend(time.time())


def herd(url: str, told: Callable[[float], None]) -> None:
    redis_broker._PAUSE = 0  # noqa: SLF001 - what would be without it
    celeriac(url, told)


def blmove(url: str, told: Callable[[float], None]) -> None:
    layout, place = Layout(), parse(url, {"socket_timeout": 30})
    link, waiting = connect(place), connect(place)
    link.load(TAKE)
    owner, serial = os.urandom(4).hex(), 0
    while True:
        waiting.ask(("BLMOVE", NAME, NAME, "RIGHT", "RIGHT", 1))
        (reply,) = link.ask(redis_held.take(layout, [NAME], 1, owner, serial, time.time()))
        for each in redis_held.parse_taken(layout, reply, [NAME]):
            serial += 1
            told(float(redis_broker.opened(None, each.envelope, NAME).message.body))
            link.ask(*redis_held.ack(layout, each.tag))


def kombu(url: str, told: Callable[[float], None]) -> None:
    from contextlib import suppress

    from kombu import Connection, Consumer
    from kombu import Queue as KombuQueue

    def work(message: Any) -> None:
        told(float(message.body))
        message.ack()

    with Connection(url) as connection, Consumer(connection, [KombuQueue(NAME)], on_message=work, prefetch_count=4):
        while True:
            with suppress(TimeoutError):
                connection.drain_events(timeout=1)


MODES: dict[str, Callable[[str, Callable[[float], None]], None]] = {
    each.__name__: each for each in (celeriac, herd, blmove, kombu)
}


def figures(server: servers.RedisServer) -> tuple[float, int, float]:
    """The time, how many commands Redis has done, and the CPU it has used."""
    found = dict(line.split(":", 1) for line in server.call("INFO", "all").decode().splitlines() if ":" in line)
    cpu = float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
    return time.monotonic(), int(found["total_commands_processed"]), cpu


def since(server: servers.RedisServer, before: tuple[float, int, float]) -> tuple[float, float]:
    """Commands a second, and Redis' share of a CPU in percent."""
    now = figures(server)
    seconds = now[0] - before[0]
    return (now[1] - before[1]) / seconds, 100 * (now[2] - before[2]) / seconds


def measure(mode: str, waiters: int, rate: float, seconds: float) -> None:
    with servers.redis_server() as server:
        reader, writer = os.pipe()
        pids = []
        for _ in range(waiters):
            pid = os.fork()
            if not pid:
                try:
                    MODES[mode](server.url, lambda sent: os.write(writer, struct.pack("d", time.time() - sent)))
                finally:
                    os._exit(0)
            pids.append(pid)
        try:
            sender = brokers.connect(server.url, {}, 30)
            while int(server.call("INFO", "clients").split(b"connected_clients:")[1].split()[0]) < waiters:
                time.sleep(0.1)
            time.sleep(8)  # connecting is over and the waiters are at rest: what follows is the cost of waiting
            before = figures(server)
            time.sleep(seconds)
            idle = since(server, before)
            before = figures(server)
            count = int(rate * seconds)
            for _ in range(count):
                time.sleep(1 / rate)
                sender.send([Parcel(Message(str(time.time()).encode(), "text/plain", "utf-8"), NAME)])
            busy = since(server, before)
            time.sleep(1)  # the last deliveries are on their way
            late = sorted(struct.unpack("d", os.read(reader, 8))[0] * 1000 for _ in range(count))
            print(
                f"{mode:9} idle: {idle[0]:6.0f} commands/s, Redis {idle[1]:4.1f} % CPU   "
                f"{rate:g} messages/s: {busy[0]:6.0f} commands/s, Redis {busy[1]:4.1f} % CPU, first delivery "
                f"p50 {statistics.median(late):6.2f} ms, p95 {late[int(count * 0.95)]:6.2f} ms, max {late[-1]:6.2f} ms",
                flush=True,
            )
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            for pid in pids:
                os.waitpid(pid, 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="*", default=list(MODES))
    parser.add_argument("--waiters", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=5)
    asked = parser.parse_args()
    for name in asked.modes:
        measure(name, asked.waiters, asked.rate, asked.seconds)

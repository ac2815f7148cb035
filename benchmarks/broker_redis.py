"""What a message costs on Redis: CPU microseconds of the client, celeriac against kombu and redis-py, alternating.

    python benchmarks/broker_redis.py [--messages 5000] [--rounds 3] [--flood 0]

Publish includes building the message from its template and the envelope around it; take includes reading it and
acknowledging. `--flood 200000` sends so many
one by one with nobody reading and shows the memory. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from celeriac.protocol.wire.message import Message, Task, build
from celeriac.protocol.wire.template import Particulars, Template
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue, Verdict
from tests import servers

ID = "3b5f8b1e-6f0c-4a57-9d0e-52a3ad7a9a11"
TASK = Task("proj.tasks.add", ID, (2, 2), argsrepr="(2, 2)", kwargsrepr="{}")
MESSAGE = build(TASK)
GOALS = {"publish one by one": "15, never above 25", "publish in bulk": "6, never above 10"}
Work = Callable[[int], None]


def celeriac(url: str) -> dict[str, Work]:
    broker = brokers.connect(url)
    taker = brokers.connect(url)
    queue = Queue("c")
    taker.listen([queue], credit=1000)

    template = Template.of(TASK)

    def parcel() -> Parcel:
        """As a producer makes one: the id is new, the rest of the message is known."""
        pieces = template.pieces(Particulars(ID, (2, 2), {}, "(2, 2)", "{}", ID))
        message = Message(pieces.body, template.content_type, template.content_encoding, {}, {"priority": 0})
        return Parcel(message, "c", texts=(pieces.headers, pieces.properties))

    def one(count: int) -> None:
        for _ in range(count):
            broker.send([parcel()])

    def one_message(count: int) -> None:
        for _ in range(count):
            broker.send([Parcel(MESSAGE, "c")])

    def bulk(count: int) -> None:
        for start in range(0, count, 1000):
            broker.send([parcel() for _ in range(min(1000, count - start))])

    def bulk_messages(count: int) -> None:
        for start in range(0, count, 1000):
            broker.send([Parcel(MESSAGE, "c")] * min(1000, count - start))

    def take(size: int) -> Work:
        def run(count: int) -> None:
            left = count
            while left > 0:
                taken = taker.take(size, 1)
                left -= len(taken)
                taker.settle([(each, Verdict.ACK) for each in taken])
            taker.tend(time.time())

        return run

    return {
        "publish one by one": one,
        "publish in bulk": bulk,
        "  from a dict": one_message,
        "  from dicts": bulk_messages,
        "take and ack, 100": take(100),
        "take and ack, 1": take(1),
    }


def kombu(url: str) -> dict[str, Work]:
    from kombu import Connection, Consumer
    from kombu import Queue as KombuQueue

    connection = Connection(url)
    queue = KombuQueue("k")
    producer = connection.Producer(serializer="json")
    queue(connection).declare()
    body = json.loads(MESSAGE.body)
    seen = [0]

    def one(count: int) -> None:
        for _ in range(count):
            producer.publish(body, routing_key="k", headers=MESSAGE.headers, **MESSAGE.properties)

    def work(message: Any) -> None:
        message.ack()
        seen[0] += 1

    def take(count: int) -> None:
        seen[0] = 0
        with Consumer(connection, [queue], on_message=work, prefetch_count=100):
            while seen[0] < count:
                connection.drain_events(timeout=1)

    return {
        "publish one by one": one,
        "publish in bulk": one,
        "  from a dict": one,
        "  from dicts": one,
        "take and ack, 100": take,
        "take and ack, 1": take,
    }


def redis_py(url: str) -> dict[str, Work]:
    """No envelope, no unacked: the bare commands, as a floor for what that library can do."""
    import redis

    client = redis.Redis.from_url(url)
    envelope = b"x" * 900

    def one(count: int) -> None:
        for _ in range(count):
            client.lpush("r", envelope)

    def bulk(count: int) -> None:
        for start in range(0, count, 1000):
            client.lpush("r", *[envelope] * min(1000, count - start))

    def take(count: int) -> None:
        for _ in range(count):
            client.rpop("r")

    def take_many(count: int) -> None:
        for _ in range(0, count, 100):
            client.rpop("r", 100)

    return {
        "publish one by one": one,
        "publish in bulk": bulk,
        "  from a dict": one,
        "  from dicts": bulk,
        "take and ack, 100": take_many,
        "take and ack, 1": take,
    }


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(url: str, messages: int, rounds: int) -> None:
    rivals = {"celeriac": celeriac(url), "kombu": kombu(url), "redis-py": redis_py(url)}
    order = [
        ("publish one by one", "take and ack, 100"),
        ("  from a dict", "take and ack, 1"),
        ("publish in bulk", "take and ack, 100"),
        ("  from dicts", "take and ack, 1"),
    ]
    cost: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for publish, take in order:
            for name, works in rivals.items():
                for work in (publish, take):
                    before = cpu()
                    works[work](messages)
                    cost.setdefault((work, name), []).append((cpu() - before) / messages * 1e6)
    print(f"{'CPU us per message':22}" + "".join(f"{name:>22}" for name in rivals))
    for work in dict.fromkeys(each for pair in order for each in pair):
        row = [cost[work, name] for name in rivals]
        cells = [f"{statistics.median(each):8.1f} ({min(each):.1f}-{max(each):.1f})" for each in row]
        print(f"{work:22}" + "".join(f"{cell:>22}" for cell in cells) + f"   goal {GOALS.get(work, '-')}")


def flood(url: str, count: int) -> None:
    broker = brokers.connect(url)
    broker.send([Parcel(MESSAGE, "f")])
    before, started, worst = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic(), 0.0
    for _ in range(count):
        at = time.monotonic()
        broker.send([Parcel(MESSAGE, "f")])
        worst = max(worst, time.monotonic() - at)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    spent = time.monotonic() - started
    print(f"{count} sends, nobody reading: {spent:.1f} s, the slowest {worst * 1000:.1f} ms, memory +{grown} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flood", type=int, default=0)
    asked = parser.parse_args()
    with servers.redis_server() as server:
        compare(server.url, asked.messages, asked.rounds)
        if asked.flood:
            flood(server.url, asked.flood)

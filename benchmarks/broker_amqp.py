"""CPU per message through RabbitMQ: our broker against kombu on py-amqp, one server, one run, contenders in turns.

    python benchmarks/broker_amqp.py [messages] [rounds]

Figures are microseconds of this process (user + system) per message: medians over the rounds, then the spread. Law: it
measures and says what it measured; it asserts nothing but that every message arrived.
"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import kombu

from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue, Verdict
from tests import servers

MESSAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
CREDIT = 100


def headers(task_id: str) -> dict[str, object]:
    return {
        "lang": "py", "task": "proj.tasks.add", "id": task_id, "shadow": None, "eta": None, "expires": None,
        "group": None, "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": task_id,
        "parent_id": None, "argsrepr": "(2, 2)", "kwargsrepr": "{}", "origin": "gen1234@host", "ignore_result": False,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip


BODY = b'[[2, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
IDS = [str(uuid.uuid4()) for _ in range(MESSAGES)]


def spent(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return (time.process_time() - before) / MESSAGES * 1e6


class Ours:
    name = "celeriac"

    def __init__(self, url: str, queue: str, *, confirm: bool = True) -> None:
        self.broker = brokers.connect(url, {"confirm_publish": confirm})
        self.queue = Queue(queue)
        self.broker.declare([self.queue])

    def parcel(self, number: int) -> Parcel:
        task_id = IDS[number]
        properties = {"correlation_id": task_id, "reply_to": "r", "delivery_mode": 2, "priority": 0}
        return Parcel(Message(BODY, "application/json", "utf-8", headers(task_id), properties), self.queue.name)

    def one_by_one(self) -> None:
        for number in range(MESSAGES):
            self.broker.send([self.parcel(number)])

    def bulk(self) -> None:
        for start in range(0, MESSAGES, 100):
            self.broker.send([self.parcel(number) for number in range(start, min(start + 100, MESSAGES))])

    def take(self) -> None:
        self.broker.listen([self.queue], credit=CREDIT)
        taken = 0
        while taken < MESSAGES:
            deliveries = self.broker.take(CREDIT, 10)
            taken += len(deliveries)
            self.broker.settle([(each, Verdict.ACK) for each in deliveries])
        self.broker.tend(time.time())
        self.broker.listen([], credit=CREDIT)


class Theirs:
    name = "kombu"

    def __init__(self, url: str, queue: str, *, confirm: bool = True) -> None:
        self.connection = kombu.Connection(url, transport_options={"confirm_publish": confirm})
        self.channel = self.connection.channel()
        self.queue = kombu.Queue(queue, kombu.Exchange(""), routing_key=queue, channel=self.channel)
        self.queue.queue_declare()
        self.producer = kombu.Producer(self.channel)

    def one_by_one(self) -> None:
        for task_id in IDS:
            self.producer.publish(
                BODY, routing_key=self.queue.name, content_type="application/json", content_encoding="utf-8",
                headers=headers(task_id), correlation_id=task_id, reply_to="r", delivery_mode=2, priority=0,
            )  # fmt: skip

    bulk = one_by_one

    def take(self) -> None:
        taken = 0

        def on_message(message: kombu.Message) -> None:
            nonlocal taken
            taken += 1
            _ = message.headers["id"]
            message.ack()

        self.channel.basic_qos(0, CREDIT, False)
        with kombu.Consumer(self.channel, [self.queue], on_message=on_message, accept=["json"]):
            while taken < MESSAGES:
                self.connection.drain_events(timeout=10)


def main() -> None:
    with servers.rabbitmq_server() as server:
        url = server.url
        contenders: dict[str, tuple[Ours | Theirs, Callable[[], None]]] = {}
        for confirm in (True, False):
            for kind in (Ours, Theirs):
                made = kind(url, f"bench-{kind.name}-{confirm}", confirm=confirm)
                word = "confirmed" if confirm else "unconfirmed"
                contenders[f"{kind.name}: publish one by one, {word}"] = made, made.one_by_one
                if kind is Ours:
                    contenders[f"{kind.name}: publish by hundreds, {word}"] = made, made.bulk
        figures: dict[str, list[float]] = {name: [] for name in contenders}
        for kind in (Ours, Theirs):
            figures[f"{kind.name}: take and ack"] = []
        walls: dict[str, list[float]] = {name: [] for name in figures}
        for _ in range(ROUNDS):
            for name, (made, work) in contenders.items():
                measure(name, work, figures, walls)
                measure(f"{made.name}: take and ack", made.take, figures, walls)
        width = max(map(len, figures))
        print(f"{MESSAGES} messages, {ROUNDS} rounds; CPU us per message, median (lowest to highest); wall us")
        for name in sorted(figures, key=lambda name: name.partition(": ")[2]):
            each, wall = figures[name], walls[name]
            spread = f"({min(each):.1f} to {max(each):.1f})"
            print(f"{name:{width}}  {statistics.median(each):7.1f} {spread:18}  {statistics.median(wall):7.1f}")


def measure(
    name: str, work: Callable[[], None], figures: dict[str, list[float]], walls: dict[str, list[float]]
) -> None:
    started = time.perf_counter()
    figures[name].append(spent(work))
    walls[name].append((time.perf_counter() - started) / MESSAGES * 1e6)


if __name__ == "__main__":
    main()

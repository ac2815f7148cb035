"""Those whose CPU is compared: each runs in a process of its own and does on command what its rivals do.

    python contenders.py NAME URL QUEUE

A line `ROW COUNT` on its input is answered by one line of JSON: the CPU (user + system, seconds) and wall time that
this took. What is the same each time (connecting, compiling a template, one first message) is done before the clock
runs. No module of another contender is loaded: stock Celery runs this file in its own environment.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Work = Callable[[int], None]
Rows = dict[str, Work]

ONE, BULK, UNSURE, TAKE = "publish one by one", "publish 100 at once", "publish, unconfirmed", "take and ack"
STORE, FETCH, STORES = "store a result", "fetch a result", "store, 100 at once"
BATCH = 100
NAME, ARGS = "proj.tasks.add", (2, 2)


def ids() -> Iterator[str]:
    """New task ids; the kernel is asked for many at once."""
    while True:
        pool = os.urandom(16 * BATCH).hex()
        for at in range(0, len(pool), 32):
            text = pool[at : at + 32]
            yield f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def batched(send: Callable[[int], None]) -> Work:
    def run(count: int) -> None:
        for start in range(0, count, BATCH):
            send(min(BATCH, count - start))

    return run


def repeated(do: Callable[[], Any]) -> Work:
    def run(count: int) -> None:
        for _ in range(count):
            do()

    return run


# --- celeriac


def celeriac(url: str, queue: str) -> Rows:
    """A send makes the whole task message, as `delay` does: id, reprs, body, headers, envelope."""
    from celeriac.protocol.wire.message import Posting, Task
    from celeriac.protocol.wire.reprs import saferepr
    from celeriac.protocol.wire.template import Particulars, Template
    from celeriac.worker import brokers
    from celeriac.worker.brokers.base import Queue, Verdict
    from celeriac.worker.producer import Plan, Producer

    queues = (Queue(queue),)
    template = Template.of(Task(NAME, "", origin="gen1@host"), Posting(reply_to="6e41ab1d-0000-4000-8000-000000000000"))
    new, redis = ids(), url.startswith("redis")

    def given() -> Particulars:
        return Particulars(next(new), ARGS, {}, saferepr(ARGS), "{}")

    def sender(options: dict[str, Any]) -> tuple[Producer, Plan]:
        return Producer(lambda: brokers.connect(url, options)), Plan(template, queue)

    producer, plan = sender({})
    producer.post_one(plan, given(), queues, None)  # connected, declared, the form of the message known
    taker = brokers.connect(url)
    taker.purge(queue)

    def take(count: int) -> None:
        left = count
        taker.listen(queues, credit=2 * BATCH)
        while left:
            taken = taker.take(BATCH, 5)
            left -= len(taken)
            taker.settle([(each, Verdict.ACK) for each in taken])
        taker.tend(time.time())
        taker.listen([], credit=0)

    rows: Rows = {
        ONE: repeated(lambda: producer.post_one(plan, given(), queues, None)),
        BULK: batched(lambda count: producer.post(plan, [given() for _ in range(count)], queues, None)),
        TAKE: take,
    }
    if not redis:
        unsure, other = sender({"confirm_publish": False})
        rows[UNSURE] = repeated(lambda: unsure.post_one(other, given(), queues, None))
    return rows


def celeriac_store(url: str, _queue: str) -> Rows:
    from celeriac.protocol.wire.result import Result
    from celeriac.worker import backends
    from celeriac.worker.redis_link import connect
    from celeriac.worker.redis_place import parse

    store = backends.connect(url)
    link = connect(parse(url))
    new = ids()
    kept: list[str] = []

    def one() -> None:
        kept.append(next(new))
        store.store(Result(kept[-1], result=4))

    def many(count: int) -> None:
        """As who has finished many."""
        kept.extend(next(new) for _ in range(count))
        assert not store.store_all(link, [store.row(Result(each, result=4)) for each in kept[-count:]])

    def fetch(count: int) -> None:
        for task_id in kept[-count:]:
            assert store.fetch(task_id)

    return {STORE: repeated(one), STORES: batched(many), FETCH: fetch}


# --- kombu and Celery


def kombu(url: str, queue: str, *, confirm: bool = True) -> Rows:
    from kombu import Connection, Consumer
    from kombu import Queue as KombuQueue

    redis = url.startswith("redis")
    connection = Connection(url, transport_options={} if redis else {"confirm_publish": confirm})
    bound = KombuQueue(queue, durable=True)
    bound(connection).declare()
    producer = connection.Producer(serializer="json")
    new = ids()
    body = (ARGS, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})

    def one() -> None:
        task_id = next(new)
        headers = {
            "lang": "py", "task": NAME, "id": task_id, "shadow": None, "eta": None, "expires": None, "group": None,
            "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": task_id, "parent_id": None,
            "argsrepr": repr(ARGS), "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": False,
            "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
        }  # fmt: skip
        producer.publish(body, routing_key=queue, headers=headers, correlation_id=task_id, reply_to="me", priority=0)

    seen = [0]

    def work(message: Any) -> None:
        message.ack()
        seen[0] += 1

    def take(count: int) -> None:
        seen[0] = 0
        with Consumer(connection, [bound], on_message=work, prefetch_count=BATCH):
            while seen[0] < count:
                connection.drain_events(timeout=5)

    publish = repeated(one)
    return {ONE if confirm else UNSURE: publish, BULK: publish, TAKE: take}


def kombu_unsure(url: str, queue: str) -> Rows:
    return kombu(url, queue, confirm=False)


def celery(url: str, queue: str, backend: str | None = None) -> Rows:
    """`apply_async` itself. On RabbitMQ, stock's default is to ask for no confirms."""
    from celery import Celery

    app = Celery("bench", broker=url, backend=backend)
    app.conf.task_default_queue = queue

    def add(x: int, y: int) -> int:
        return x + y

    task = app.task(name=NAME)(add)
    publish = repeated(lambda: task.apply_async(ARGS))
    return {ONE if url.startswith("redis") else UNSURE: publish}


def celery_results(url: str, queue: str) -> Rows:
    return celery(url, queue, url)


def celery_store(url: str, _queue: str) -> Rows:
    from celery import Celery

    backend = Celery("bench", backend=url).backend
    new = ids()
    kept: list[str] = []

    def one() -> None:
        kept.append(next(new))
        backend.store_result(kept[-1], 4, "SUCCESS")

    def fetch(count: int) -> None:
        for task_id in kept[-count:]:
            assert backend.decode_result(backend.get(backend.get_key_for_task(task_id)))

    return {STORE: repeated(one), FETCH: fetch}


# --- the bare libraries: ready-made bytes, no envelope, nothing held. A floor for what they can do.


def redis_py(url: str, queue: str) -> Rows:
    import redis

    client = redis.Redis.from_url(url)
    envelope = b"x" * 900

    def take(count: int) -> None:
        left = count
        while left:
            left -= len(client.rpop(queue, BATCH) or ())

    return {
        ONE: repeated(lambda: client.lpush(queue, envelope)),
        BULK: batched(lambda count: client.lpush(queue, *[envelope] * count)),
        TAKE: take,
    }


def socket_alone(url: str, queue: str) -> Rows:
    """No library at all: ready-made bytes out, the answer in. Below this no client of Redis can be, on this machine."""
    import socket
    from urllib.parse import urlsplit

    where = urlsplit(url)
    connected = socket.create_connection((where.hostname, where.port))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    envelope = b"x" * 900
    name = queue.encode()

    def push(count: int) -> None:
        head = b"*%d\r\n$5\r\nLPUSH\r\n$%d\r\n%b\r\n" % (2 + count, len(name), name)
        connected.sendall(head + b"$900\r\n%b\r\n" % envelope * count)
        assert connected.recv(100).startswith(b":")

    return {ONE: repeated(lambda: push(1)), BULK: batched(push)}


def redis_py_store(url: str, _queue: str) -> Rows:
    import redis

    client = redis.Redis.from_url(url)
    document = b"x" * 180
    new = ids()
    kept: list[str] = []

    def told(pipe: Any) -> None:
        kept.append(f"celery-task-meta-{next(new)}")
        pipe.setex(kept[-1], 86400, document)
        pipe.publish(kept[-1], document)

    def many(count: int) -> None:
        with client.pipeline() as pipe:
            for _ in range(count):
                told(pipe)
            pipe.execute()

    def fetch(count: int) -> None:
        for key in kept[-count:]:
            assert client.get(key)

    return {STORE: repeated(lambda: many(1)), STORES: batched(many), FETCH: fetch}


def py_amqp(url: str, queue: str) -> Rows:
    from urllib.parse import urlsplit

    import amqp

    where = urlsplit(url)

    def channel(*, confirm: bool) -> Any:
        connection = amqp.Connection(f"{where.hostname}:{where.port}", confirm_publish=confirm)
        connection.connect()
        return connection.channel()

    sure, unsure = channel(confirm=True), channel(confirm=False)
    sure.queue_declare(queue, durable=True, auto_delete=False)
    body = "x" * 90
    seen = [0]

    def publish(on: Any) -> None:
        on.basic_publish(
            amqp.Message(
                body,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                application_headers={"task": NAME, "id": "i"},
            ),
            routing_key=queue,
        )

    def take(count: int) -> None:
        seen[0] = 0

        def work(message: Any) -> None:
            seen[0] += 1
            if not seen[0] % BATCH or seen[0] == count:
                unsure.basic_ack(message.delivery_tag, multiple=True)

        unsure.basic_qos(0, 2 * BATCH, a_global=False)
        tag = unsure.basic_consume(queue, callback=work)
        while seen[0] < count:
            unsure.connection.drain_events(timeout=5)
        unsure.basic_cancel(tag)

    return {ONE: repeated(lambda: publish(sure)), UNSURE: repeated(lambda: publish(unsure)), TAKE: take}


CONTENDERS: dict[str, Callable[[str, str], Rows]] = {
    "celeriac": celeriac,
    "kombu": kombu,
    "kombu-unsure": kombu_unsure,
    "celery": celery,
    "celery-results": celery_results,
    "redis-py": redis_py,
    "socket": socket_alone,
    "py-amqp": py_amqp,
    "celeriac-store": celeriac_store,
    "celery-store": celery_store,
    "redis-py-store": redis_py_store,
}


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    name, *where = sys.argv[1:]
    rows = CONTENDERS[name](*where)
    sys.stdout.write(json.dumps(list(rows)) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        row, _, count = line.strip().rpartition(" ")
        spent, started = cpu(), time.perf_counter()
        rows[row](int(count))
        took = {"cpu": cpu() - spent, "wall": time.perf_counter() - started}
        sys.stdout.write(json.dumps(took) + "\n")
        sys.stdout.flush()

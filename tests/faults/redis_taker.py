"""A process that takes and acknowledges without end, to be killed; run by celeriac's interpreter or by stock's.

    python redis_taker.py celeriac|kombu URL QUEUE

For each line on its input it forks such a taker and says its process id. What a taker has worked off, it writes into
the set `done` before it acknowledges.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

DONE = "done"


def celeriac(url: str, queue: str) -> Any:
    from celeriac.worker import brokers
    from celeriac.worker.brokers.base import Queue, Verdict
    from celeriac.worker.redis_link import connect
    from celeriac.worker.redis_place import parse

    def run() -> NoReturn:
        broker, link = brokers.connect(url), connect(parse(url))
        broker.listen([Queue(queue)], credit=50)
        while True:
            taken = broker.take(10, 1)
            if taken:
                link.ask(("SADD", DONE, *(each.message.body for each in taken)))
                broker.settle([(each, Verdict.ACK) for each in taken])
            broker.tend(time.time())

    return run


def kombu(url: str, queue: str) -> Any:
    import redis
    from kombu import Connection, Consumer
    from kombu import Queue as KombuQueue

    def run() -> NoReturn:
        done = redis.Redis.from_url(url)

        def work(body: Any, message: Any) -> None:
            done.sadd(DONE, message.body)
            message.ack()

        with Connection(url) as connection:
            consumer = Consumer(connection, [KombuQueue(queue)], on_message=lambda m: work(None, m), prefetch_count=50)
            with consumer:
                while True:
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=1)

    return run


if __name__ == "__main__":
    kind, *where = sys.argv[1:]
    taker = {"celeriac": celeriac, "kombu": kombu}[kind](*where)
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                taker()
            finally:
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        os.waitpid(pid, 0)
        sys.stdout.write("ended\n")
        sys.stdout.flush()

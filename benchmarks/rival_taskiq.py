"""The tasks of the run as taskiq's, plain ones: its worker loads this; as a program it sends, in one event loop."""

import asyncio
import os
import sys
import time

import rival_sending
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(os.environ["BROKER"], socket_timeout=None)  # redis-py 8 would give up waiting when idle


@broker.task(task_name="add")
def add(x: int, y: int) -> int:
    return x + y


@broker.task(task_name="mark")
def mark(path: str, number: int) -> None:
    rival_sending.note(path, number)


async def main() -> None:
    count, ledger = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    await broker.startup()
    if not ledger:
        await add.kiq(1, 1)
    before = time.process_time()
    for number in range(count):
        await (mark.kiq(ledger, number) if ledger else add.kiq(number, number))
    print(time.process_time() - before)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())

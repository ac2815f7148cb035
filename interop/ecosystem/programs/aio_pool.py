"""celery-aio-pool: a pool of its own, and tasks that are coroutines."""

import asyncio
import os

os.environ["CELERY_CUSTOM_WORKER_POOL"] = "celery_aio_pool.pool:AsyncIOPool"

import celery_aio_pool
from base import app, fails, worker

assert celery_aio_pool.patch_celery_tracer()


@app.task
async def wait(seconds):
    await asyncio.sleep(seconds)
    return seconds


@app.task
def add(x, y):
    return x + y


@app.task
async def bad():
    raise ValueError("x")


if __name__ == "__main__":
    with worker():
        assert wait.delay(0.1).get(timeout=20) == 0.1
        assert add.delay(1, 2).get(timeout=20) == 3
        assert fails(bad.delay(), ValueError)
    print("fine")

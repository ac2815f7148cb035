"""celery-once: a task that waits or runs is not queued again."""

import time

from base import URL, app, until, worker
from celery_once import AlreadyQueued, QueueOnce

app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": {"url": f"{URL}/2", "default_timeout": 60}}


@app.task(base=QueueOnce, once={"keys": ["a"]})
def slow(a, b):
    time.sleep(2)  # so that it still runs when it is sent again
    return a + b


@app.task(base=QueueOnce, once={"graceful": True})
def soft(a):
    time.sleep(2)  # so that it still runs when it is sent again
    return a


def again(a, b):
    try:
        return slow.delay(a, b)
    except AlreadyQueued:
        return None


if __name__ == "__main__":
    with worker():
        first = slow.delay(1, 2)
        assert again(1, 3) is None
        assert slow.delay(2, 3).get(timeout=20) == 5
        assert first.get(timeout=20) == 3
        assert until(lambda: again(1, 4)).get(timeout=20) == 5
        assert soft.delay(1).state != "REJECTED"
        assert soft.delay(1).state == "REJECTED"
    print("fine")

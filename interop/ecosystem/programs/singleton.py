"""celery-singleton: whoever sends a task that waits or runs gets its result."""

import time

from base import URL, WORKS, app, fails, until, worker
from celery_singleton import Singleton, clear_locks

app.conf.singleton_backend_url = f"{URL}/2"


@app.task(base=Singleton)
def slow(a):
    time.sleep(0.5)
    return a


@app.task(base=Singleton)
def bad(a):
    raise ValueError(a)


if __name__ == "__main__":
    if not WORKS:
        clear_locks(app)
    with worker():
        first, same, other = slow.delay(1), slow.delay(1), slow.delay(2)
        assert first.id == same.id != other.id
        assert (first.get(timeout=20), other.get(timeout=10)) == (1, 2)
        assert until(lambda: slow.delay(1).id != first.id)
        failed = bad.delay(1)
        assert fails(failed, ValueError)
        assert until(lambda: bad.delay(1).id != failed.id)
    print("fine")

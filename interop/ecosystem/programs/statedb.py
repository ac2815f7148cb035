"""celery-redis-statedb: a bootstep with an option of its own keeps revoked tasks in Redis."""

import time

import celery
from base import URL, app, worker
from celery_redis_statedb import install_redis_statedb

OURS = celery.__name__ != "celery"
install_redis_statedb(app)

if __name__ == "__main__":
    with worker(redis_statedb=f"{URL}/3", hostname="w@here") as started:
        started.state.revoked.add("gone")
        if OURS:
            started.worker.revokes.revoke(["told"], time.time())  # as remote control does
        started._redis_persistence.save()  # noqa: SLF001 - the package's own, as it is at exit
        started.state.revoked.clear()
    with worker(redis_statedb=f"{URL}/3", hostname="w@here") as started:
        assert "gone" in set(started.state.revoked)
        if OURS:
            assert "told" in set(started.state.revoked)
            assert started.worker.revokes.revoked("gone", time.time())
    print("fine")

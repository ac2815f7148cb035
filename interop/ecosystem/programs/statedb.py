"""celery-redis-statedb: a bootstep with an option of its own keeps revoked tasks in Redis."""

from base import NODE, URL, WORKS, app, until, worker
from celery_redis_statedb import install_redis_statedb

install_redis_statedb(app)


@app.task
def add(x, y):
    return x + y


def revoked():
    return (app.control.inspect([NODE]).revoked() or {}).get(NODE, [])


if __name__ == "__main__":
    option = f"--redis-statedb={URL}/3"
    if not WORKS:
        with worker(option):
            app.control.revoke("told")
            until(lambda: "told" in revoked())
    with worker(option):
        assert "told" in revoked()
        add.apply_async((1, 2), task_id="told")
        assert add.delay(1, 2).get(timeout=20) == 3
        assert app.AsyncResult("told").state == "REVOKED"
    print("fine")

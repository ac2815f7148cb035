"""Every state of a task, both ways: a stock client with our worker, and our client with a stock worker.

Each row of the table of states, the ways of acknowledging, expiry, revokes, times, limits, states of one's own and
ignored results, on Redis and on RabbitMQ, with results in Redis and by rpc.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.worker.running import Project

pytestmark = pytest.mark.real

APP = """\
import os, time
from celery import Celery
from celery.exceptions import Ignore, Reject

app = Celery("proj", broker=os.environ["PROJ_BROKER"], backend=os.environ["PROJ_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, task_send_sent_event=True, result_expires=600)

def wait_for(name):
    end = time.time() + 10
    while not os.path.exists(name) and time.time() < end: time.sleep(0.01)

@app.task
def add(x, y): return x + y

@app.task(track_started=True)
def tracked(name):
    wait_for(name)
    return "over"

@app.task
def boom(): raise ValueError("boom", 1)

@app.task(bind=True, max_retries=1)
def again(self, countdown=0):
    if self.request.retries: return "done"
    raise self.retry(countdown=countdown, exc=KeyError("not yet"))

@app.task(acks_late=True)
def refuse(): raise Reject("no", requeue=False)

@app.task(bind=True, acks_late=True)
def requeued(self, name):
    if os.path.exists(name): return bool(self.request.delivery_info["redelivered"])
    open(name, "w").close()
    raise Reject("later", requeue=True)

@app.task
def ignored(name):
    open(name, "w").close()
    raise Ignore()

@app.task(bind=True)
def own(self, name):
    self.update_state(state="HALFWAY", meta={"at": 50})
    wait_for(name)
    return "whole"

@app.task(acks_late=True)
def late(x): return x

@app.task(acks_late=True)
def late_boom(): raise ValueError("late")

@app.task(acks_late=True, acks_on_failure_or_timeout=False)
def kept_boom(): raise ValueError("kept")

@app.task(ignore_result=True)
def quiet(name): open(name, "w").close()

@app.task(soft_time_limit=0.4)
def soft(): time.sleep(5)

@app.task(time_limit=0.6)
def hard(): time.sleep(5)
"""

CLIENT = """\
import json, os, tempfile, threading, time
from proj import *
RPC = os.environ["PROJ_BACKEND"].startswith("rpc")
told, folder = {}, tempfile.mkdtemp()
def name(text): return os.path.join(folder, text)
def touch(text): open(name(text), "w").close()
def end(result):
    try: return [result.get(timeout=40), result.state]
    except Exception as problem: return [type(problem).__name__, [str(each) for each in problem.args], result.state]
def until(true, seconds=30):
    end = time.time() + seconds
    while not true() and time.time() < end: time.sleep(0.02)
    return true()
seen = {}
def hear(event): seen.setdefault(event.get("uuid"), []).append(event["type"])
def listen():
    try:
        with app.connection() as connection:
            app.events.Receiver(connection, handlers={"*": hear}).capture(limit=None, timeout=120)
    except Exception: pass
def heard():
    app.control.heartbeat()
    return seen
threading.Thread(target=listen, daemon=True).start(); until(heard)

if not RPC: told["PENDING"] = app.AsyncResult("of-nobody").state
r = add.delay(2, 3); told["SUCCESS"] = end(r)
told["RECEIVED"] = until(lambda: {"task-received", "task-started", "task-succeeded"} <= set(seen.get(r.id, [])))
told["FAILURE"] = end(boom.delay())
if not RPC:
    r = tracked.delay(name("tracked"))
    until(lambda: r.state == "STARTED"); told["STARTED"] = [r.state, sorted(r.info)]
    touch("tracked"); told["after STARTED"] = end(r)
    r = own.delay(name("own"))
    until(lambda: r.state == "HALFWAY"); told["custom"] = [r.state, r.info]
    touch("own"); told["after custom"] = end(r)
    r = again.delay(countdown=30)
    until(lambda: r.state == "RETRY"); told["RETRY"] = [r.state, repr(r.result)]
    app.control.revoke(r.id, reply=True, timeout=20, limit=1)
    told["RETRY, revoked"] = end(r)
    r = add.apply_async((1, 1), countdown=50); until(lambda: "task-received" in seen.get(r.id, []))
    app.control.revoke(r.id, reply=True, timeout=20, limit=1); told["REVOKED"] = end(r)
    r = ignored.delay(name("ignored")); until(lambda: os.path.exists(name("ignored"))); time.sleep(0.2)
    told["IGNORED"] = r.state
    r = quiet.delay(name("quiet")); until(lambda: os.path.exists(name("quiet"))); time.sleep(0.2)
    told["ignore_result"] = [r.state, os.path.exists(name("quiet"))]
told["retried"] = end(again.delay())
told["REJECTED"] = end(refuse.delay())
told["requeued"] = end(requeued.delay(name("requeued")))
told["late"] = end(late.delay(7)); told["late, failed"] = end(late_boom.delay()); told["kept, failed"] = end(kept_boom.delay())
r = add.apply_async((1, 1), expires=0.3, countdown=0.6); told["expired"] = end(r)
began = time.time(); r = add.apply_async((4, 4), countdown=0.5); told["ETA"] = end(r) + [time.time() - began >= 0.5]
told["soft"] = end(soft.delay())
told["hard"] = end(hard.delay())
told["serializers"] = [end(add.apply_async((1, 2), serializer=each)) for each in ("json",)]
print(json.dumps(told))
"""

FINAL = {
    "SUCCESS": [5, "SUCCESS"],
    "RECEIVED": True,
    "FAILURE": ["ValueError", ["boom", "1"], "FAILURE"],
    "retried": ["done", "SUCCESS"],
    "REJECTED": ["Reject", ["no", "False"], "FAILURE"],
    "requeued": [True, "SUCCESS"],
    "late": [7, "SUCCESS"],
    "late, failed": ["ValueError", ["late"], "FAILURE"],
    "kept, failed": ["ValueError", ["kept"], "FAILURE"],
    "expired": ["TaskRevokedError", ["expired"], "REVOKED"],
    "ETA": [8, "SUCCESS", True],
    "soft": ["SoftTimeLimitExceeded", [], "FAILURE"],
    "hard": ["TimeLimitExceeded", ["0.6"], "FAILURE"],
    "serializers": [[3, "SUCCESS"]],
}
ON_THE_WAY = {
    "PENDING": "PENDING",
    "STARTED": ["STARTED", ["hostname", "pid"]],
    "after STARTED": ["over", "SUCCESS"],
    "custom": ["HALFWAY", {"at": 50}],
    "after custom": ["whole", "SUCCESS"],
    "RETRY": ["RETRY", "KeyError('not yet')"],
    "RETRY, revoked": ["TaskRevokedError", ["revoked"], "REVOKED"],
    "REVOKED": ["TaskRevokedError", ["revoked"], "REVOKED"],
    "IGNORED": "PENDING",
    "ignore_result": ["PENDING", True],
}


def client(project: Project, python: Path, first: str = "") -> Any:
    done = subprocess.run(
        [str(python), "-c", first + CLIENT],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("ours", ["worker", "client"])
@pytest.mark.parametrize(("broker", "results"), [("redis", "redis"), ("rabbitmq", "redis"), ("rabbitmq", "rpc")])
def test_every_state(
    ours: str,
    broker: str,
    results: str,
    tmp_path: Path,
    redis_server: servers.RedisServer,
    rabbitmq_server: servers.RabbitServer,
    stock_python: Path,
) -> None:
    redis_server.call("FLUSHALL")
    urls = {"redis": redis_server.url, "rabbitmq": rabbitmq_server.url, "rpc": "rpc://"}
    project = Project(tmp_path, urls[broker], urls[results], stock_python)
    (tmp_path / "proj.py").write_text(APP)
    project.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    options = ("-P", "prefork", "-c", "3", "-E")
    if ours == "worker":
        with project.worker(*options, pool="prefork") as worker:
            told = client(project, stock_python)
            assert worker.stop() == 0
    else:
        with project.stock_worker(*options):  # how long stock takes to leave is not asked here
            told = client(project, Path(sys.executable), "import celeriac; celeriac.install()\n")
    expected = FINAL if results == "rpc" else FINAL | ON_THE_WAY
    assert {name: told[name] for name in expected if told.get(name) != expected[name]} == {}
    assert set(told) == set(expected)
    if broker == "redis" and ours == "worker":
        assert redis_server.call("HLEN", "unacked") == 0
        assert redis_server.call("LLEN", "celery") == 0

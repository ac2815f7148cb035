"""Beats that are killed and suspended while they lead. Run by a test in a process of its own: `URL KILLS SEED [LEASE]`.

Every beat is forked from this process. Whoever sends says in the message who it is and which tick it sends.
"""

import json
import os
import random
import signal
import sys
import time
from base64 import b64decode
from datetime import timedelta

import celeriac

celeriac.install()

from celery import Celery  # noqa: E402 - after the name is ours
from celery.beat import LeasedScheduler, Service  # noqa: E402
from redis import Redis  # noqa: E402

URL, KILLS, SEED = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LEASE = sys.argv[4] if len(sys.argv) > 4 else None
PAUSES = not (LEASE or "").startswith("db+sqlite")  # who is suspended within a transaction keeps the whole file
TTL = 0.25
EVERY = 0.02

app = Celery("leaders", broker=URL, set_as_current=True)
app.conf.update(
    beat_schedule={"tick": {"task": "t", "schedule": timedelta(seconds=EVERY)}},
    beat_lease_url=LEASE,
    beat_lease_ttl=TTL,
    beat_lease_name=f"leaders-{SEED}",
    beat_missed="each",
    task_default_queue=f"leaders-{SEED}",
    result_expires=None,
)


class Numbered(LeasedScheduler):
    def apply_async(self, entry, **options):
        entry.args = (entry.total_run_count, os.getpid())
        return super().apply_async(entry, **options)


def beat():
    pid = os.fork()
    if pid:
        return pid
    try:
        Service(app, scheduler_cls=Numbered).start()
    finally:
        os._exit(1)


def sent(redis, first=0, last=-1):
    return [json.loads(b64decode(json.loads(raw)["body"]))[0] for raw in redis.lrange(f"leaders-{SEED}", first, last)]


def leader(redis, not_this):
    """Who sent the last message, once it is somebody else."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        newest = sent(redis, 0, 0)
        if newest and newest[0][1] != not_this:
            return newest[0][1]
        time.sleep(0.01)
    raise SystemExit("nobody leads")


chance = random.Random(SEED)
beats = {beat() for _ in range(3)}
redis = Redis.from_url(URL)
killed, paused, gone = 0, 0, 0
try:
    while killed < KILLS:
        gone = leader(redis, gone)
        time.sleep(chance.uniform(0, 2 * EVERY))
        if PAUSES and killed and killed % 4 == 0 and paused < killed / 4:
            paused += 1
            os.kill(gone, signal.SIGSTOP)
            after = leader(redis, gone)
            os.kill(gone, signal.SIGCONT)
            gone = 0 if after == gone else gone
            time.sleep(EVERY)
            continue
        os.kill(gone, signal.SIGKILL)
        os.waitpid(gone, 0)
        beats.remove(gone)
        killed += 1
        beats.add(beat())
    leader(redis, gone)
    time.sleep(0.2)
finally:
    for pid in beats:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
numbers = [number for number, _ in reversed(sent(redis))]
print(json.dumps({"numbers": numbers, "killed": killed, "paused": paused}))

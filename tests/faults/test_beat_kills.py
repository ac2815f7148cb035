"""Beats that are killed: one that keeps its times in a file, and leaders that hold a lease."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from tests.compat.stock import ask
from tests.conftest import Environment
from tests.servers import RedisServer
from tests.store_servers import postgres, postgres_programs

LEADERS = Path(__file__).with_name("beat_leaders.py")
EVERY = 0.03
READ_BY_STOCK = """
import shelve
with shelve.open(question) as kept:
    answer = kept["entries"]["tick"].total_run_count
"""

APP = f"""\
import os, time
from datetime import timedelta
from celery import Celery
from celery.beat import BeatLazyFunc

app = Celery("kills", broker=os.environ["KILLS_BROKER"])
app.conf.update(
    task_default_queue="beat-kills",
    beat_schedule={{"tick": {{"task": "t", "schedule": timedelta(seconds={EVERY}), "args": [BeatLazyFunc(time.time)]}}}},
)
"""


@pytest.mark.real
def test_a_beat_that_is_killed_doubles_nothing_and_loses_at_most_what_it_had_in_hand(
    redis_server: RedisServer,
    celeriac_env: Environment,
    stock_python: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    redis_server.call("DEL", "beat-kills")
    kills = max(request.config.getoption("--leaders") // 4, 3)
    (tmp_path / "kills.py").write_text(APP)
    environment = {**celeriac_env.variables, "KILLS_BROKER": redis_server.url}
    chance = random.Random(16)
    length = 0
    for _ in range(kills):
        beat = subprocess.Popen(
            [sys.executable, "-m", "celeriac", "-A", "kills", "-q", "beat", "-l", "INFO"],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
        )
        end = time.monotonic() + 20
        while redis_server.call("LLEN", "beat-kills") == length and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.1, 0.1 + 3 * EVERY))
        beat.send_signal(signal.SIGKILL)
        _, said = beat.communicate()
        assert redis_server.call("LLEN", "beat-kills") > length, said.decode()
        length = redis_server.call("LLEN", "beat-kills")
    written = ask(stock_python, READ_BY_STOCK, str(tmp_path / "celerybeat-schedule"))
    assert length <= written <= length + kills
    raw = redis_server.call("LRANGE", "beat-kills", 0, -1)
    at = sorted(json.loads(b64decode(json.loads(each)["body"]))[0][0] for each in raw)
    between = [late - early for early, late in pairwise(at)]
    assert min(between) > EVERY / 3  # what is doubled comes at once, or with the start of the next beat


@pytest.fixture(params=["redis", "sqlite", "postgresql"])
def lease(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Where the lease is, if it is not in the broker."""
    programs = postgres_programs() if request.param == "postgresql" else None
    if request.param == "redis":
        yield []
    elif request.param == "sqlite":
        yield [f"db+sqlite:///{tmp_path / 'lease.db'}"]
    elif programs is None:
        pytest.skip("PostgreSQL is not installed; SQLite is asked in any case (apt-get install postgresql)")
    elif not find_spec("psycopg"):
        pytest.skip("psycopg is not installed: .[dev-stores]")
    else:
        with postgres(programs) as url:
            yield [f"db+{url}"]


@pytest.mark.real
def test_each_tick_is_sent_exactly_once_whoever_leads(
    redis_server: RedisServer, celeriac_env: Environment, lease: list[str], request: pytest.FixtureRequest
) -> None:
    kills = request.config.getoption("--leaders")
    kills = kills if kills >= 200 or not lease else max(kills // 2, 8)
    redis_server.call("FLUSHALL")
    done = celeriac_env.run(str(LEADERS), redis_server.url, str(kills), "16", *lease, timeout=30 + 3 * kills)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["killed"] == kills
    assert told["paused"] >= 1 or "sqlite" in "".join(lease)
    numbers = told["numbers"]
    assert len(numbers) > kills
    assert numbers == list(range(len(numbers)))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.real
def test_the_beat_in_a_worker_ticks_and_dies_with_it(
    redis_server: RedisServer, celeriac_env: Environment, tmp_path: Path
) -> None:
    redis_server.call("DEL", "beat-kills")
    (tmp_path / "kills.py").write_text(APP)
    environment = {**celeriac_env.variables, "KILLS_BROKER": redis_server.url}
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", "nobody-sends-here"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celeriac", "-A", "kills", "-q", "worker", "-B", "-P", "solo", *quiet],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 20
        while redis_server.call("LLEN", "beat-kills") < 3 and time.monotonic() < end:
            time.sleep(0.02)
        beats = [int(each) for each in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]
        assert len(beats) == 1
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    end = time.monotonic() + 10
    while alive(beats[0]) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(beats[0])
    assert redis_server.call("LLEN", "beat-kills") >= 3
    assert list(tmp_path.glob("celerybeat-schedule*"))

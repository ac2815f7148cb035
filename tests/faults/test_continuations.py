"""What follows a task outlives the absence of the broker: steps, callbacks, errbacks, chord bodies, retries, all once.

The broker is away for several times as long as `task_publish_retry_policy` has patience (0.6 s), while the tasks end
after which something is to be sent. `--down` is how long.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import proxy, servers
from tests.faults import ground
from tests.faults.ground import Ground
from tests.faults.mortal import Mortal

pytestmark = pytest.mark.real

SOON = 15.0
RUNNING = 2.0
# Of each kind the first number is the task that ends while the broker is away, the others follow it.
SEND = f"""
from celery import chord
(work.si(10, {RUNNING}) | work.si(11) | work.si(12) | work.si(13)).delay()
work.apply_async((20, {RUNNING}), link=work.si(21))
fail.apply_async((30, {RUNNING}), link_error=work.si(31))
chord([work.si(40, {RUNNING})], work.si(41)).delay()
again.delay(50, {RUNNING})
"""
FIRST = {10, 20, 30, 40, 50}
TIMES = dict.fromkeys((10, 11, 12, 13, 20, 21, 30, 31, 40, 41), 1) | {50: 2}
STEPS = "(work.si(10, 2.0) | work.si(11)).delay()"


@pytest.fixture
def results(redis_server: servers.RedisServer) -> str:
    redis_server.call("FLUSHALL")
    return redis_server.url


def ended(place: Ground, numbers: set[int], seconds: float) -> None:
    assert ground.until(lambda: numbers <= set(place.seen("end")), seconds), place.logs()


def all_once(place: Ground) -> None:
    done = ground.until(lambda: place.seen("end") == TIMES, SOON)
    assert done, f"{dict(place.seen('end'))}\n{place.logs()}"
    assert place.seen("start") == TIMES


def test_redis_is_restarted(tmp_path: Path, results: str, down: float) -> None:
    (tmp_path / "redis").mkdir()
    mortal = Mortal(tmp_path / "redis")
    mortal.start()
    try:
        with ground.on(tmp_path, f"redis://127.0.0.1:{mortal.port}/0", results) as place:
            worker = place.start(concurrency=5).ready()
            place.run(SEND)
            assert ground.until(lambda: set(place.seen("start")) >= FIRST, 10), place.logs()
            mortal.kill()
            ended(place, FIRST, 10)
            time.sleep(down)  # that is how long the broker is away
            mortal.start()
            all_once(place)
            assert worker.alive
            assert "waits for the broker, and is sent when it is back" in worker.text
    finally:
        mortal.kill()


@pytest.fixture
def wired(rabbitmq_server: Any, results: str, tmp_path: Path) -> Iterator[Callable[[str], tuple[Ground, Any, Any]]]:
    with proxy.to(rabbitmq_server.port) as wire:
        through = rabbitmq_server.url.replace(f":{rabbitmq_server.port}/", f":{wire.port}/")
        with ground.on(tmp_path, rabbitmq_server.url, results, f"follows-{tmp_path.name}") as place:

            def start(pool: str) -> tuple[Ground, Any, Any]:
                return place, place.start(pool=pool, concurrency=5, BROKER=through).ready(), wire

            yield start


def test_rabbitmq_is_out_of_reach(wired: Callable[[str], tuple[Ground, Any, proxy.Proxy]], down: float) -> None:
    place, worker, wire = wired("threads")
    place.run(SEND)
    assert ground.until(lambda: set(place.seen("start")) >= FIRST, 10), place.logs()
    wire.refuse()
    wire.cut()
    ended(place, FIRST, 10)
    time.sleep(down)  # that is how long the broker is away
    wire.heal()
    all_once(place)
    assert worker.alive


def test_a_worker_that_is_to_stop_waits_no_longer(wired: Callable[[str], tuple[Ground, Any, proxy.Proxy]]) -> None:
    """It says what was not sent; what waited for it learns that the step failed."""
    place, worker, wire = wired("prefork")
    sent = place.run(f"from celery import chain\nresult = {STEPS}\nprint(result.parent.id, result.id)").split()
    assert ground.until(lambda: set(place.seen("start")) == {10}, 10), place.logs()
    wire.refuse()
    wire.cut()
    waits = "What follows task hurt.work["
    assert ground.until(lambda: waits in worker.text, 10), place.logs()
    worker.send(signal.SIGTERM)
    worker.leaves(SOON)
    assert "is given up, unsent" in worker.text
    assert {state for state, _ in place.results(sent).values()} == {"FAILURE"}
    assert set(place.seen("start")) == {10}

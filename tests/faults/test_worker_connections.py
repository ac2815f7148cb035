"""Whole workers whose broker is restarted, cut off, frozen or gone without a word, and whose result store is away.

They go on within ten seconds of its return (of a connection that died silently, within three heartbeats). Nothing is
lost, and what was acknowledged before it ran runs once. `--down` is how long the store is away.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import proxy, servers
from tests.faults import ground
from tests.faults.ground import Ground
from tests.faults.mortal import Mortal, MortalRabbit

pytestmark = pytest.mark.real

SOON = 10.0
BEAT = 2
LOAD = "for n in range({first}, {last}): {task}.delay(n, [0, 0.001, 0.01][n % 3])"


class Wired:
    """A worker whose way to its broker is a proxy; producers go past it."""

    def __init__(self, place: Ground, wire: proxy.Proxy, through: str, task: str) -> None:
        self.place = place
        self.wire = wire
        self.task = task
        self.worker = place.start(BROKER=through).ready()
        self.sent = 0

    def load(self, count: int) -> None:
        self.place.run(LOAD.format(first=self.sent, last=self.sent + count, task=self.task))
        self.sent += count

    def all_done(self, seconds: float) -> float:
        began = time.monotonic()
        done = ground.until(lambda: set(self.place.seen("end")) == set(range(self.sent)), seconds)
        assert done, f"{len(self.place.seen('end'))} of {self.sent}\n{self.place.logs()}"
        return time.monotonic() - began


@pytest.fixture(params=["redis", "amqp"])
def server(request: pytest.FixtureRequest) -> Any:
    server = request.getfixturevalue({"redis": "redis_server", "amqp": "rabbitmq_server"}[request.param])
    if request.param == "redis":
        server.call("FLUSHALL")
    return server


@pytest.fixture
def wired(server: Any, tmp_path: Path) -> Iterator[Callable[[str], Wired]]:
    with proxy.to(server.port) as wire:
        through = server.url.replace(f":{server.port}/", f":{wire.port}/")
        options = {"socket_timeout": 2, "health_check_interval": BEAT} if "redis" in server.url else {"timeout": 2}
        conf = {"broker_transport_options": options, "broker_heartbeat": BEAT}
        with ground.on(tmp_path, server.url, None, f"wired-{tmp_path.name}", **conf) as place:
            yield lambda task: Wired(place, wire, through, task)


def once(each: Wired) -> None:
    twice = {number: times for number, times in each.place.seen("start").items() if times > 1}
    assert not twice, f"run twice: {twice}\n{each.place.logs()}"


@pytest.mark.parametrize("task", ["work", "late"])
@pytest.mark.parametrize("harm", ["cut", "stall", "half_open", "refuse"])
def test_a_connection_comes_to_harm(
    harm: str, task: str, wired: Callable[[str], Wired], figures: list[str], request: pytest.FixtureRequest
) -> None:
    each = wired(task)
    each.load(200)
    assert ground.until(lambda: len(each.place.seen("start")) > 20, 10), each.place.logs()
    if harm == "refuse":
        each.wire.refuse()
        each.wire.cut()
    else:
        getattr(each.wire, harm)()
    time.sleep(1.0)
    each.load(100)
    if harm == "half_open":
        time.sleep(1.0)
    each.wire.heal()
    took = each.all_done(SOON)
    figures.append(f"{request.node.callspec.id}: all done {took:.1f} s after")
    assert each.worker.alive
    if task == "work":
        once(each)


@pytest.mark.parametrize("away", [1.0, 6.0])
def test_redis_is_restarted(away: float, tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    mortal = Mortal(tmp_path / "redis")
    mortal.start()
    try:
        with ground.on(tmp_path, f"redis://127.0.0.1:{mortal.port}/0") as place:
            worker = place.start().ready()
            place.run(LOAD.format(first=0, last=300, task="work"))
            assert ground.until(lambda: len(place.seen("start")) > 20, 10)
            mortal.kill()
            time.sleep(away)
            mortal.start()
            assert ground.until(lambda: len(place.seen("end")) == 300, SOON), place.logs()
            assert worker.alive
            assert set(place.seen("start").values()) == {1}
    finally:
        mortal.kill()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_rabbitmq_is_restarted(how: str, tmp_path: Path, figures: list[str]) -> None:
    """What it was told as it was killed it may have forgotten: only then may something run twice."""
    (tmp_path / "rabbit").mkdir()
    mortal = MortalRabbit(tmp_path / "rabbit")
    try:
        mortal.start()
        with ground.on(tmp_path, mortal.url) as place:
            worker = place.start().ready()
            place.run(LOAD.format(first=0, last=300, task="work"))
            assert ground.until(lambda: len(place.seen("start")) > 20, 10)
            getattr(mortal, how)()
            mortal.start()
            began = time.monotonic()
            assert ground.until(lambda: len(place.seen("end")) == 300, SOON), place.logs()
            starts = place.seen("start")
            twice = sum(times > 1 for times in starts.values())
            figures.append(
                f"RabbitMQ, {how}: all done {time.monotonic() - began:.1f} s after its return, {twice} twice"
            )
            assert worker.alive
            assert how == "kill" or not twice
    finally:
        mortal.close()


def test_no_result_is_lost_while_the_store_is_away(
    tmp_path: Path, redis_server: servers.RedisServer, down: float, figures: list[str]
) -> None:
    redis_server.call("FLUSHALL")
    (tmp_path / "redis").mkdir()
    store = Mortal(tmp_path / "redis")
    store.start()
    try:
        always = {"result_backend_always_retry": True, "result_backend_max_retries": 1000}
        with ground.on(tmp_path, redis_server.url, f"redis://127.0.0.1:{store.port}/0", **always) as place:
            worker = place.start().ready()
            sent = place.run("for n in range(600): print(work.delay(n, 0.005).id)").split()
            assert ground.until(lambda: len(place.seen("end")) > 30, 10), place.logs()
            store.kill()
            time.sleep(down)
            store.start()
            assert ground.until(lambda: len(place.seen("end")) == 600, 30), place.logs()
            found: dict[str, tuple[str, str]] = {}

            def stored() -> bool:
                found.update(place.results(sent))
                return {state for state, _ in found.values()} == {"SUCCESS"}

            there = ground.until(stored, 15)
            lost = [each for each, (state, _) in found.items() if state != "SUCCESS"]
            figures.append(f"store away {down:.0f} s: {len(lost)} of 600 results lost")
            assert there, f"{len(lost)} lost\n{place.logs()}"
            assert worker.alive
            assert set(place.seen("start").values()) == {1}
    finally:
        store.kill()


@pytest.mark.parametrize("how", ["task", "eta"])
def test_longer_than_the_visibility_timeout(how: str, redis_server: servers.RedisServer, tmp_path: Path) -> None:
    redis_server.call("FLUSHALL")
    conf = {"broker_transport_options": {"visibility_timeout": 1}, "task_acks_late": True, "worker_eta_horizon": 60}
    with ground.on(tmp_path, redis_server.url, None, f"long-{how}", **conf) as place:
        workers = [place.start(concurrency=4) for _ in range(3)]
        for worker in workers:
            worker.ready()
        if how == "task":
            place.run("for n in range(6): late.delay(n, 3.5)")
        else:
            place.run("for n in range(6): late.apply_async((n,), countdown=3.5)")
        assert ground.until(lambda: len(place.seen("end")) == 6, 10), place.logs()
        os.kill(workers[0].process.pid, signal.SIGTERM)
        time.sleep(2)
        assert set(place.seen("start").values()) == {1}, place.seen("start")
        assert not redis_server.call("HLEN", "unacked")

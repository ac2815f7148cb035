"""Time limits in whole workers: soft where the pool can raise, hard where it can end, and said at start where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import servers
from tests.faults import ground

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("pool", "task"),
    [
        ("prefork", "busy"),
        ("prefork", "stubborn"),
        ("threads", "busy"),
        ("asyncio", "nap"),
        ("asyncio", "busy"),
        ("solo", "busy"),
    ],
)
def test_a_task_over_its_limits(pool: str, task: str, redis_server: servers.RedisServer, tmp_path: Path) -> None:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, redis_server.url) as place:
        worker = place.start(pool=pool).ready()
        sent = place.run(
            f"print({task}.apply_async((1, 20), soft_time_limit=0.3, time_limit=1.5).id)\n"
            f"print({'busy' if task == 'stubborn' else task}.apply_async((2, 20), time_limit=0.6).id)\n"
            "for n in range(10, 30): work.delay(n)"
        ).split()
        assert ground.until(lambda: set(range(10, 30)) <= set(place.seen("end")), 10), place.logs()
        assert ground.until(lambda: all(s == "FAILURE" for s, _ in place.results(sent).values()), 6)
        first, second = (text for _, text in place.results(sent).values())
        assert ("TimeLimitExceeded" if task == "stubborn" else "SoftTimeLimitExceeded") in first
        assert "TimeLimitExceeded" in second
        assert place.seen("soft")[1] == 1
        assert worker.alive


def test_what_a_pool_cannot_keep_is_said_at_the_start(redis_server: servers.RedisServer, tmp_path: Path) -> None:
    """The alarm, by which solo keeps limits, is for main threads."""
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, None, task_time_limit=5, task_soft_time_limit=3) as place:
        log = tmp_path / "inner.log"
        place.run(
            "from celery.contrib.testing.worker import start_worker\n"
            f"with start_worker(app, pool='solo', perform_ping_check=False, loglevel='WARNING', logfile={str(log)!r}): pass"
        )
        told = log.read_text()
        assert "keeps no soft time limits; asked for by: task_soft_time_limit" in told
        assert "keeps no hard time limits; asked for by: task_time_limit" in told
        quiet = place.start(pool="solo").ready()
        assert "time limits" not in quiet.text

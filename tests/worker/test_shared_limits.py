"""Rate limits that all workers keep together: in the Redis that is the broker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from celeriac.worker import brokers
from celeriac.worker.shared_limits import SharedLimits
from tests import proxy, servers
from tests.faults import ground
from tests.faults.ground import Ground

pytestmark = pytest.mark.real

LIMITED = {"worker_common_rate_limits": True, "task_annotations": {"hurt.work": {"rate_limit": "10/s"}}}


@pytest.fixture
def place(redis_server: servers.RedisServer, tmp_path: Path) -> Iterator[Ground]:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, redis_server.url, **LIMITED) as it:
        yield it


def _starts(place: Ground) -> list[float]:
    return sorted(ran.at for ran in place.ledger() if ran.what == "start")


def test_workers_keep_one_limit_together(place: Ground) -> None:
    for worker in [place.start("-c", "1"), place.start("-c", "2", pool="threads")]:
        worker.ready()
    place.run("for n in range(30): work.delay(n)")
    assert ground.until(lambda: len(place.seen("end")) == 30, 30), place.logs()
    starts = _starts(place)
    assert starts[-1] - starts[0] > 2.7, "each for itself would need half of it"
    assert len({ran.pid for ran in place.ledger()}) > 1, "both take part"
    assert max(sum(at <= other < at + 1 for other in starts) for at in starts) <= 13
    assert set(place.seen("start").values()) == {1}


def test_a_new_rate_counts_at_once(redis_server: servers.RedisServer, tmp_path: Path) -> None:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, worker_eta_horizon=None, **LIMITED) as place:
        _tell_another_rate(place)


def _tell_another_rate(place: Ground) -> None:
    worker = place.start("-c", "1").ready()
    place.run(
        "app.control.rate_limit('hurt.work', '1/h', reply=True)\nfor n in range(6): work.delay(n)",
    )
    assert ground.until(lambda: len(place.seen("end")) == 1, 20), place.logs()
    place.run("assert 'ok' in str(app.control.rate_limit('hurt.work', '20/s', reply=True))")
    assert ground.until(lambda: len(place.seen("end")) == 6, 20), place.logs()
    assert "has no effect" not in worker.text


def test_where_the_broker_is_no_redis_that_is_said(rabbitmq_server: servers.RabbitServer, tmp_path: Path) -> None:
    with ground.on(tmp_path, rabbitmq_server.url, queue="common", **LIMITED) as place:
        worker = place.start("-c", "1", pool="solo").ready()
        assert "worker_common_rate_limits has no effect: " in worker.text
        place.run("for n in range(8): work.delay(n)")
        assert ground.until(lambda: len(place.seen("end")) == 8, 20), place.logs()
        starts = _starts(place)
        assert starts[-1] - starts[0] > 0.6, "each worker keeps it for itself"


def test_a_redis_that_fails_is_said_and_asked_again(
    redis_server: servers.RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.call("FLUSHALL")
    with (
        proxy.to(redis_server.port) as wire,
        closing(brokers.connect(f"redis://127.0.0.1:{wire.port}/0", {}, 2)) as broker,
    ):
        limits = SharedLimits("redis://there")
        with closing(limits), caplog.at_level(logging.ERROR):
            limits.connected(broker)
            assert limits.there
            assert limits.ask("t", 0.01, 1) == (1, 0.0)
            wire.refuse()
            wire.cut()
            assert limits.ask("t", 0.01, 1) is None
            assert "The rate limit of t cannot be asked for at redis://there" in caplog.text
            wire.heal()
            given = limits.ask("t", 0.01, 1)
            assert given is not None
            assert given[0] == 0

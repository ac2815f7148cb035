"""Revokes that outlive all workers: in the Redis that is the broker."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.rules.revokes import Revokes
from celeriac.protocol.wire import redis_revoked
from celeriac.worker import brokers
from celeriac.worker.lasting import Lasting
from tests import proxy, servers
from tests.faults import ground
from tests.faults.ground import Ground

pytestmark = pytest.mark.real


@pytest.fixture
def place(redis_server: servers.RedisServer, tmp_path: Path) -> Iterator[Ground]:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, redis_server.url, worker_lasting_revokes=True) as it:
        yield it


def test_a_worker_that_starts_knows_what_one_that_was_killed_knew(
    place: Ground, redis_server: servers.RedisServer
) -> None:
    first = place.start("-c", "1").ready()
    told = place.run(
        "ids = [work.apply_async((n,), countdown=2).id for n in range(3)]\n"
        "app.conf.worker_lasting_revokes = False\n"  # as a client that knows nothing of it
        "app.control.revoke(ids[:2], reply=True)\n"
        "from celery import group\n"
        "stamped = work.si(3).set(countdown=2)\nstamped.stamp(batch='b1')\nids.append(stamped.apply_async().id)\n"
        "app.control.revoke_by_stamped_headers({'batch': ['b1']}, reply=True)\nprint(json.dumps(ids))"
    )
    first.send(signal.SIGKILL)
    first.leaves(5)
    assert redis_server.call("ZCARD", "celeriac.revoked") == 3
    assert 0 < redis_server.call("TTL", "celeriac.revoked") <= redis_revoked.LASTS
    place.start("-c", "1").ready()
    assert ground.until(lambda: bool(place.seen("end")[2]), 30), place.logs()
    place.run("work.delay(9).get(timeout=10)")
    ids = json.loads(told)
    assert ground.until(lambda: {place.results(ids)[i][0] for i in (ids[0], ids[1], ids[3])} == {"REVOKED"}, 20)
    assert set(place.seen("start")) == {2, 9}


def test_a_client_keeps_it_where_no_worker_runs(place: Ground) -> None:
    place.run(
        "ids = [work.delay(n).id for n in range(3)]\napp.AsyncResult(ids[0]).revoke()\n"
        "app.control.revoke_by_stamped_headers({'batch': 'b1'})\n"
        "stamped = work.si(3)\nstamped.stamp(batch='b1')\nstamped.apply_async()"
    )
    place.start("-c", "1").ready()
    place.run("work.delay(9).get(timeout=10)")
    assert set(place.seen("start")) == {1, 2, 9}, place.logs()


def test_where_the_broker_is_no_redis_that_is_said(rabbitmq_server: servers.RabbitServer, tmp_path: Path) -> None:
    with ground.on(tmp_path, rabbitmq_server.url, queue="lasting", worker_lasting_revokes=True) as place:
        worker = place.start("-c", "1", pool="solo").ready()
        assert "worker_lasting_revokes has no effect" in worker.text
        place.run("app.control.revoke('a')")


def test_a_redis_that_fails_is_asked_again(redis_server: servers.RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    redis_server.call("FLUSHALL")
    now = time.time()
    with (
        proxy.to(redis_server.port) as wire,
        closing(brokers.connect(f"redis://127.0.0.1:{wire.port}/0", {}, 2)) as broker,
    ):
        revokes: Any = Revokes()
        kept = Lasting(revokes, "redis://there")
        kept.connected(broker, now)
        assert kept.tend(now) == float("inf")
        wire.refuse()
        wire.cut()
        kept.keep(["a"], {}, now)
        assert "cannot be kept in redis://there" in caplog.text
        again = kept.tend(now)
        assert now < again < now + 60
        wire.heal()
        redis_server.call("ZADD", "celeriac.revoked", now, '["b"]')
        assert kept.tend(again) == float("inf")
        assert revokes.revoked("b", now)
        assert redis_server.call("ZCARD", "celeriac.revoked") == 2
        kept.close()

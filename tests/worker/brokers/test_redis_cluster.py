"""A Redis of a cluster: what docs/scale.md says of it. One node that has all slots refuses what spans two of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue, Verdict
from tests.servers import RedisServer, redis_server
from tests.worker.running import wait_until

pytestmark = pytest.mark.real

FLEET = {"global_keyprefix": "{fleet}:"}


@pytest.fixture(scope="module")
def node() -> Iterator[RedisServer]:
    with redis_server("--cluster-enabled", "yes") as server:
        server.call("CLUSTER", "ADDSLOTS", *range(16384))
        wait_until(lambda: b"cluster_state:ok" in server.call("CLUSTER", "INFO"), 20)
        yield server


def test_a_fleet_lives_in_one_slot(node: RedisServer) -> None:
    with closing(brokers.connect(node.url, FLEET, 10)) as broker:
        queue = Queue("jobs")
        broker.listen([queue], credit=4)
        message = Message(
            b"[[], {}, {}]", "application/json", "utf-8", {"id": "a", "task": "x"}, {"correlation_id": "a"}
        )
        broker.send([Parcel(message, "jobs")] * 3)
        taken = broker.take(3, 10)
        assert len(taken) == 3
        broker.settle([(taken[0], Verdict.ACK), (taken[1], Verdict.REQUEUE), (taken[2], Verdict.RESTORE)])
        broker.tend(0)
        assert broker.size("jobs") == 2
    assert {key.split(b":")[0] for key in node.call("KEYS", "*")} == {b"{fleet}"}


def test_without_a_common_slot_it_says_why(node: RedisServer) -> None:
    def take() -> None:
        with closing(brokers.connect(node.url, {}, 10)) as broker:
            broker.listen([Queue("jobs")], credit=4)
            broker.take(1, 1)

    with pytest.raises(OperationalError, match="CROSSSLOT"):
        take()
    node.call("FLUSHALL")

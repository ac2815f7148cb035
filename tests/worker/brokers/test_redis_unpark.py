"""Leaving celeriac: what is parked goes back to its queues, in the order of its time, and a stock worker can have it."""

from __future__ import annotations

import time
import uuid

import pytest

from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Park, Queue
from celeriac.worker.brokers.redis_unpark import unpark
from tests import servers
from tests.conformance.brokers import bodies, message, take_all

pytestmark = pytest.mark.real


@pytest.mark.parametrize("count", [0, 3, 1200])
def test_all_that_is_parked_goes_back(redis_server: servers.RedisServer, count: int) -> None:
    options = {"global_keyprefix": f"{uuid.uuid4()}:"}
    queue = Queue("far")
    broker = brokers.connect(redis_server.url, options)
    try:
        broker.send([Parcel(message(str(number).encode()), queue.name) for number in range(count)])
        broker.listen([queue], credit=count + 1)
        taken = take_all(broker, count)
        in_an_hour = time.time() + 3600
        broker.settle([(each, Park(in_an_hour + number)) for number, each in enumerate(taken)])
        broker.tend(time.time())
        assert broker.size(queue.name) == 0
        broker.listen([], credit=1)
        assert unpark(redis_server.url, options) == count
        assert broker.size(queue.name) == count
        assert unpark(redis_server.url, options) == 0
        broker.listen([queue], credit=count + 1)
        assert sorted(bodies(take_all(broker, count))) == sorted(str(number).encode() for number in range(count))
    finally:
        broker.close()


def test_entries_of_another_program_end_the_work(redis_server: servers.RedisServer) -> None:
    prefix = f"{uuid.uuid4()}:"
    redis_server.call("ZADD", f"{prefix}celeriac.parked_index", 1, "stranger")
    redis_server.call("HSET", f"{prefix}celeriac.parked", "stranger", "no entry")
    assert unpark(redis_server.url, {"global_keyprefix": prefix}) == 0
    redis_server.call("DEL", f"{prefix}celeriac.parked_index", f"{prefix}celeriac.parked")

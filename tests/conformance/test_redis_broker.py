"""The Redis broker against the contract, on a real Redis: as it comes, with a prefix, through a socket, polling."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.worker import brokers
from tests import servers
from tests.conformance.brokers import BrokerContract, Connect

pytestmark = pytest.mark.real


@pytest.fixture
def server(redis_server: servers.RedisServer) -> servers.RedisServer:
    redis_server.call("FLUSHALL")
    return redis_server


def connecting(url: str, **options: Any) -> Connect:
    return lambda: brokers.connect(url, options)


class TestRedis(BrokerContract):
    @pytest.fixture
    def connect(self, server: servers.RedisServer) -> Connect:
        return connecting(server.url)

"""The Redis store against the contract."""

from __future__ import annotations

import pytest

from celeriac.worker import backends
from tests.conformance.backends import Connect, StoreContract
from tests.servers import RedisServer

pytestmark = pytest.mark.real


class TestRedis(StoreContract):
    @pytest.fixture
    def connect(self, redis_server: RedisServer) -> Connect:
        return lambda settings=None: backends.connect(redis_server.url, settings)

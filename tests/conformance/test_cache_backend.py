"""The cache store against the contract, on a memcached and in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac.worker import backends
from tests import store_servers
from tests.conformance.backends import Connect, StoreContract, new_id


@pytest.fixture(scope="module")
def memcached() -> Iterator[str]:
    with store_servers.memcached() as port:
        yield f"127.0.0.1:{port}"


@pytest.mark.real
class TestMemcached(StoreContract):
    @pytest.fixture
    def connect(self, memcached: str) -> Connect:
        return lambda settings=None: backends.connect(f"cache+memcached://{memcached}/", settings)


class TestCacheInMemory(StoreContract):
    @pytest.fixture
    def connect(self) -> Connect:
        url = f"cache+memory://{new_id()}/"
        return lambda settings=None: backends.connect(url, settings)

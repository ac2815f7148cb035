"""The embedded broker against the contract: a Valkey of its own, started and stopped by those who use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac.worker import brokers
from tests.conformance.brokers import BrokerContract, Connect

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = f"embedded://{tmp_path_factory.mktemp('embedded') / 'valkey'}"
    keeping = brokers.connect(url)
    yield url
    keeping.close()


class TestEmbedded(BrokerContract):
    @pytest.fixture
    def connect(self, url: str) -> Connect:
        return lambda: brokers.connect(url)

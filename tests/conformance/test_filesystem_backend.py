"""Results in files against the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac.worker import backends
from tests.conformance.backends import Connect, StoreContract


class TestFilesystem(StoreContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda settings=None: backends.connect(f"file://{tmp_path}", settings)

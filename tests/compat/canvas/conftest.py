"""An app that keeps what it is to send."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.canvas import stand


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[stand.App]:
    made = stand.App()
    with stand.sending(made, monkeypatch):
        yield made

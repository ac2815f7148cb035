"""Sizes of the tests that kill, cut and stall."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kills"))


@pytest.fixture(scope="session")
def worker_kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--worker-kills"))


@pytest.fixture(scope="session")
def poison(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--poison"))


@pytest.fixture(scope="session")
def terms(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--terms"))


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def down(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--down"))

"""Sizes and figures of the tests that kill, cut and stall."""

from __future__ import annotations

import pytest

_FIGURES: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _FIGURES:
        terminalreporter.section("faults")
        for line in _FIGURES:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """Lines that are printed when the run ends."""
    return _FIGURES


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

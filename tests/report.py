"""What tests tell besides passing: figures, file sizes and the table of golden vectors, printed when the run ends.

A test may run in another process than the one that prints, so what it tells travels with its report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator

import pytest

from tests.protocol.vectors import Tally

_LINES: dict[str, list[str]] = {"file sizes": [], "faults": []}
_GOLDEN = "golden vectors"
_TALLIES: list[dict[str, dict[str, int]]] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Half a character, as hostile messages hold and logs repeat, would end the process that sends the report."""
    report = yield
    report.sections = [(title, _sendable(text)) for title, text in report.sections]
    if report.failed and _sendable(report.longreprtext) != report.longreprtext:
        report.longrepr = _sendable(report.longreprtext)
    return report


def _sendable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "teardown":
        return
    for section, told in report.user_properties:
        if section in _LINES:
            _LINES[section].append(str(told))
        elif section == _GOLDEN and isinstance(told, dict):
            _TALLIES.append(told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for section, lines in _LINES.items():
        if lines:
            terminalreporter.section(section)
        for line in lines:
            terminalreporter.line(line)
    if _TALLIES:
        terminalreporter.section(_GOLDEN)
        for line in _table():
            terminalreporter.line(line)


def _table() -> Iterator[str]:
    sums = {what: Counter[str]() for what in ("vectors", "parsed", "rebuilt", "refused")}
    for tally in _TALLIES:
        for what, counts in tally.items():
            sums[what].update(counts)
        sums["vectors"].update(tally["parsed"].keys() | tally["refused"].keys())
    row = "{:<34}{:>9}{:>9}{:>9}{:>9}".format
    yield row("kind", *sums)
    for kind in sorted(sums["vectors"]):
        yield row(kind, *(counts[kind] for counts in sums.values()))
    yield f"{len(_TALLIES)} vectors claimed"


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines of figures for the report."""
    yield from _told(request, "faults")


@pytest.fixture
def house_report(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines on the house for the report."""
    yield from _told(request, "file sizes")


def _told(request: pytest.FixtureRequest, section: str) -> Iterator[list[str]]:
    lines: list[str] = []
    yield lines
    request.node.user_properties.extend((section, line) for line in lines)


@pytest.fixture
def golden_tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """What the claims of one vector see."""
    tally = Tally()
    yield tally
    seen = {what: dict(getattr(tally, what)) for what in ("parsed", "rebuilt", "refused")}
    if tally.total:
        request.node.user_properties.append((_GOLDEN, seen))

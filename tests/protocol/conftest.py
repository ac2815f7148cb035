"""Collects what the golden claims saw and prints it as a table when the run ends."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.protocol.vectors import Tally

_TALLIES: dict[str, Tally] = {}


@pytest.fixture(scope="session")
def golden_tally() -> dict[str, Tally]:
    return _TALLIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _TALLIES:
        return
    parsed: Counter[str] = Counter()
    rebuilt: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    vectors: Counter[str] = Counter()
    for tally in _TALLIES.values():
        parsed += tally.parsed
        rebuilt += tally.rebuilt
        refused += tally.refused
        vectors.update(set(tally.parsed) | set(tally.refused))
    terminalreporter.section("golden vectors")
    row = "{:<34}{:>9}{:>9}{:>9}{:>9}".format
    terminalreporter.line(row("kind", "vectors", "parsed", "rebuilt", "refused"))
    for kind in sorted(vectors):
        terminalreporter.line(row(kind, vectors[kind], parsed[kind], rebuilt[kind], refused[kind]))
    terminalreporter.line(f"{len(_TALLIES)} vectors claimed")

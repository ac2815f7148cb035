"""Tasks run by stock Celery 5.7.0 and by celeriac look the same from outside.

Signals with their arguments, hooks, log lines with their data, stored documents and what was sent, all in one order.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCENARIOS = Path(__file__).with_name("trace_scenarios.py")


def told(*command: str) -> dict[str, list[Any]]:
    done = subprocess.run([*command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def stock(stock_python: Path) -> dict[str, list[Any]]:
    return told(str(stock_python), str(SCENARIOS))


@pytest.mark.real
@pytest.mark.parametrize("native", [False, True], ids=["somebody's backend", "a store of ours"])
def test_every_run_looks_as_it_does_in_stock(stock: dict[str, list[Any]], native: bool) -> None:
    ours = told(sys.executable, str(SCENARIOS), "--celeriac", *(["--native"] if native else []))
    assert len(stock) > 70
    assert list(ours) == list(stock)
    if native:  # it has no hook that could tell of each write: only what is left is compared
        stock = {name: [seen for seen in all_seen if seen[0] != "stored"] for name, all_seen in stock.items()}
    differing = {}
    for name, expected in stock.items():
        if ours[name] != expected:
            differing[name] = [(a, b) for a, b in zip(expected, ours[name], strict=False) if a != b]
    assert differing == {}

"""Canvases run here and now say what stock Celery says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EAGER_SIDE = Path(__file__).with_name("eager_side.py")


def run(python: Path | str, **more: str) -> list[object]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY", "CELERIAC"))}
    done = subprocess.run(
        [str(python), str(EAGER_SIDE)], capture_output=True, text=True, timeout=120, check=False, env={**kept, **more},
        cwd=EAGER_SIDE.parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[object] = json.loads(done.stdout)
    return found


def test_eager_canvases(stock_python: Path) -> None:
    ours, stock = run(sys.executable, CELERIAC="1"), run(stock_python)
    assert len(stock) >= 30
    for mine, theirs in zip(ours, stock, strict=True):
        assert mine == theirs

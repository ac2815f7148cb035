"""Several apps in one process: one program sees the same on stock Celery and on celeriac."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import Environment

PROGRAM = Path(__file__).with_name("several_apps.py")


def test_one_program_sees_the_same(tmp_path: Path, stock_python: Path, celeriac_env: Environment) -> None:
    for name in ("stock", "ours"):
        (tmp_path / name).mkdir()
    asked = [str(stock_python), "-W", "ignore", str(PROGRAM), str(tmp_path / "stock")]
    stock = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert stock.returncode == 0, stock.stderr
    done = celeriac_env.run("-W", "ignore", str(PROGRAM), str(tmp_path / "ours"), "celeriac", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected: dict[str, Any] = json.loads(stock.stdout)
    found = json.loads(done.stdout)
    assert len(expected) > 20
    for what, seen in expected.items():
        assert found[what] == seen, what

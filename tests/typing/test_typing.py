"""A task's parameters and what it returns are known to mypy and to pyright: right calls pass, wrong ones do not."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HERE = Path(__file__).parent
WRONG = {
    number for number, line in enumerate((HERE / "wrong.py").read_text().splitlines(), 1) if line.endswith("# wrong")
}


@pytest.fixture(scope="module")
def mypy() -> list[str]:
    """What mypy says of both files, one line for each complaint."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--follow-imports=silent",
        "--no-warn-unused-ignores",
    ]
    files = [str(HERE / "right.py"), str(HERE / "wrong.py")]
    env = {**os.environ, "MYPYPATH": ".dev"}
    done = subprocess.run(command + files, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    return (done.stdout + done.stderr).splitlines()


def _lines(said: list[str], file: str) -> set[int]:
    found = (re.match(rf".*\b{file}:(\d+): error", line) for line in said)
    return {int(one[1]) for one in found if one}


def test_mypy_has_nothing_against_right_calls(mypy: list[str]) -> None:
    assert not [line for line in mypy if "right.py" in line]


def test_mypy_objects_to_each_wrong_call(mypy: list[str]) -> None:
    assert _lines(mypy, "wrong.py") == WRONG, mypy


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_pyright_agrees() -> None:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--project", str(HERE / "pyright.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found if one["severity"] == "error"
    ]
    assert {line for file, line in errors if file == "wrong.py"} == WRONG
    assert not [one for one in errors if one[0] == "right.py"]

"""One program after another sees the same of an app and its tasks on stock Celery and on celeriac, see `scenes`."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCENES = Path(__file__).with_name("scenes.py")


def _names() -> list[str]:
    tree = ast.parse(SCENES.read_text())
    return [
        one.name
        for one in tree.body
        if isinstance(one, ast.FunctionDef) and any(getattr(d, "id", "") == "scene" for d in one.decorator_list)
    ]


def _seen(python: Path, *args: str) -> dict[str, Any]:
    unwanted = ("CELERY", "PYTHON", "COV", "DJANGO")
    env = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    env["TZ"] = "Europe/Vienna"  # on a machine that was set to none, stock draws one of UTC's names by lot
    done = subprocess.run([python, SCENES, *args], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.fixture(scope="module")
def both(stock_python: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return _seen(stock_python), _seen(Path(sys.executable), "celeriac")


@pytest.mark.real
@pytest.mark.parametrize("name", _names())
def test_a_program_sees_the_same(name: str, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    stock, ours = both
    assert ours[name] == stock[name]


@pytest.mark.real
def test_no_scene_is_a_mere_error(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    meant = {"limits_that_contradict", "a_retry_that_the_broker_refuses"}
    assert {name for name, seen in both[0].items() if isinstance(seen, dict) and "error" in seen} <= meant

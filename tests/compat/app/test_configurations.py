"""A configuration says the same to celeriac and to stock Celery: values, changes, reports, errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat.app.defaults import _OPTIONS
from tests.conftest import Environment

SCRIPT = Path(__file__).with_name("configurations.py")
KEYS = sorted(key for key, option in _OPTIONS.items() if not option.own)
# Ours says more, and the class is the same.
OWN_TEXT = {"the environment's module is not set"}


@pytest.fixture(scope="module")
def sides(stock_python: Path, celeriac_env: Environment) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both say, stock first."""
    found = []
    for command in ([str(stock_python), str(SCRIPT)], [str(celeriac_env.python), str(SCRIPT), "celeriac"]):
        env = {**celeriac_env.variables, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, input=json.dumps(KEYS), env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    return found[0], found[1]


def test_there_are_many(sides: Any) -> None:
    stock, _ = sides
    assert len(stock["scenes"]) >= 60
    assert sum("error" in scene for scene in stock["scenes"].values()) >= 12


def test_each_says_the_same(sides: Any) -> None:
    stock, ours = sides
    different = {}
    for name, expected in stock["scenes"].items():
        found = dict(ours["scenes"][name])
        if name in OWN_TEXT:
            assert found["text"]
            found["text"] = expected["text"]
        if found != expected:
            different[name] = {
                part: (expected.get(part), found.get(part))
                for part in expected.keys() | found.keys()
                if expected.get(part) != found.get(part)
            }
    assert different == {}


def test_urls_are_masked_alike(sides: Any) -> None:
    stock, ours = sides
    assert ours["urls"] == stock["urls"]

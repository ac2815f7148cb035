"""A configuration says the same to celeriac and to stock Celery: values, changes, reports, errors."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat.app.defaults import _OPTIONS, _TO_NEW_KEY
from tests.conftest import Environment

SCRIPT = Path(__file__).with_name("configurations.py")
KEYS = sorted(key for key, option in _OPTIONS.items() if not option.own)
# Ours says more, and the class is the same.
OWN_TEXT = {"the environment's module is not set"}


def mappings() -> list[tuple[dict[str, int], str | None]]:
    """Names old and new, prefixed, and strange, in every mixture."""
    chance = random.Random(4)
    old = sorted(name for name, new in _TO_NEW_KEY.items() if new in KEYS)
    found: list[tuple[dict[str, int], str | None]] = []
    for number in range(150):
        prefix = "CELERY" if number % 5 == 0 else None
        names = chance.sample(KEYS, chance.choice((0, 1, 2, 5))) + chance.sample(old, chance.choice((0, 0, 1, 2, 5)))
        names += [f"CELERY_{name.upper()}" for name in chance.sample(KEYS, 2)] if prefix else []
        names += chance.sample([_TO_NEW_KEY[name] for name in names if name in _TO_NEW_KEY] or ["odd"], 1)
        chance.shuffle(names)
        found.append(({name: place for place, name in enumerate(names)}, prefix))
    return found


@pytest.fixture(scope="module")
def sides(stock_python: Path, celeriac_env: Environment) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both say, stock first."""
    found = []
    for command in ([str(stock_python), str(SCRIPT)], [str(celeriac_env.python), str(SCRIPT), "celeriac"]):
        env = {**celeriac_env.variables, "PYTHONHASHSEED": "0"}
        given = json.dumps({"keys": KEYS, "mappings": mappings()})
        done = subprocess.run(command, input=given, env=env, capture_output=True, text=True, check=False)
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


def test_the_table_of_settings_is_the_same(sides: Any) -> None:
    stock, ours = sides
    assert len(stock["table"]) > 200
    assert ours["table"] == stock["table"]


def test_names_are_told_apart_alike(sides: Any) -> None:
    stock, ours = sides
    assert sum("error" in each for each in stock["detected"]) > 20
    assert ours["detected"] == stock["detected"]

"""No setting is accepted and then forgotten: the code reads it, or its row in the table says why it has no effect."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from celeriac.compat.app.defaults import _OPTIONS, HONOURED
from celeriac.worker import options
from tests import house

ROOMS = ("protocol", "worker", "compat")
TABLE, BUILDERS = "compat/app/defaults.py", ("worker/options.py", "compat/app/settings_for_worker.py")

# Names that the code puts together from a part that is said: where, and how it says it.
COMPOSED = {
    "cassandra_read_consistency": ("worker/backends/cassandra.py", 'f"cassandra_{kind}_consistency"', "read"),
    "cassandra_write_consistency": ("worker/backends/cassandra.py", 'f"cassandra_{kind}_consistency"', "write"),
    "redis_username": ("worker/backends/redis.py", 'f"redis_{name}"', "username"),
}


def _code() -> dict[str, str]:
    found = {}
    for room in ROOMS:
        for path in (house.ROOT / room).rglob("*.py"):
            found[path.relative_to(house.ROOT).as_posix()] = _without_docs(path)
    return found


def _without_docs(path: Path) -> str:
    """What is said about a setting is no reading of it."""
    text = re.sub(r'"""(?:.|\n)*?"""', "", path.read_text("utf-8"))
    return re.sub(r"(?m)#.*$", "", text)


CODE = _code()


def _reference() -> list[str]:
    return sorted(json.loads((house.ROOT / "tests/reference/settings.json").read_text()))


def test_every_setting_of_celery_is_in_the_table() -> None:
    missing = [name for name in _reference() if name not in _OPTIONS]
    assert missing == []


@pytest.mark.parametrize("name", sorted(_OPTIONS))
def test_a_setting_is_read_or_says_why_not(name: str) -> None:
    option = _OPTIONS[name]
    readers = [path for path, text in CODE.items() if path != TABLE and re.search(rf"\b{name}\b", text)]
    if option.support != HONOURED:
        assert len(option.advice) > 20, "it says why, and what to do"
    elif name in COMPOSED:
        path, how, part = COMPOSED[name]
        assert how in CODE[path]
        assert f'"{part}"' in CODE[path]
    else:
        assert readers, f"nobody reads {name}, and its row does not say so"


@pytest.mark.parametrize("kind", ["BrokerOptions", "PoolOptions", "Taking", "Telling", "Options"])
def test_what_a_worker_is_told_is_looked_at(kind: str) -> None:
    """The way of a setting does not end where the options are built."""
    places = {path: text for path, text in CODE.items() if path not in BUILDERS}
    unread = [
        name
        for name in getattr(options, kind).__slots__
        if not any(re.search(rf"\.{name}\b", text) for text in places.values())
    ]
    assert unread == []

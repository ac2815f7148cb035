"""Whole workers whose number of processes changes: with the load, and as stock Celery's command line tells them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import ground
from tests.faults.ground import Ground

pytestmark = pytest.mark.real


@pytest.fixture
def place(redis_server: Any, tmp_path: Path) -> Iterator[Ground]:
    redis_server.call("FLUSHALL")
    with ground.on(tmp_path, redis_server.url, redis_server.url) as it:
        yield it


@pytest.fixture
def stock(place: Ground, stock_python: Path) -> Any:
    """What the first worker answers to stock's command line."""

    def ask(*words: str) -> Any:
        command, *rest = words
        done = subprocess.run(
            [str(stock_python), "-m", "celery", "-b", place.env["BROKER"], command, "-t", "2", "-j", *rest],
            cwd=place.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        line = next((line for line in done.stdout.splitlines() if line.startswith(("{", "["))), None)
        assert line is not None, done.stdout + done.stderr
        answer = json.loads(line)
        return (answer[0] if isinstance(answer, list) else answer)["w1@hurt"]

    return ask


def _busy(place: Ground) -> int:
    """How many tasks have begun and not ended."""
    return sum(place.seen("start").values()) - sum(place.seen("end").values())


def test_autoscale_follows_the_load_and_its_bounds(place: Ground, stock: Any) -> None:
    worker = place.start("--autoscale", "5,2", AUTOSCALE_KEEPALIVE="1").ready()
    members = len(worker.children())
    place.run("for n in range(10): work.delay(n, 1)")
    assert ground.until(lambda: _busy(place) == 5, 20), place.logs()
    assert "Scaling up 3 processes." in worker.text
    assert stock("control", "pool_grow", "1") == {
        "error": "pool_grow is not supported with autoscale. Adjust autoscale range instead."
    }
    assert ground.until(lambda: sum(place.seen("end").values()) == 10, 30), place.logs()
    assert ground.until(lambda: len(worker.children()) == members, 30), place.logs()
    assert "Scaling down" in worker.text
    assert stock("control", "autoscale", "3", "1") == {"ok": "autoscale now max=3 min=1"}
    place.run("for n in range(20, 26): work.delay(n, 1)")
    assert ground.until(lambda: _busy(place) == 3, 20), place.logs()
    assert ground.until(lambda: sum(place.seen("end").values()) == 16, 30), place.logs()
    found = stock("inspect", "stats")["autoscaler"]
    assert (found["max"], found["min"], found["qty"]) == (3, 1, 0)
    assert set(place.seen("start").values()) == {1}
    assert not ground.count("Scaling up [^12]", worker.text.partition("Scaling down")[2]), "never above its new bound"


def test_a_pool_grows_and_shrinks_as_it_is_told(place: Ground, stock: Any) -> None:
    worker = place.start("-c", "1").ready()
    members = len(worker.children())
    assert stock("control", "pool_grow", "2") == {"ok": "pool will grow"}
    place.run("for n in range(6): work.delay(n, 1)")
    assert ground.until(lambda: _busy(place) == 3, 20), place.logs()
    assert stock("control", "pool_shrink", "2") == {"ok": "pool will shrink"}
    assert ground.until(lambda: len(worker.children()) == members, 20), place.logs()
    assert ground.until(lambda: sum(place.seen("end").values()) == 6, 30), place.logs()
    assert set(place.seen("start").values()) == {1}, "what ran in those that left has ended there"

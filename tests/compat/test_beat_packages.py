"""django-celery-beat, redbeat and sqlalchemy-celery-beat drive ticks through our beat, as they are on PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Environment
from tests.servers import RedisServer

PROGRAM = Path(__file__).with_name("beat_packages.py")
FOLDER = ROOT / ".peers" / "beat-packages"
# Without what they depend on: that is here already, or it is Celery.
PACKAGES = (
    "django-celery-beat==2.9.0",
    "celery-redbeat==2.4.2",
    "sqlalchemy-celery-beat==0.9.1",
    "cron-descriptor",
    "django-timezone-field",
    "python-crontab",
    "tenacity",
)


@pytest.fixture(scope="module")
def packages() -> Path:
    if not (FOLDER / "redbeat").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(FOLDER), *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the packages cannot be had: {done.stderr.strip()[-200:]}")
    return FOLDER


@pytest.fixture(scope="module")
def lives(
    redis_server: RedisServer, celeriac_env: Environment, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What each of them told and logged; they live at the same time."""
    there = {**celeriac_env.variables, "PYTHONPATH": str(packages), "PYTHONWARNINGS": "ignore"}
    folder = tmp_path_factory.mktemp("packages")
    running = {}
    for which in ("django", "redbeat", "sqlalchemy"):
        redis_server.call("DEL", f"of-{which}")
        running[which] = subprocess.Popen(
            [sys.executable, str(PROGRAM), which, redis_server.url],
            cwd=folder,
            env=there,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    told = {}
    for which, process in running.items():
        out, log = process.communicate(timeout=90)
        assert process.returncode == 0, log[-4000:]
        told[which] = {**json.loads(out.strip().splitlines()[-1]), "log": log}
    return told


def sent(server: RedisServer, queue: str) -> list[tuple[str, Any, Any]]:
    messages = [json.loads(raw) for raw in server.call("LRANGE", queue, 0, -1)]
    bodies = [json.loads(b64decode(each["body"])) for each in messages]
    return [(each["headers"]["task"], body[0], body[1]) for each, body in zip(messages, bodies, strict=True)]


@pytest.mark.real
@pytest.mark.parametrize(
    ("which", "scheduler", "tasks"),
    [
        ("django", "DatabaseScheduler", {"t.one": 3, "t.configured": 3, "t.late": 1}),
        ("redbeat", "RedBeatScheduler", {"t.one": 3, "t.configured": 3}),
        ("sqlalchemy", "DatabaseScheduler", {"t.configured": 2}),
    ],
)
def test_a_scheduler_of_a_package_ticks(
    redis_server: RedisServer,
    lives: dict[str, Any],
    which: str,
    scheduler: str,
    tasks: dict[str, int],
) -> None:
    told = lives[which]
    assert told["scheduler"] == scheduler
    found = sent(redis_server, f"of-{which}")
    counts = Counter(task for task, _, _ in found)
    for task, fewest in tasks.items():
        assert fewest <= counts[task] <= told["took"] + 2, told["log"]  # each is due once a second
    for task, args, kwargs in found:
        if task == "t.one":
            assert args == [1]
            assert kwargs == ({"a": 2} if which == "django" else {})
    if "one" in told["counts"]:
        assert told["counts"]["one"] == counts["t.one"]

"""Random canvases, sent by celeriac and by stock Celery to one stock worker: results and trees are the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.differential.canvases import Canvases
from tests.differential.test_calls import same_ids

HERE = Path(__file__).parent
# Options that only make a run slow, or let canvases meet each other.
AIMED = re.compile(r"\b(queue='\w+'|countdown=\d|priority=\d|expires=\d+|routing_key='k'|immutable=True)")
CLIENT = "import sys; sys.path.insert(0, {here!r}); sys.argv = ['client']; import fleet_client; fleet_client.main()"


def call(seed: int) -> str:
    """A canvas and its plainest call."""
    text = Canvases(seed).call(2)
    before, _, _ = text.rpartition("\n")
    return AIMED.sub("headers=dict(h=1)", before) + ("\ns.delay(3)" if seed % 5 == 0 else "\ns.apply_async()")


@pytest.fixture(scope="module")
def worker(redis_server: servers.RedisServer, stock_python: Path) -> Iterator[str]:
    url = f"redis://127.0.0.1:{redis_server.port}/7"
    with tempfile.TemporaryFile("w+") as log:
        command = [
            *(str(stock_python), "-m", "celery", "-A", "fleet_app", "worker", "-P", "solo", "-l", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat", "-O", "fair"),
        ]
        process = subprocess.Popen(command, cwd=HERE, env=_environment(url), stdout=log, stderr=subprocess.STDOUT)
        yield url
        process.kill()  # it holds nothing that anybody waits for
        process.wait()


def _environment(url: str, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY", "CELERIAC"))}
    return {**kept, "REDIS": url, **more}


def run(python: Path | str, calls: list[str], url: str, **more: str) -> list[Any]:
    program = CLIENT.format(here=str(HERE))
    done = subprocess.run(
        [str(python), "-c", program], input=json.dumps(calls), env=_environment(url, **more), capture_output=True,
        text=True, timeout=900, check=False, cwd=HERE.parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads(done.stdout)
    return found


def _lost_by_stock(text: str, theirs: Any) -> bool:
    """Names of stamps that a visitor gave to one task turn up at its siblings there, without values: a KeyError."""
    return "V()" in text and ("PENDING" in json.dumps(theirs) or "KeyError" in json.dumps(theirs))


@pytest.mark.real
def test_results_and_trees(worker: str, stock_python: Path, request: pytest.FixtureRequest) -> None:
    count = int(request.config.getoption("--canvases"))
    calls = [call(seed) for seed in range(70_000, 70_000 + count)]
    with ThreadPoolExecutor(2) as both:
        ours = both.submit(run, sys.executable, calls, worker, CELERIAC="1")
        stock = both.submit(run, stock_python, calls, worker)
    unlike = [
        (text, mine, theirs)
        for text, mine, theirs in zip(calls, ours.result(), stock.result(), strict=True)
        if not isinstance(theirs, str) and same_ids([mine]) != same_ids([theirs]) and not _lost_by_stock(text, theirs)
    ]
    assert not unlike, unlike[0]
    assert sum(1 for theirs in stock.result() if not isinstance(theirs, str)) >= count * 0.9

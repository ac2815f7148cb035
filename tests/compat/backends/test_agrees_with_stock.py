"""What stock Celery stores we read, and the reverse: the same values, states, errors and trees out of either reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import RedisServer

PEER = Path(__file__).with_name("results_peer.py")
OURS = "celeriac.compat"


def run(python: Path | str, root: str, action: str, url: str, *options: str) -> Any:
    done = subprocess.run(
        [str(python), str(PEER), root, action, url, *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.replace(OURS, "celery")) if action == "read" else None


@pytest.mark.parametrize(
    ("writer", "options"),
    [("stock", ()), ("ours", ()), ("ours", ("result_serializer=pickle", "result_extended=1"))],
    ids=["stock's json", "our json", "our pickle"],
)
def test_both_read_the_same(
    redis_server: RedisServer, stock_python: Path, writer: str, options: tuple[str, ...]
) -> None:
    redis_server.call("FLUSHALL")
    python, root = (stock_python, "celery") if writer == "stock" else (sys.executable, OURS)
    run(python, root, "write", redis_server.url, *options)
    stock = run(stock_python, "celery", "read", redis_server.url, *options)
    ours = run(sys.executable, OURS, "read", redis_server.url, *options)
    assert len(stock) > 60
    assert ours == stock

"""An app file that knows `celery` alone, a client under one Celery and a worker under the other: all comes out the same.

Law: what stock Celery comes to with itself, in the same run, is what both mixed pairs must come to: values and results of
every type, exceptions, canvases, signals, remote control, events, beat's entries, pickles (exchange/client.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers import redis_server

pytestmark = pytest.mark.real

HERE = Path(__file__).parent / "exchange"
STOCK, OURS = "stock", "celeriac"
PAIRS = ((STOCK, STOCK), (STOCK, OURS), (OURS, STOCK))  # client, worker
WORKER = ("-A", "exchanged", "worker", "-c", "2", "-n", "w@here", "-l", "WARNING")


def run(
    pair: tuple[str, str], stock_python: Path, folder: Path, serializer: str, scenes: Sequence[str]
) -> list[list[object]]:
    """What the client has seen, step by step."""
    client, worker = pair
    python = {STOCK: [str(stock_python)], OURS: [sys.executable, "-W", "ignore"]}
    command = {STOCK: ["-m", "celery"], OURS: ["-m", "celeriac"]}
    program = {STOCK: python[STOCK], OURS: [*python[OURS], "-m", "celeriac", "run", sys.executable]}
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "CELERY", "COV"))}
    kept["C_FORCE_ROOT"] = "1"  # stock's workers read no pickles as root otherwise
    log = folder / f"{client}-{worker}-{serializer}.log"
    with redis_server() as server, log.open("wb") as out:
        for number, name in enumerate(("BROKER", "BACKEND", "NOTES")):
            kept[name] = f"redis://127.0.0.1:{server.port}/{number}"
        kept["SERIALIZER"] = serializer
        variables = {STOCK: kept, OURS: {**kept, "PYTHONPATH": str(ROOT / ".dev")}}
        process = subprocess.Popen(
            [*python[worker], *command[worker], *WORKER], cwd=HERE, env=variables[worker], stdout=out, stderr=out
        )
        try:
            done = subprocess.run(
                [*program[client], "client.py", *scenes],
                cwd=HERE, env=variables[client], capture_output=True, text=True, check=False, timeout=150,
            )  # fmt: skip
        finally:
            process.terminate()
            process.wait(30)
    assert done.returncode == 0, f"{client} with a worker of {worker}: {done.stderr}\n{log.read_text()}"
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("serializer", "scenes", "steps"), [("json", (), 70), ("pickle", ("pickles", "failures", "results"), 20)]
)
def test_everything_is_exchanged(
    serializer: str, scenes: Sequence[str], steps: int, stock_python: Path, tmp_path: Path
) -> None:
    one = partial(run, stock_python=stock_python, folder=tmp_path, serializer=serializer, scenes=scenes)
    with ThreadPoolExecutor(len(PAIRS)) as at_once:
        figure, *mixed = at_once.map(one, PAIRS)
    assert len(figure) > steps, figure
    for pair, seen in zip(PAIRS[1:], mixed, strict=True):
        assert len(seen) == len(figure)
        for ours, stocks in zip(seen, figure, strict=True):
            assert ours == stocks, pair

"""An app file that knows `celery` alone, a client under one Celery and a worker under the other: all comes out the same.

Law: what stock Celery comes to with itself, in the same run, is what both mixed pairs must come to: values and results of
every type, exceptions, canvases, signals, remote control, events, beat's entries, pickles (exchange/client.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, VHOSTS
from tests.servers import RabbitServer, redis_server

pytestmark = pytest.mark.real

HERE = Path(__file__).parent / "exchange"
STOCK, OURS = "stock", "celeriac"
PAIRS = ((STOCK, STOCK), (STOCK, OURS), (OURS, STOCK))  # client, worker
WORKER = ("-A", "exchanged", "worker", "-c", "2", "-n", "w@here", "-l", "WARNING")
ANYWHERE = (
    "values", "pickles", "failures", "calls", "chains", "client_signals", "worker_signals", "control", "events", "beat",
)  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """What is exchanged, and by which servers."""

    broker: str
    backend: str
    serializer: str
    scenes: Sequence[str]
    steps: int
    """At least so many are told of."""

    def __str__(self) -> str:
        return f"{self.broker}-{self.backend}-{self.serializer}"


EXCHANGES = (
    Exchange("redis", "redis", "json", (*ANYWHERE, "chords", "results"), 70),
    Exchange("rabbitmq", "rpc", "json", (*ANYWHERE, "replies"), 65),
    Exchange("rabbitmq", "redis", "pickle", ("pickles", "failures", "chords", "results"), 25),
)


@contextmanager
def places(what: Exchange, rabbit: RabbitServer | None, number: int) -> Iterator[dict[str, str]]:
    """The variables of `exchanged.py`: servers, or parts of them, that nobody else uses."""
    with redis_server() as server:
        redis = [f"redis://127.0.0.1:{server.port}/{database}" for database in range(3)]
        yield {
            "BROKER": redis[0] if rabbit is None else rabbit.at(VHOSTS[number]),
            "BACKEND": redis[1] if what.backend == "redis" else "rpc://",
            "NOTES": redis[2],
            "SERIALIZER": what.serializer,
        }


def run(what: Exchange, pair: tuple[str, str], variables: dict[str, str], stock: Path, log: Path) -> list[list[object]]:
    """What the client has seen, step by step."""
    client, worker = pair
    python = {STOCK: [str(stock)], OURS: [sys.executable, "-W", "ignore"]}
    command = {STOCK: ["-m", "celery"], OURS: ["-m", "celeriac"]}
    program = {STOCK: python[STOCK], OURS: [*python[OURS], "-m", "celeriac", "run", sys.executable]}
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "CELERY", "COV"))}
    kept |= {"C_FORCE_ROOT": "1", **variables}  # stock's workers read no pickles as root otherwise
    path = {STOCK: kept, OURS: {**kept, "PYTHONPATH": str(ROOT / ".dev")}}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*python[worker], *command[worker], *WORKER], cwd=HERE, env=path[worker], stdout=out, stderr=out
        )
        try:
            done = subprocess.run(
                [*program[client], "client.py", *what.scenes],
                cwd=HERE, env=path[client], capture_output=True, text=True, check=False, timeout=150,
            )  # fmt: skip
        finally:
            process.terminate()
            process.wait(30)
    assert done.returncode == 0, f"{client} with a worker of {worker}: {done.stdout}{done.stderr}\n{log.read_text()}"
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("what", EXCHANGES, ids=str)
def test_everything_is_exchanged(
    what: Exchange, stock_python: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rabbit = request.getfixturevalue("rabbitmq_of_the_run") if what.broker == "rabbitmq" else None
    # Each pair of each exchange has a virtual host to itself.
    first = len(PAIRS) * [each for each in EXCHANGES if each.broker == what.broker].index(what)

    def one(number: int) -> list[list[object]]:
        with places(what, rabbit, first + number) as variables:
            return run(what, PAIRS[number], variables, stock_python, tmp_path / f"{number}.log")

    with ThreadPoolExecutor(len(PAIRS)) as at_once:
        figure, *mixed = at_once.map(one, range(len(PAIRS)))
    assert len(figure) > what.steps, figure
    for pair, seen in zip(PAIRS[1:], mixed, strict=True):
        assert len(seen) == len(figure)
        for ours, stocks in zip(seen, figure, strict=True):
            assert ours == stocks, pair

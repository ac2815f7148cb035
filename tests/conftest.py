"""Fixtures for every room: real servers, stock Celery, a clean environment for child processes; the house's report."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from celeriac.worker import brokers
from tests import servers
from tests.report import (
    figures,
    golden_tally,
    house_report,
    pytest_runtest_logreport,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)

__all__ = [
    "figures",
    "golden_tally",
    "house_report",
    "pytest_runtest_logreport",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
]

# How long an example takes says how busy the machine is, and nothing of what is tried. Each run tries the same examples,
# so that one which fails, fails for whoever looks into it; `--hypothesis-profile=fresh` seeks new ones.
settings.register_profile("fresh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("tests", settings.get_profile("fresh"), derandomize=True)
settings.load_profile("tests")

# What starts the processes of tests says these of a terminal that is none of theirs.
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)

ROOT = Path(__file__).resolve().parents[1]
STOCK = ROOT / ".peers" / "celery-5.7.0"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutations",
        type=int,
        default=5_000,
        help="how many mutated messages a test marked fuzz sends through the parsers",
    )
    parser.addoption("--kills", type=int, default=60, help="how many takers tests/faults kills; the full run is 1000")
    parser.addoption(
        "--worker-kills", type=int, default=6, help="how often a worker is killed, in each of 4 ways; full: 200"
    )
    parser.addoption("--messages", type=int, default=400, help="how many a mixed fleet works off; the full run is 5000")
    parser.addoption("--sends", type=int, default=20_000, help="how many are sent that nobody reads; full: 200000")
    parser.addoption("--canvases", type=int, default=60, help="how many random canvases both Celerys run; full: 1000")
    parser.addoption("--event-sequences", type=int, default=800, help="how many random histories; full: 20000")
    parser.addoption("--programs", type=int, default=42, help="how many random task programs are run; full: 500")
    parser.addoption("--down", type=float, default=2.0, help="how long a result store is away, in seconds; full: 10")
    parser.addoption("--poison", type=int, default=500, help="how many changed messages a worker eats; full: 100000")
    parser.addoption("--terms", type=int, default=5, help="how many times SIGTERM is sent under load; full: 100")
    parser.addoption("--soak", type=int, default=3_000, help="how many tasks a worker does on end; full: 1000000")
    parser.addoption("--leaders", type=int, default=20, help="how many leading beats are killed; the full run is 200")
    parser.addoption(
        "--zones", type=int, default=1, help="in how many zones of one rule beat lives through DST; 0: in all"
    )
    parser.addoption("--orders", type=int, default=1, help="in how many orders wheels come and go; full: 12")
    parser.addoption("--pictures", default="", help="where the pictures of the web page are put, as docs/pictures")


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--mutations"))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer]:
    """One private Redis for the whole run. A test that minds what others left behind calls FLUSHALL."""
    with servers.redis_server() as server:
        yield server


VHOSTS = tuple(f"place-{number}" for number in range(6))
"""Virtual hosts of the run's RabbitMQ, for fleets that stand side by side."""


@pytest.fixture(scope="session")
def rabbitmq_of_the_run() -> Iterator[servers.RabbitServer]:
    with servers.rabbitmq_server(*VHOSTS) as server:
        yield server


@pytest.fixture(scope="module")
def rabbitmq_server(rabbitmq_of_the_run: servers.RabbitServer) -> servers.RabbitServer:
    """One private RabbitMQ for the whole run; it takes some seconds to come up. The queue that all use when they are
    told of no other is empty as a file begins.
    """
    broker = brokers.connect(rabbitmq_of_the_run.url)
    broker.purge("celery")
    broker.close()
    return rabbitmq_of_the_run


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_process() -> Iterator[None]:
    """Neither variables of the environment nor shared tasks, by which a later test would see an earlier one."""
    variables = dict(os.environ)
    state = sys.modules.get("celeriac.compat._state")
    shared = dict(state._on_app_finalizers) if state else {}
    yield
    variables["PYTEST_CURRENT_TEST"] = os.environ.get("PYTEST_CURRENT_TEST", "")
    if dict(os.environ) != variables:
        os.environ.clear()
        os.environ.update(variables)
    if state and state._on_app_finalizers != shared:
        state._on_app_finalizers.clear()
        state._on_app_finalizers.update(shared)


@pytest.fixture(scope="session")
def stock_python() -> Path:
    """The interpreter of stock Celery 5.7.0; its environment is built when it is missing."""
    python = STOCK / "bin" / "python"
    if not (STOCK / ".ready").exists():
        subprocess.run(["make", "--silent", "stock"], cwd=ROOT, check=True)
    return python


@dataclass(frozen=True)
class Environment:
    """How a test starts celeriac, or any child process, untouched by what this shell has set."""

    python: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *args: str, timeout: float = 60, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Runs this interpreter with these arguments and returns what it did; raises nothing but a timeout."""
        command = [str(self.python), *args]
        return subprocess.run(
            command, env=self.variables, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def celeriac_env() -> Environment:
    unwanted = ("PYTHON", "CELERY", "CELERIAC", "COV_", "COVERAGE")
    kept = {key: text for key, text in os.environ.items() if key == "PYTHONPATH" or not key.startswith(unwanted)}
    return Environment(Path(sys.executable), kept)

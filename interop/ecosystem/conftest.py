"""Each package on celeriac and on stock Celery in the same run, and the table of what passed where.

Law: a test that takes `side` runs once for each of SIDES. What fails on stock Celery is its figure, not our failure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.environments import environment
from tests.servers import RedisServer, redis_server
from tests.store_servers import postgres, postgres_programs

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("celeriac", "stock")

# As they are on PyPI, with all that they ask for.
PACKAGES = (
    "celery-once==3.0.1",
    "celery-progress==0.5",
    "celery-prometheus-exporter==1.7.0",
    "celery-redbeat==2.4.2",
    "celery-redis-statedb==0.2.0",
    "celery-singleton==0.3.1",
    "celery-types==0.26.0",
    "django-celery-beat==2.9.0",
    "django-celery-results==2.6.0",
    "django-structlog==11.0.0",
    "django-tenants==4.0.1",
    "ecs-logging",
    "elastic-apm==6.26.2",
    "flower==2.2.0",
    "mypy",
    "newrelic==14.1.0",
    "opentelemetry-instrumentation-celery==0.66b2",
    "opentelemetry-sdk",
    "psycopg[binary]",
    "pytest-celery==1.3.0",
    "sentry-sdk==2.75.0",
    "tenant-schemas-celery==5.0.0",
    "tzdata",
)
# Their newest releases ask for an older Celery than 5.7: installed without what they ask for, on both sides.
WITH_A_CEILING = ("celery-aio-pool==0.1.0rc8", "celery-batches==0.11")

_FIGURES: dict[str, dict[str, list[bool]]] = defaultdict(lambda: {side: [] for side in SIDES})


@pytest.fixture(scope="session", params=SIDES)
def side(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def programs(side: str) -> Path:
    """The folder with python, celery and the others."""
    return environment(f"ecosystem/packages-{side}", PACKAGES, WITH_A_CEILING, shim=side == "celeriac")


@pytest.fixture(scope="session")
def variables(side: str) -> dict[str, str]:
    """This tree's celeriac, wherever the environment was made from."""
    return {"PYTHONPATH": str(ROOT / ".dev")} if side == "celeriac" else {}


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def database() -> Iterator[str]:
    """A PostgreSQL with nothing in it, where it is installed."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("tenants are schemas of PostgreSQL, which is not installed (apt-get install postgresql)")
    with postgres(programs) as url:
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    values = item.callspec.params if hasattr(item, "callspec") else {}
    which = values.get("side")
    if which is None or (report.when != "call" and report.passed):
        return report
    if not report.skipped:
        row = values.get("program") or item.path.stem.removeprefix("test_")
        _FIGURES[str(row)][which].append(report.passed)
    if which == "stock" and report.failed:
        report.outcome, report.wasxfail = "skipped", "stock Celery's figure"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _FIGURES:
        return
    terminalreporter.section("passed, of those that ran")
    terminalreporter.line(f"{'package':<28}" + "".join(f"{side:>12}" for side in SIDES))
    for row, figures in sorted(_FIGURES.items()):
        cells = (f"{sum(figures[side])}/{len(figures[side])}" if figures[side] else "-" for side in SIDES)
        terminalreporter.line(f"{row:<28}" + "".join(f"{cell:>12}" for cell in cells))

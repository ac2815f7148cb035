"""Packages from PyPI that hook into a worker, a beat or into sending, on celeriac in the place of Celery.

Law: each is installed as it is, beside the wheel named `celery`, and does its real work in a program of its own
(`programs/`), with a worker with threads and one with processes; the same program on stock Celery gives the figure to
compare with. Not in the default run: `make ecosystem`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment
from tests.servers import RedisServer

pytestmark = pytest.mark.ecosystem

HERE = Path(__file__).resolve().parent
BOTH = ("threads", "prefork")
AIRFLOW = ("apache-airflow-providers-celery==3.26.0", "sqlalchemy")
PROGRAMS = {
    "aio_pool": ("custom",),
    "batches": ("solo", *BOTH),
    "django_beat": ("solo",),
    "django_logs": BOTH,
    "django_results": BOTH,
    "elastic": BOTH,
    "exporter": ("solo",),
    "newrelic_agent": BOTH,
    "once": BOTH,
    "progress": BOTH,
    "pytest_plugin": ("solo",),
    "redbeat_scheduler": ("solo",),
    "sentry": BOTH,
    "singleton": BOTH,
    "statedb": ("solo",),
    "telemetry": BOTH,
    "tenants": BOTH,
    "types_of_users": ("solo",),
}


@pytest.mark.parametrize(("program", "pool"), [(name, pool) for name, pools in PROGRAMS.items() for pool in pools])
def test_it_works(
    programs: Path,
    variables: dict[str, str],
    server: RedisServer,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    program: str,
    pool: str,
) -> None:
    if program == "tenants":
        variables = {**variables, "POSTGRES_URL": request.getfixturevalue("database")}
    run(programs, variables, server, tmp_path, program, pool)


@pytest.mark.parametrize("program", ["airflow_executor"])
def test_it_works_in_an_environment_of_its_own(
    side: str, variables: dict[str, str], server: RedisServer, tmp_path: Path, program: str
) -> None:
    """What brings too much to be installed with the others."""
    programs = environment(f"ecosystem/airflow-{side}", AIRFLOW, shim=side == "celeriac")
    run(programs, variables, server, tmp_path, program, "prefork")


def run(programs: Path, variables: dict[str, str], server: RedisServer, folder: Path, program: str, pool: str) -> None:
    """The program itself, which ends with the word fine."""
    server.call("FLUSHALL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CELERY", "COV"))}
    done = subprocess.run(
        [programs / "python", HERE / "programs" / f"{program}.py", pool, folder / "log"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**kept, **variables, "REDIS_URL": server.url.removesuffix("/0")},
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["fine"], done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr

"""Packages from PyPI that hook into a worker, a beat or into sending, on celeriac in the place of Celery.

Law: each is installed as it is, beside the wheel named `celery`, and does its real work in a program of its own
(`programs/`), with a worker with threads and one with processes; the same program on stock Celery gives the figure to
compare with. Not in the default run: `make ecosystem`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment
from tests.servers import RedisServer

pytestmark = pytest.mark.ecosystem

HERE = Path(__file__).resolve().parent
BOTH = ("threads", "prefork")
AIRFLOW = ("apache-airflow-providers-celery==3.26.0", "sqlalchemy")
# It asks for Celery 4, has wheels for no Python of today, and is built by the maturin of its time alone.
EXPORTER = "celery-exporter==1.5.1"
TO_BUILD_IT = ("maturin==0.9.4", "prometheus-client", "setuptools", "wheel")
PROGRAMS = {
    "aio_pool": ("custom",),
    "batches": ("solo", *BOTH),
    "django_beat": ("solo",),
    "django_logs": BOTH,
    "django_results": BOTH,
    "elastic": BOTH,
    "newrelic_agent": BOTH,
    "once": BOTH,
    "progress": BOTH,
    "prometheus_exporter": ("solo",),
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


@pytest.mark.parametrize("program", ["airflow_executor", "exporter"])
def test_it_works_in_an_environment_of_its_own(
    side: str, variables: dict[str, str], server: RedisServer, tmp_path: Path, program: str
) -> None:
    """What brings too much to be installed with the others, and what has to be built."""
    if program == "exporter":
        assert shutil.which("cargo"), "celery-exporter is built from its source, in part Rust: apt-get install cargo"
        programs = environment(f"ecosystem/exporter-{side}", TO_BUILD_IT, built=[EXPORTER], shim=side == "celeriac")
    else:
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

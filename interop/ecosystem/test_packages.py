"""Packages from PyPI that hook into a worker or into sending, on celeriac in the place of Celery.

Law: each is installed as it is, in one environment (`.peers/packages`) without Celery, and does its real work in a
program of its own (`programs/`), with a worker in threads and one with processes. Not in the default run:
`make ecosystem`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import RedisServer, redis_server

pytestmark = pytest.mark.ecosystem

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
HOME = ROOT / ".peers" / "packages"

# Those that require Celery are installed without what they require; what they need of it is in the second list.
PACKAGES = (
    "celery-aio-pool==0.1.0rc8",
    "celery-batches==0.11",
    "celery-once==3.0.1",
    "celery-progress==0.5",
    "celery-redis-statedb==0.2.0",
    "celery-singleton==0.3.1",
    "django-celery-results==2.6.0",
    "django-structlog==11.0.0",
)
NEEDED = (
    "billiard",
    "django",
    "django-ipware",
    "ecs-logging",
    "elastic-apm==6.26.2",
    "opentelemetry-instrumentation-celery==0.66b2",
    "opentelemetry-sdk",
    "redis",
    "sentry-sdk==2.75.0",
    "six",
    "structlog",
    "vine",
)

PROGRAMS = {
    "batches": ("solo", "threads", "prefork"),
    "sentry": ("threads", "prefork"),
    "telemetry": ("threads", "prefork"),
    "django_results": ("threads", "prefork"),
    "once": ("threads", "prefork"),
    "singleton": ("threads", "prefork"),
    "progress": ("threads", "prefork"),
    "django_logs": ("threads", "prefork"),
    "elastic": ("threads", "prefork"),
    "statedb": ("solo",),
    "aio_pool": ("celery_aio_pool.pool:AsyncIOPool",),
}


@pytest.fixture(scope="session")
def python() -> Path:
    """The environment, made once."""
    ready = HOME / ".ready"
    wanted = "\n".join((*PACKAGES, *NEEDED))
    if not ready.exists() or ready.read_text() != wanted:
        pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([*pip, "--editable", str(ROOT)], check=True)
        subprocess.run([*pip, *NEEDED], check=True)
        subprocess.run([*pip, "--no-deps", *PACKAGES], check=True)
        ready.write_text(wanted)
    return HOME / "bin" / "python"


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.mark.parametrize(("program", "pool"), [(name, pool) for name, pools in PROGRAMS.items() for pool in pools])
def test_it_works(python: Path, server: RedisServer, tmp_path: Path, program: str, pool: str) -> None:
    server.call("FLUSHALL")
    done = subprocess.run(
        [str(python), str(HERE / "programs" / f"{program}.py"), pool, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE / "site"), "REDIS_URL": server.url.removesuffix("/0")},
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["fine"], done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr

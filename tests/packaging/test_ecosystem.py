"""A core of `make ecosystem`: packages from PyPI beside the wheel named `celery`, and the same programs on stock."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interop.ecosystem.test_flower import Flower, until
from interop.ecosystem.test_flower import run as send
from interop.ecosystem.test_packages import run
from tests.environments import environment
from tests.house import ROOT
from tests.servers import RedisServer, free_port
from tests.worker.running import Project

pytestmark = pytest.mark.real
PACKAGES = ("celery-once==3.0.1", "sentry-sdk==2.75.0")
OURS_ALONE = ("flower==2.2.0",)


def programs(*, shim: bool) -> tuple[Path, dict[str, str]]:
    """Where they are, and what is to be said in the environment."""
    packages = (*PACKAGES, *(OURS_ALONE if shim else ()))
    folder = environment(f"core-{'celeriac' if shim else 'stock'}", packages, shim=shim)
    return folder, {"PYTHONPATH": str(ROOT / ".dev")} if shim else {}


@pytest.mark.parametrize("side", ["stock", "celeriac"])
@pytest.mark.parametrize("program", ["once", "sentry"])
def test_it_works_on_both(side: str, program: str, redis_server: RedisServer, tmp_path: Path) -> None:
    shim = side == "celeriac"
    folder, variables = programs(shim=shim)
    try:
        run(folder, variables, redis_server, tmp_path, program, "prefork")
    except AssertionError:
        if shim:
            raise
        pytest.xfail("stock Celery's figure")


@contextmanager
def flower(project: Project) -> Iterator[Flower]:
    folder, variables = programs(shim=True)
    port = free_port()
    log = project.folder / "flower.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(folder / "celery"), "-A", "proj", "flower", f"--port={port}", "--address=127.0.0.1"],
            cwd=project.folder,
            env={**project.environment, **variables, "FLOWER_UNAUTHENTICATED_API": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Flower(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(10)
    assert "Traceback" not in log.read_text(), log.read_text()


def test_flower_watches_and_steers_a_worker(redis_server: RedisServer, tmp_path: Path, stock_python: Path) -> None:
    """Its dashboard, a task's page and what is asked of a worker; all of it, and in a Chromium: `make ecosystem`."""
    redis_server.call("FLUSHALL")
    url = redis_server.url
    project = Project(tmp_path, url, url.replace("/0", "/1"), stock_python)
    with project.worker("-E", "-c", "2", pool="prefork"), flower(project) as page:
        until(lambda: {"nodes": list(page.get("/api/workers", refresh=1))}, {"nodes": ["w1@here"]}, (OSError,))
        assert "w1@here" in page.get("/workers")
        uuid = send(page, "add", 2, 3)
        task = page.task(uuid, state="SUCCESS")
        assert (task["name"], task["result"], task["worker"]) == ("proj.add", "5", "w1@here")
        assert "proj.add" in page.get(f"/task/{uuid}")
        napping = send(page, "nap", 60)
        page.task(napping, state="STARTED")
        page.post(f"/api/task/revoke/{napping}", terminate="true", signal="SIGTERM")
        page.task(napping, state="REVOKED")
        limited = page.post("/api/task/rate-limit/proj.add", workername="w1@here", ratelimit="200/m")
        assert limited["message"] == "new rate limit set successfully"
    redis_server.call("FLUSHALL")

"""A core of `make ecosystem`: packages from PyPI beside the wheel named `celery`, and the same programs on stock."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.ecosystem.test_packages import run
from tests.environments import environment
from tests.house import ROOT
from tests.servers import RedisServer

pytestmark = pytest.mark.real
PACKAGES = ("celery-once==3.0.1", "sentry-sdk==2.75.0")


@pytest.mark.parametrize("side", ["stock", "celeriac"])
@pytest.mark.parametrize("program", ["once", "sentry"])
def test_it_works_on_both(side: str, program: str, redis_server: RedisServer, tmp_path: Path) -> None:
    shim = side == "celeriac"
    programs = environment(f"core-{side}", PACKAGES, shim=shim)
    variables = {"PYTHONPATH": str(ROOT / ".dev")} if shim else {}
    try:
        run(programs, variables, redis_server, tmp_path, program, "prefork")
    except AssertionError:
        if shim:
            raise
        pytest.xfail("stock Celery's figure")

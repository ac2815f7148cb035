"""gevent and eventlet through the suite of pools, each in a process of its own that is patched first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import sys
library = sys.argv[1]
if library == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import eventlet
    eventlet.monkey_patch()
import pytest
sys.exit(pytest.main([
    "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-W", "ignore", "-o", "addopts=",
    "--rootdir", sys.argv[2], f"{sys.argv[2]}/tests/worker/pools/greenlet_suite.py", "-k", library,
]))
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_the_suite_of_pools_on(library: str) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", SUITE, library, str(root)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout


def test_a_missing_library_is_named() -> None:
    program = "import sys; sys.modules['gevent'] = None\nfrom celeriac.worker.pools.greenlets import Greenlets\nGreenlets(None, 1, 'gevent')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'celeriac[gevent]'" in done.stderr


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_coroutines_of_greenlets_run_side_by_side(library: str) -> None:
    """In one loop ashore, which no other code of the greenlets' thread finds itself within."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("ashore_scene.py")), library],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == {
        "together": list(range(10)),
        "fails": "KeyError",
        "soft": ["Soft", "waits", "ended"],
        "caught": ["caught", "waits", "ended"],
        "given up": ["GivenUp", "waits", "ended"],
        "within": 5,
        "here": "RuntimeError",
        "threads": [1, 2, 3, 4, 5],
        "left": 1,
    }, done.stderr

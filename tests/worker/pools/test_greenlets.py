"""gevent and eventlet through the suite of pools, each in a process of its own that is patched first."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
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
    if find_spec(library) is None:  # not imported here: eventlet warns of every fork of whoever has loaded it
        pytest.skip(f"{library} is not installed")
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

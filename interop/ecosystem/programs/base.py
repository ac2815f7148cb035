"""What all programs here begin with: an app on the Redis of the test, and a worker.

Law: the worker is a process of its own that runs the same program as far as `with worker()`, as users start it: what a
package patches or starts, it does where it would at work.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from celery import Celery

URL = os.environ["REDIS_URL"]
POOL = sys.argv[1]
LOG = Path(sys.argv[2])
WORKS = "--as-worker" in sys.argv
NODE = "w@here"

app = Celery("proj", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.worker_prefetch_multiplier = 0


@contextmanager
def worker(*options, concurrency=2):
    """In the worker's process it is the worker, and nothing after it is reached."""
    options = ("-P", POOL, "-c", str(concurrency), "-l", "WARNING", "-n", NODE, *options)
    if WORKS:
        app.worker_main(["worker", *options])
        sys.exit()
    with Path("worker.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, *sys.argv, "--as-worker"], stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or app.control.ping(timeout=0.5, destination=[NODE]), 40)
        assert process.poll() is None, Path("worker.log").read_text(encoding="utf-8")
        yield
    except BaseException:
        print(Path("worker.log").read_text(encoding="utf-8"), file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(30)


def write(what):
    """From whatever process, for `written`."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(json.dumps(what, default=str) + "\n")


def written():
    if not LOG.exists():
        return []
    with LOG.open(encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def free_port():
    """Of this machine, for a server that is started next."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def page(url):
    """What is served there; nothing while nobody serves."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.read().decode()
    except OSError:
        return ""


def fails(result, kind):
    try:
        result.get(timeout=20)
    except kind:
        return True
    return False


__all__ = (
    "LOG",
    "NODE",
    "POOL",
    "URL",
    "WORKS",
    "app",
    "fails",
    "free_port",
    "page",
    "until",
    "worker",
    "write",
    "written",
)

"""`make demo`: a worker on a broker that starts by itself, and what one asks of it in the first minute."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import celeriac

celeriac.install()  # from here on `import celery` is celeriac

HERE = Path(__file__).parent
LONG = 30


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DEMO_STORE"] = f"embedded://{folder}/store"
        worker = start_worker(Path(folder) / "worker.log")
        try:
            show()
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(LONG)
        print("\nWhat the worker wrote, in part:\n")
        for line in (Path(folder) / "worker.log").read_text().splitlines()[-8:]:
            print(f"  {line[:150]}")
    print(
        "\nNext: write such a tasks.py with broker='redis://...' or 'amqp://...', and run"
        "\n  celeriac -A tasks worker -l info\nA running Celery deployment is joined the same way: docs/migrating.md"
    )


def start_worker(log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celeriac", "-A", "tasks", "worker", "-c", "2", "-l", "info"]
    print(f"A worker, with the broker that it starts: celeriac {' '.join(command[3:])}\n")
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=HERE, stdout=out, stderr=subprocess.STDOUT)  # noqa: S603 - ourselves


def show() -> None:
    sys.path.insert(0, str(HERE))
    from celery import chain, chord, group
    from tasks import add, broken, late, nap, stubborn, total

    began = time.monotonic()
    say("add.delay(2, 2)", add.delay(2, 2).get(timeout=LONG))
    say("a chain: (4 + 4) + 8", chain(add.s(4, 4), add.s(8))().get(timeout=LONG))
    say("a chord: the sum of ten sums", chord((add.s(i, i) for i in range(10)), total.s())().get(timeout=LONG))
    say("a retry, twice", stubborn.delay(2).get(timeout=LONG))
    say("an ETA: one second later", f"{late.apply_async((time.time(),), countdown=1).get(timeout=LONG)} s")
    say("an `async def` task", nap.delay(0.1).get(timeout=LONG))
    try:
        broken.delay().get(timeout=LONG)
    except ValueError as problem:
        say("a failure arrives as what it was", repr(problem))
    count = 1000
    before = time.monotonic()
    numbers = group(add.s(i, i) for i in range(count))().get(timeout=LONG)
    say(f"a group of {count}", f"{len(numbers)} results, sent, run and collected in {time.monotonic() - before:.2f} s")
    print(f"\n  all of it in {time.monotonic() - began:.1f} s, with the worker's start")


def say(what: str, came: object) -> None:
    print(f"  {what:34} -> {came}", flush=True)


if __name__ == "__main__":
    main()

"""`make demo`: a worker on a broker that starts by itself, what one asks of it in a first minute, what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import celeriac
from celeriac.protocol.errors import BadCall
from celeriac.worker.brokers import embedded

if TYPE_CHECKING:
    from celeriac.compat.bin.top import Watch

celeriac.install()  # from here on `import celery` is celeriac

HERE = Path(__file__).parent
LONG = 30
WIDTH = 130
SHOWN = threading.Event()
"""Whether the lines of the worker are printed as they come."""


def main() -> None:
    try:
        embedded.program()
    except BadCall as problem:
        sys.exit(f"The demo starts a broker of its own: {problem}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DEMO_STORE"] = f"embedded://{folder}/store"
        worker = start_worker()
        try:
            show()
        finally:
            SHOWN.set()
            worker.send_signal(signal.SIGTERM)
            worker.wait(LONG)
    go_on()


def start_worker() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "celeriac", "-A", "tasks", "worker", "-c", "2", "-E", "-l", "info"]
    print(f"A worker, with the broker that it starts: celeriac {' '.join(command[3:])}\n", flush=True)
    worker = subprocess.Popen(command, cwd=HERE, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603 - ourselves
    SHOWN.set()
    threading.Thread(target=copy, args=(worker,), daemon=True).start()
    return worker


def copy(worker: subprocess.Popen[str]) -> None:
    """What the worker writes, live; all of it is read, or it would wait for us."""
    for line in map(str.rstrip, worker.stdout or ()):
        if line and (SHOWN.is_set() or "Task tasks.add[" not in line):
            tell(f"    worker | {line if len(line) <= WIDTH else line[: WIDTH - 1] + '…'}")


def show() -> None:
    sys.path.insert(0, str(HERE))
    from celery import chain, chord, group
    from tasks import add, app, broken, late, nap, stubborn, total

    from celeriac.compat.bin.top import Watch

    watch = Watch(app, interval=1)
    watch.start()  # what `celeriac top` does: it hears the events of workers
    began = time.monotonic()
    say("add.delay(2, 2)", add.delay(2, 2).get(timeout=LONG))
    say("a chain: (4 + 4) + 8", chain(add.s(4, 4), add.s(8))().get(timeout=LONG))
    say("a chord: the sum of three sums", chord((add.s(i, i) for i in range(3)), total.s())().get(timeout=LONG))
    SHOWN.clear()  # two thousand lines are too many; from here on other tasks are shown
    count = 1000
    before = time.monotonic()
    numbers = group(add.s(i, i) for i in range(count))().get(timeout=LONG)
    say(f"a group of {count}", f"{len(numbers)} results, sent, run and collected in {time.monotonic() - before:.2f} s")
    say("a retry, twice", stubborn.delay(2).get(timeout=LONG))
    say("an ETA: one second later", f"{late.apply_async((time.time(),), countdown=1).get(timeout=LONG)} s")
    say("an `async def` task", nap.delay(0.1).get(timeout=LONG))
    try:
        broken.delay().get(timeout=LONG)
    except ValueError as problem:
        say("a failure arrives as what it was", repr(problem))
    print(f"\n  all of it in {time.monotonic() - began:.1f} s, with the worker's start\n", flush=True)
    overview(watch)
    watch.stop()


def overview(watch: Watch) -> None:
    """The pages of `celeriac top`, once."""
    from celeriac.compat.bin import top_screen as screen

    end = time.monotonic() + 5
    while not watch.view().pages["failures"] and time.monotonic() < end:
        time.sleep(0.1)  # the last events are on their way
    watch.look()
    print("What `celeriac top` shows now, a page each (it is live, and one can revoke, retry and pause in it):\n")
    for page in ("workers", "queues", "failures", "tasks"):
        lines = [text for _, text in screen.lines(watch.view(), screen.Look(page=page), WIDTH, 40)[:-2] if text.strip()]
        kept = 6 if page == "tasks" else 10
        print("\n".join(f"  {text.rstrip()}" for text in lines[:kept]), end="\n\n", flush=True)


def go_on() -> None:
    program = Path(sys.executable).with_name("celeriac")
    name = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    print(
        "\nYour turn, with the same tasks (examples/demo/tasks.py), each in a terminal of its own:\n"
        f"  {name} --workdir examples/demo -A tasks worker -E -l info\n"
        f"  {name} --workdir examples/demo -A tasks call tasks.add --args '[2, 2]'\n"
        f"  {name} --workdir examples/demo -A tasks top\n"
        "Then docs/tutorial.md: from here to Redis and RabbitMQ, and to a worker in the place of a running Celery's."
    )


def say(what: str, came: object) -> None:
    tell(f"  {what:34} -> {came}")


def tell(line: str) -> None:
    """In one piece: two threads print."""
    print(line + "\n", end="", flush=True)


if __name__ == "__main__":
    main()

"""`make bench`: everything that PERFORMANCE asks for, side by side, and docs/benchmarks.md from it.

    python benchmarks/bench.py [--quick] [--out docs/benchmarks.md] [PART ...]

Parts: enqueue, drain, more, rivals, wire. Real Celery 5.7.0 and celeriac serve the same app file, in turns, A B B A, on
servers that are started here; huey, dramatiq and taskiq send and drain the same task. Each drain is checked (count,
empty queue, nothing unacknowledged, one result each), and one run in each row proves that each task ran once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bench_page
import broker as wire
import drain
import enqueue
import rivals
import store
import workloads
from bench_page import Figures

from celeriac.worker import brokers
from tests import servers

ROOT = Path(__file__).resolve().parents[1]
BOTH = ["ours", "stock"]
FULL = {"tasks": 4000, "turns": 2, "messages": 2000, "chord": 1000, "later": 10_000}
QUICK = {"tasks": 600, "turns": 1, "messages": 400, "chord": 200, "later": 1000}


def enqueued(given: Namespace, figures: Figures) -> None:
    for transport in ("redis", "amqp"):
        with servers.redis_server() if transport == "redis" else servers.rabbitmq_server() as server:
            asked = brokers.connect(server.url)
            taken = enqueue.race(transport, server.url, asked.size, given.messages, given.turns * 2)
            asked.close()
        enqueue.show(transport, taken)
        for (row, kind), found in taken.items():
            figures.add(f"{transport} {row}", kind, "cpu", found)


def drained(given: Namespace, figures: Figures) -> None:
    _raced(drain.ROWS, given, figures, BOTH)


def further(given: Namespace, figures: Figures) -> None:
    _raced(workloads.ROWS, given, figures, BOTH)
    _raced(workloads.OURS, given, figures, ["ours"])


def _raced(rows: dict[str, drain.Row], given: Namespace, figures: Figures, kinds: list[str]) -> None:
    with servers.redis_server() as redis:
        for name, row in rows.items():
            for kind, found in drain.race(row, given, redis, kinds).items():
                for what, values in found.items():
                    figures.add(name, kind, what, values)
                print(name, kind, {what: drain.said(values) for what, values in found.items()}, flush=True)


def rivalled(given: Namespace, figures: Figures) -> None:
    with servers.redis_server() as server:
        races = [rivals.Race(each, server) for each in rivals.RIVALS]
        for race in races:
            rivals.install(race.rival)
        for turn in range(given.turns):
            for race in races if turn % 2 == 0 else races[::-1]:
                name = f"{race.rival.name} {race.rival.version}"
                figures.add("rivals enqueue", name, "cpu", [race.enqueue(given.messages)])
                for what, value in race.drain(given.tasks).items():
                    figures.add("rivals drain", name, what, [value])
        for race in races:
            race.prove_once()
            print(race.rival.name, "ran each task once", flush=True)


def wired(given: Namespace, figures: Figures) -> None:
    """The brokers and stores alone, beside kombu, redis-py and py-amqp."""
    for title, taken in (
        ("Redis", wire.on_redis(given.messages, given.turns * 2)),
        ("RabbitMQ", wire.on_amqp(given.messages, given.turns * 2)),
        ("results", store.compare(given.messages, given.turns * 2)),
    ):
        for (row, name), found in taken.client.items():
            figures.add(f"{title}: {row}", name, "wire", found)


PARTS: dict[str, Callable[[Namespace, Figures], None]] = {
    "enqueue": enqueued,
    "drain": drained,
    "more": further,
    "rivals": rivalled,
    "wire": wired,
}


def conditions(given: Namespace) -> dict[str, Any]:
    def version(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
        return (done.stdout or done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else "?"

    rabbit = next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"), Path("rabbitmq_server-?")).name
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": version("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.system(),
        "redis": version("redis-server", "--version").partition("v=")[2].split(" ")[0],
        "rabbitmq": rabbit.partition("-")[2],
        "size": "quick"
        if given.quick
        else "full"
        if all(getattr(given, name) == FULL[name] for name in FULL)
        else "own",
        **{name: getattr(given, name) for name in FULL},
    }


PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes: that it works, and roughly what it says")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--json", type=Path, help="where all figures go as well")
    for name, value in FULL.items():
        parser.add_argument(f"--{name}", type=int, help=f"instead of {value}, or {QUICK[name]} with --quick")
    asked = parser.parse_args()
    sizes = QUICK if asked.quick else FULL
    given = Namespace(**{**sizes, **{name: value for name, value in vars(asked).items() if value is not None}})
    given.pool, given.concurrency = "prefork", 2
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    told, figures, began = conditions(given), Figures(), time.monotonic()
    for name in asked.parts or PARTS:
        print(f"--- {name}", flush=True)
        PARTS[name](given, figures)
        # After each part: what has been measured stays, if a later one fails.
        told.update(minutes=(time.monotonic() - began) / 60, load_after=os.getloadavg()[0])
        asked.out.write_text(bench_page.page(told, figures))
    print(f"written: {asked.out}")
    if asked.json:
        asked.json.write_text(json.dumps({**told, "figures": figures.data()}, indent=1) + "\n")


if __name__ == "__main__":
    main()

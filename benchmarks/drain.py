"""What it costs a worker to get a task done: stock Celery and celeriac, the same app file, in turns, A B B A.

    python benchmarks/drain.py [--tasks 4000] [--turns 2] [--pool prefork] [--concurrency 2] [ROW ...]

CPU (user + system) of the worker and all its children per task, in microseconds; the servers are started here. A
backlog is laid while the worker is stopped from taking (it is not started yet), so each figure holds a start as well:
the cost of starting with an empty queue is measured in the same turn and subtracted. After each drain the queue is
empty, nothing is unacknowledged, every result is there, and one run in each turn proves that each task ran once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STOCK = ROOT / ".peers" / "celery-5.7.0" / "bin" / "python"
TICK = os.sysconf("SC_CLK_TCK")
GOALS = {
    "redis": "15, never above 30",
    "redis-results": "20, never above 35",
    "amqp": "15, never above 25",
    "amqp-results": "18, never above 30",
    "redis-one": "80, never above 120",
    "redis-boot": "50 ms, never above 80",
    "redis-memory": "20 MB, never above 30",
}
BOOT = "import celeriac; celeriac.install(); "
SEND = """
import sys, os
{boot}
from bench_app import add, mark
from celery import group
if {path!r}:
    for i in range({tasks}): mark.delay({path!r}, i)
    print(0)
else:
    tasks = {tasks}
    print(' '.join(add.delay(i, i).id for i in range(tasks)))
"""
ONE = """
import sys, time
{boot}
from bench_app import add
waits = []
add.delay(1, 1).get(timeout=30)
for i in range({tasks}):
    began = time.perf_counter(); add.delay(i, i).get(timeout=30); waits.append(time.perf_counter() - began)
waits.sort(); print(waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.99)] * 1000)
"""


class Tree:
    """A process and its children, and what they have used."""

    def __init__(self, process: Any) -> None:  # whatever has a pid; to stop it, more
        self.process = process
        self._frozen: list[int] = []

    @classmethod
    def worker(cls, kind: str, env: dict[str, str], pool: str, concurrency: int, log: Any) -> Tree:
        python = [sys.executable, "-m", "celeriac"] if kind == "ours" else [str(STOCK), "-m", "celery"]
        command = [*python, "-A", "bench_app", "worker", "-c", str(concurrency), "-P", pool, "-l", "WARNING"]
        command += ["--without-mingle", "-n", f"{kind}@bench"]
        command += [] if "GOSSIP" in env else ["--without-gossip"]
        if "QUEUES" in env:
            command += ["-Q", env["QUEUES"]]
        if kind == "stock":
            env = {name: value for name, value in env.items() if name != "PYTHONPATH"}
        return cls(subprocess.Popen(command, env=env, cwd=HERE, stdout=log, stderr=subprocess.STDOUT))

    def pids(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:
            try:
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
        return found

    def cpu(self) -> float:
        """Seconds, by the scheduler's own count in nanoseconds."""
        total = 0.0
        for pid in self.pids():
            try:
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    total += int((thread / "schedstat").read_text().split()[0]) / 1e9
            except OSError:
                continue
        return total

    def freeze(self) -> None:
        """None of them runs on: a rival's children take for themselves."""
        self._frozen = self.pids()
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._frozen:
            os.kill(pid, signal.SIGCONT)

    def memory(self) -> float:
        """PSS in MB."""
        kib = 0
        for pid in self.pids():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return kib / 1024

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in self.pids()[::-1]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait()


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY"))}
    ours = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    return {**kept, **ours, **more, "PYTHONWARNINGS": "ignore"}


def client(program: str, env: dict[str, str], kind: str = "ours", **given: Any) -> str:
    """Ours, where sending is not what is measured: both workers get the same messages."""
    python, boot = (sys.executable, BOOT) if kind == "ours" else (str(STOCK), "")
    if kind == "stock":
        env = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", program.format(boot=boot, **given)],
        env=env, cwd=HERE, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout


@contextmanager
def working(kind: str, env: dict[str, str], given: Any) -> Iterator[Tree]:
    with tempfile.TemporaryFile("w+") as log:
        worker = Tree.worker(kind, env, given.pool, given.concurrency, log)
        try:
            yield worker
        finally:
            worker.stop()
            log.seek(0)
            text = log.read()
            if "Traceback" in text:
                print(kind, text[-1500:])


def wait_for(done: Callable[[], bool], what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not done after {seconds:g} s")
        time.sleep(0.02)


class Place:
    """A broker and where results go, and how one sees that all is done."""

    def __init__(self, url: str, redis: Any, broker: Any, *, results: bool) -> None:
        self.redis = redis
        self.broker = broker
        self.env = environment(BROKER=url, **({"RESULTS": f"redis://127.0.0.1:{redis.port}/1"} if results else {}))
        self.results = results

    def clear(self) -> None:
        self.broker.purge("celery")
        self.redis.call("FLUSHALL")

    def backlog(self) -> int:
        waiting: int = self.broker.size("celery")
        return waiting + (self.redis.call("HLEN", "unacked") if self.on_redis else 0)

    @property
    def on_redis(self) -> bool:
        return self.env["BROKER"].startswith("redis")

    def server_cpu(self) -> float:
        """Of the Redis that is broker, or store, or both."""
        found = dict(line.split(":", 1) for line in self.redis.call("INFO", "cpu").decode().splitlines() if ":" in line)
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])

    def stored(self) -> int:
        self.redis.call("SELECT", 1)
        count: int = self.redis.call("DBSIZE")
        self.redis.call("SELECT", 0)
        return count


def idle(worker: Tree, seconds: float = 1.5) -> float:
    """What it used until it had nothing more to do."""
    used = -1.0
    while (now := worker.cpu()) - used > 0.01:
        used = now
        time.sleep(seconds / 3)
    return used


def drain(kind: str, place: Place, given: Any) -> dict[str, float]:
    """A worker that is up and idle meets a backlog that arrives at once: it was parked under another name."""
    place.clear()
    with working(kind, place.env, given) as worker:
        idle(worker)
        client(SEND, place.env, tasks=200, path="")  # it has seen such tasks, and knows how quick they are
        wait_for(lambda: place.backlog() == 0, f"{kind} warms up")
        idle(worker)
        if place.results:
            place.redis.call("FLUSHALL")
        os.kill(worker.process.pid, signal.SIGSTOP)
        client(SEND, place.env, tasks=given.tasks, path="")
        before, began, served = worker.cpu(), time.monotonic(), place.server_cpu()
        os.kill(worker.process.pid, signal.SIGCONT)
        wait_for(lambda: place.backlog() == 0, f"{kind} drains")
        if place.results:
            wait_for(lambda: place.stored() >= given.tasks, f"{kind} stores")
            assert place.stored() == given.tasks, place.stored()
        wall = time.monotonic() - began
        used = idle(worker) - before
        served = place.server_cpu() - served
    figures = {"cpu": used / given.tasks * 1e6, "wall": wall / given.tasks * 1e6}
    if place.on_redis:
        figures["server"] = served / given.tasks * 1e6
    return figures


def prove_once(kind: str, place: Place, given: Any) -> None:
    place.clear()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/ledger"
        client(SEND, place.env, tasks=500, path=path)
        with working(kind, place.env, given):
            wait_for(lambda: place.backlog() == 0 and Path(path).exists(), f"{kind} proves")
            time.sleep(0.3)
        counts = Counter(map(int, Path(path).read_text().split()))
    assert counts == Counter(range(500)), {number: count for number, count in counts.items() if count != 1}


def one(kind: str, place: Place, given: Any) -> dict[str, float]:
    """One task at a time, with its result: what the worker uses, and how long its sender waits."""
    place.clear()
    count = min(given.tasks, 1000)
    with working(kind, place.env, given) as worker:
        idle(worker)
        client(ONE, place.env, tasks=20)  # each child has run its first task, which costs it imports and connections
        idle(worker)
        before = worker.cpu()
        median, worst = map(float, client(ONE, place.env, tasks=count).split())
        used = idle(worker) - before
    return {"cpu": used / count * 1e6, "p50 ms": median, "p99 ms": worst}


def boot(kind: str, place: Place, given: Any) -> dict[str, float]:
    """From the command to the first task done, and the memory of a worker that idles."""
    place.clear()
    client(SEND, place.env, tasks=1, path="")
    with working(kind, place.env, given) as worker:
        wait_for(lambda: place.backlog() == 0, f"{kind} boots", 60)
        used = worker.cpu()
        idle(worker)
        memory = worker.memory()
    return {"boot ms": used * 1000, "memory MB": memory}


Row = tuple[Callable[..., dict[str, float]], str, bool]
Taken = dict[str, dict[str, list[float]]]
ROWS: dict[str, Row] = {
    "redis": (drain, "redis", False),
    "redis-results": (drain, "redis", True),
    "amqp": (drain, "amqp", False),
    "amqp-results": (drain, "amqp", True),
    "redis-one": (one, "redis", True),
    "redis-boot": (boot, "redis", True),
}


def race(row: Row, given: Any, redis: Any, kinds: list[str]) -> Taken:
    """All turns of one row: by kind, what is measured and its figures."""
    from celeriac.worker import brokers
    from tests import servers

    run, transport, results = row
    taken: Taken = {kind: {} for kind in kinds}
    with servers.rabbitmq_server() if transport == "amqp" else servers.redis_server() as server:
        broker = brokers.connect(server.url)
        place = Place(server.url, redis if transport == "amqp" else server, broker, results=results)
        for turn in range(given.turns):
            for kind in kinds if turn % 2 == 0 else kinds[::-1]:
                for name, figure in run(kind, place, given).items():
                    taken[kind].setdefault(name, []).append(figure)
        if run is drain:
            for kind in kinds:
                prove_once(kind, place, given)
        broker.close()
    return taken


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests import servers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--tasks", type=int, default=4000)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--only", choices=["ours", "stock"])
    given = parser.parse_args()
    print(json.dumps({**vars(given), "python": sys.version.split()[0]}))
    kinds = [given.only] if given.only else ["ours", "stock"]
    with servers.redis_server() as redis:
        for row in given.rows or ROWS:
            taken = race(ROWS[row], given, redis, kinds)
            for kind in kinds:
                told = ", ".join(f"{name} {said(figures)}" for name, figures in taken[kind].items())
                goal = f"   goal {GOALS.get(row, '')}" if kind == "ours" else ""
                print(f"{row:14} {kind:6} {told}{goal}", flush=True)


def said(figures: list[float]) -> str:
    return f"{statistics.median(figures):.4g} ({min(figures):.4g}-{max(figures):.4g})"


if __name__ == "__main__":
    main()

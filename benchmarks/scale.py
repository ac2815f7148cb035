"""`make scale`: does a task cost the same when there is much of everything? Each row is the small case beside the big one.

    python benchmarks/scale.py [--quick] [--json FILE] [ROW ...]

CPU us per task of the worker with its children (and of the client, where that sends much), and Redis' own, on a Redis of
the run. `--quick` divides the big cases by 50. docs/scale.md quotes the table and explains what is not flat.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import drain
from drain import Place, client, idle, wait_for, working

from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue
from tests import servers

Figures = dict[str, float]
GIVEN = Namespace(pool="prefork", concurrency=2)
SAMPLE = 4000
FILL = """
{boot}
from bench_app import add
for start in range(0, {tasks}, 10000):
    add.starmap_async([(number, number) for number in range(start, min(start + 10000, {tasks}))])
"""
SPREAD = """
{boot}
from bench_app import add
for number in range({tasks}): add.apply_async((number, number), queue=f"q{{number % {queues}}}")
"""
CANVAS = """
import time
{boot}
from bench_app import add, total
from celery import chord, group
add.delay(1, 1).get(timeout=60)
before = time.process_time()
calls = (add.s(number, number) for number in range({tasks}))
found = chord(calls, total.s())().get(timeout=3000) if {chord} else sum(group(calls)().get(timeout=3000))
print(time.process_time() - before)
assert found == {tasks} * ({tasks} - 1), found
"""
PAYLOAD = """
import time
{boot}
from bench_app import echo
text = "x" * {size}
before = time.process_time()
for _ in range({tasks}): echo.delay(text)
print(time.process_time() - before)
"""


def backlog(place: Place, size: int) -> Figures:
    """A worker meets so many; what the first of them cost."""
    place.clear()
    with working("ours", place.env, GIVEN) as worker:
        client(FILL, place.env, tasks=200)
        wait_for(lambda: place.backlog() == 0, "warms up")
        idle(worker)
        os.kill(worker.process.pid, signal.SIGSTOP)
        client(FILL, place.env, tasks=size)
        before, served = worker.cpu(), place.server_cpu()
        os.kill(worker.process.pid, signal.SIGCONT)
        wait_for(lambda: place.broker.size("celery") <= max(size - SAMPLE, 0), "drains", 900)
        done = size - place.broker.size("celery")
        return _each(done, worker=worker.cpu() - before, redis=place.server_cpu() - served)


def etas(place: Place, size: int) -> Figures:
    """So many wait for their time, and the memory of the worker for each; then what others cost meanwhile."""
    place.clear()
    later = "\n{boot}\nfrom bench_app import add\nfor _ in range({tasks}): add.apply_async((1, 1), countdown=86400)\n"
    with working("ours", place.env, GIVEN) as worker:
        client(FILL, place.env, tasks=200)
        wait_for(lambda: place.backlog() == 0, "warms up")
        idle(worker)
        memory = worker.memory()
        client(later, place.env, tasks=size)
        wait_for(lambda: place.broker.size("celery") == 0, "takes them", 900)
        idle(worker)
        grown = worker.memory() - memory
        held = place.backlog()
        before, served = worker.cpu(), place.server_cpu()
        client(FILL, place.env, tasks=SAMPLE)
        wait_for(lambda: place.backlog() <= held, "drains meanwhile", 300)
        used = idle(worker) - before
    return {**_each(SAMPLE, worker=used, redis=place.server_cpu() - served), "KB each": max(grown, 0) * 1024 / size}


def queues(place: Place, size: int) -> Figures:
    """One worker for so many queues, the tasks spread over all; then what it uses when there is nothing."""
    place.clear()
    names = [f"q{number}" for number in range(size)]
    place.env = {**place.env, "QUEUES": ",".join(names)}
    with working("ours", place.env, GIVEN) as worker:

        def left() -> int:
            return sum(place.redis.call("LLEN", name) for name in names) + place.redis.call("HLEN", "unacked")

        client(SPREAD, place.env, tasks=400, queues=size)
        wait_for(lambda: left() == 0, "warms up")
        idle(worker)
        os.kill(worker.process.pid, signal.SIGSTOP)
        client(SPREAD, place.env, tasks=SAMPLE, queues=size)
        before, served = worker.cpu(), place.server_cpu()
        os.kill(worker.process.pid, signal.SIGCONT)
        wait_for(lambda: left() == 0, "drains")
        figures = _each(SAMPLE, worker=idle(worker) - before, redis=place.server_cpu() - served)
        before, began = worker.cpu(), time.monotonic()
        time.sleep(5)  # the time that is measured: it idles
        figures["idle % of a core"] = 100 * (worker.cpu() - before) / (time.monotonic() - began)
    place.env = {name: value for name, value in place.env.items() if name != "QUEUES"}
    return figures


def workers(place: Place, size: int) -> Figures:
    """So many that wait for the same queue: what each costs Redis. Simulated: the consuming connection of each alone."""
    place.clear()
    pids = [_waiters(place.env["BROKER"], min(100, size - start)) for start in range(0, size, 100)]
    try:
        wait_for(lambda: _info(place, "connected_clients") >= size, "connect", 300)
        time.sleep(10)  # what connecting still costs is not counted
        used, commands, began = place.server_cpu(), _info(place, "total_commands_processed"), time.monotonic()
        time.sleep(15)  # the time that is measured: they idle
        seconds = time.monotonic() - began
        return {
            "redis us a second, each": 1e6 * (place.server_cpu() - used) / seconds / size,
            "commands a second, each": (_info(place, "total_commands_processed") - commands) / seconds / size,
            "redis memory KB, each": _info(place, "used_memory") / 1024 / size,
        }
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def rabbits(_: Place, size: int) -> Figures:
    """The same on a RabbitMQ of its own: what each costs it, beyond what the node uses for itself."""
    with servers.rabbitmq_server() as server:
        node = drain.Tree(server)
        wait_for(lambda: _resting(node), "comes to rest", 60)
        alone, before = _a_second(node, 15), node.memory()
        pids = [_waiters(server.url, min(100, size - start)) for start in range(0, size, 100)]
        try:
            wait_for(lambda: _connections(server.port) >= size, "connect", 300)
            wait_for(lambda: _resting(node), "comes to rest", 120)
            spent = _a_second(node, 30) - alone  # they idle, each of them with a heartbeat or two
            return {"us a second, each": 1e6 * spent / size, "memory KB, each": (node.memory() - before) * 1024 / size}
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _resting(node: drain.Tree) -> bool:
    """Less than a tenth of a core for two seconds: what starting or connecting cost is over."""
    return _a_second(node, 2) < 0.1


def _a_second(node: drain.Tree, seconds: float) -> float:
    used, began = node.cpu(), time.monotonic()
    time.sleep(seconds)  # the time that is looked at
    return (node.cpu() - used) / (time.monotonic() - began)


def _connections(port: int) -> int:
    end, established = f":{port:04X}", "01"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[1].endswith(end) and fields[3] == established for fields in lines)


def gossip(place: Place, size: int) -> Figures:
    """A worker hears the heartbeats of so many others: what one costs it, and Redis. The others are simulated."""
    place.clear()
    place.env = {**place.env, "GOSSIP": "yes"}
    names = [f"worker{number}@far" for number in range(size)]
    beats = max(20_000 // size, 2)
    with working("ours", place.env, GIVEN) as worker:
        wait_for(lambda: place.redis.call("PUBSUB", "NUMPAT") > 0, "listens")
        for name in names:  # they come
            _beat(place, name)
        idle(worker)
        before, served = worker.cpu(), place.server_cpu()
        for _ in range(beats):
            for name in names:
                _beat(place, name)
        used = idle(worker) - before
    del place.env["GOSSIP"]
    return _each(beats * size, worker=used, redis=place.server_cpu() - served)


def _beat(place: Place, name: str) -> None:
    body = {
        "type": "worker-heartbeat", "hostname": name, "utcoffset": 0, "pid": 1, "clock": 1, "timestamp": time.time(),
        "freq": 600.0, "active": 0, "processed": 0, "loadavg": [0.1, 0.1, 0.1],
        "sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux",
    }  # fmt: skip
    message = Message(json.dumps(body).encode(), "application/json", "utf-8", {"hostname": name}, {})
    place.broker.send([Parcel(message, "worker.heartbeat", "celeryev", "fanout")])


def _waiters(url: str, count: int) -> int:
    pid = os.fork()
    if pid:
        return pid

    def wait() -> None:
        broker = brokers.connect(url, {}, 60)
        broker.listen([Queue("celery")], credit=4)
        while True:
            broker.take(4, 1)
            broker.tend(time.time())

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)


def _info(place: Place, name: str) -> int:
    found: bytes = place.redis.call("INFO", "all")
    return int(found.split(b"\n%b:" % name.encode())[1].split()[0])


def group(place: Place, size: int) -> Figures:
    return _canvas(place, size, chord=False)


def chord(place: Place, size: int) -> Figures:
    return _canvas(place, size, chord=True)


def _canvas(place: Place, size: int, *, chord: bool) -> Figures:
    place.clear()
    with working("ours", place.env, GIVEN) as worker:
        client(CANVAS, place.env, tasks=50, chord=chord)
        idle(worker)
        before, served, began = worker.cpu(), place.server_cpu(), time.monotonic()
        used = float(client(CANVAS, place.env, tasks=size, chord=chord))
        wall = time.monotonic() - began
        worked = idle(worker) - before
    return {**_each(size, worker=worked, client=used, redis=place.server_cpu() - served), "seconds": wall}


def payload(place: Place, size: int) -> Figures:
    """200 tasks with an argument of so many bytes."""
    place.clear()
    count = 200
    with working("ours", place.env, GIVEN) as worker:
        client(PAYLOAD, place.env, tasks=10, size=size)
        wait_for(lambda: place.backlog() == 0, "warms up")
        idle(worker)
        before, served = worker.cpu(), place.server_cpu()
        used = float(client(PAYLOAD, place.env, tasks=count, size=size))
        wait_for(lambda: place.backlog() == 0, "drains")
        worked = idle(worker) - before
    return _each(count, worker=worked, client=used, redis=place.server_cpu() - served)


def _each(count: int, **seconds: float) -> Figures:
    return {f"{name} us": spent / count * 1e6 for name, spent in seconds.items()}


ROWS: dict[str, tuple[Callable[[Place, int], Figures], int, int, bool]] = {
    "backlog": (backlog, SAMPLE, 1_000_000, False),
    "etas": (etas, 1000, 100_000, False),
    "queues": (queues, 1, 200, False),
    "workers": (workers, 100, 1000, False),
    "rabbits": (rabbits, 100, 1000, False),
    "gossip": (gossip, 10, 1000, False),
    "group": (group, 1000, 100_000, True),
    "chord": (chord, 1000, 100_000, True),
    "payload": (payload, 100, 1_000_000, False),
}
"""What is done, the small size, the big one, and whether results are kept."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument(
        "--quick", action="store_true", help="the big cases fifty times smaller, where they stay bigger"
    )
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    told: list[dict[str, Any]] = []
    print("| what | size | figures |\n| --- | --- | --- |")
    for name in asked.rows or ROWS:
        run, small, big, results = ROWS[name]
        for size in (small, max(big // 50, small * 2) if asked.quick else big):
            with servers.redis_server() as server:
                broker = brokers.connect(server.url)
                place = Place(server.url, server, broker, results=results)
                figures = run(place, size)
                broker.close()
            told.append({"row": name, "size": size, **figures})
            shown = ", ".join(f"{what} {value:.3g}" for what, value in figures.items())
            print(f"| {name} | {size:,} | {shown} |", flush=True)
    if asked.json:
        load = os.getloadavg()[0]
        asked.json.write_text(json.dumps({"load": load, "tick": drain.TICK, "rows": told}, indent=1) + "\n")


if __name__ == "__main__":
    main()

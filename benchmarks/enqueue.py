"""What it costs to send a task: `add.delay(2, 2)` of stock Celery and of celeriac, the same app, side by side.

    python benchmarks/enqueue.py [--messages 2000] [--turns 4] [--cores same|apart] [--without-stock] [redis] [amqp]

CPU of the client (user + system) per task, everything included; contenders are asked in turns, A B B A, on servers
that are started here. After each row the queue holds exactly what was sent. `-results` has a Redis result backend,
`-unsure` asks RabbitMQ for no confirms, which is stock's default and not ours: in all other rows both are asked to
confirm. `bare socket` sends ready-made bytes and reads the answer, one by one, with nothing else between: what no client
can go below here. `--cores` keeps servers and senders on one core, or on two: alone neither shows what the other costs.
`first` is a whole process: the interpreter, the import, the app and its first task. `bare` is an interpreter
that only ends.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__)
ROOT = HERE.resolve().parents[1]
STOCK = ROOT / ".peers" / "celery-5.7.0" / "bin" / "python"
GOALS = {
    ("redis", "one by one"): "15, never above 25",
    ("redis", "group of 100"): "6, never above 10",
    ("redis", "one group"): "6, never above 10",
    ("redis", "starmap"): "6, never above 10",
    ("amqp", "one by one"): "10, never above 20",
    ("amqp", "group of 100"): "10, never above 20",
    ("amqp", "one group"): "10, never above 20",
    ("amqp", "starmap"): "10, never above 20",
}


# --- in a contender's process


cpu = time.process_time  # user + system; os.times counts in hundredths of a second


def app_of(kind: str, url: str) -> Any:
    if kind.startswith("ours"):
        from celeriac.compat.alias import install

        install()
    from celery import Celery

    app = Celery("bench", broker=url, backend=os.environ.get("RESULTS") or None)
    app.conf.task_default_queue = f"q-{kind}"
    if url.startswith("amqp"):
        app.conf.broker_transport_options = {"confirm_publish": not kind.endswith("-unsure")}
    return app


def bare_socket(app: Any, task: Any, url: str) -> Callable[[int], None]:
    """On a connection of its own."""
    from celeriac.worker import brokers

    way = app.amqp.shortcuts.way(task, (2, 2), {}, {}, None)
    form = way.plan.form
    piece = form.kin(way.shown)("e1bd1b8e-8a5e-4d0e-9a0e-3c4d8a9b2f10", (2, 2), {}, None)
    broker = brokers.connect(url, {**app.conf.broker_transport_options})
    connection = broker._link._socket  # noqa: SLF001 - the very one that is measured
    answered = "confirm" in broker.can
    if url.startswith("amqp"):
        broker.send_filled(form, (piece,))  # opens the channel
        data = piece
    else:
        data = b"%b%d\r\n%b\r\n" % (form.before_piece, len(piece), piece)
        connection.sendall(data)
        connection.recv(4096)
    connection.setblocking(True)

    def run(count: int) -> None:
        for _ in range(count):
            connection.sendall(data)
            if answered:
                connection.recv(4096)

    return run


def contend(kind: str, url: str) -> None:
    core = os.environ.get("CORE")
    if core:
        os.sched_setaffinity(0, {int(core)})
    app = app_of(kind, url)

    @app.task(name="bench.add")
    def add(x: int, y: int) -> int:
        return x + y

    add.delay(2, 2)
    from celery import group

    group(add.s(2, 2) for _ in range(2)).apply_async()  # a first one loads what groups need

    def one_by_one(count: int) -> None:
        for _ in range(count):
            add.delay(2, 2)

    def groups(count: int) -> None:
        for _ in range(count // 100):
            group(add.s(2, 2) for _ in range(100)).apply_async()

    rows = {"one by one": one_by_one, "group of 100": groups}
    if kind.startswith("ours"):
        rows["one group"] = lambda count: group(add.s(2, 2) for _ in range(count)).apply_async()
        rows["starmap"] = lambda count: add.starmap_async((2, 2) for _ in range(count))
        rows["bare socket"] = bare_socket(app, add, url)
    print(json.dumps([*rows]), flush=True)
    for line in sys.stdin:
        row, count = line.rsplit(" ", 1)
        before = cpu()
        rows[row](int(count))
        print(cpu() - before, flush=True)


# --- in the process that asks


def command(kind: str, url: str) -> list[str]:
    python = sys.executable if kind.startswith("ours") else str(STOCK)
    return [python, "-W", "ignore", str(HERE), "--contender", kind, url]


def environment(**more: str) -> dict[str, str]:
    return {**{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY"))}, **more}


FIRST = """
from celery import Celery
app = Celery("bench", broker={url!r})
app.conf.task_default_queue = "first"
@app.task(name="bench.add")
def add(x: int, y: int) -> int:
    return x + y
add.delay(2, 2)
import time
print(time.process_time())
"""


def first(kind: str, url: str) -> float:
    """A program of its own: what this file imports is not to be counted."""
    alias = "from celeriac.compat.alias import install; install()\n" if kind == "ours" else ""
    python = command(kind, url)[0]
    program = alias + FIRST.format(url=url)
    done = subprocess.run(
        [python, "-W", "ignore", "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout) * 1000


def bare() -> float:
    done = subprocess.run(
        [sys.executable, "-c", "import time; print(time.process_time())"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout) * 1000


Taken = dict[tuple[str, str], list[float]]


def race(
    transport: str, url: str, size: Any, messages: int, turns: int, *, core: str = "", stock: bool = True
) -> Taken:
    """By row and kind: CPU us per task; `first` in ms."""
    kinds = ["ours", "stock"] + (["ours-results", "stock-results"] if transport == "redis" else ["ours-unsure"])
    kinds = [kind for kind in kinds if stock or not kind.startswith("stock")]
    processes, rows = {}, {}
    for kind in kinds:
        results = environment(CORE=core, **({"RESULTS": url} if kind.endswith("-results") else {}))
        processes[kind] = subprocess.Popen(
            command(kind, url), env=results, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        rows[kind] = json.loads(processes[kind].stdout.readline())
    taken: Taken = {}
    for turn in range(turns):
        for kind in kinds if turn % 2 == 0 else reversed(kinds):
            for row in rows[kind]:
                before = size(f"q-{kind}")
                process = processes[kind]
                process.stdin.write(f"{row} {messages}\n")
                process.stdin.flush()
                taken.setdefault((row, kind), []).append(float(process.stdout.readline()) / messages * 1e6)
                end = time.monotonic() + 30
                while (found := size(f"q-{kind}") - before) != messages and time.monotonic() < end:
                    time.sleep(0.05)
                assert found == messages, f"{kind}, {row}: {found} of {messages} arrived"
    for process in processes.values():
        process.stdin.close()
        process.wait(20)
    for kind in ("ours", "stock")[: 1 + stock]:
        taken["first", kind] = [first(kind, url) for _ in range(turns * 2)]
    return taken


def show(transport: str, taken: Taken) -> None:
    starts = {kind: taken.get(("first", kind)) for kind in ("ours", "stock")}
    print(f"\n{transport}: CPU us per task, median (lowest-highest)")
    for (row, kind), figures in sorted(taken.items()):
        if row == "first":
            continue
        other = taken.get((row, kind.replace("ours", "stock"))) or taken.get((row, "stock"))
        times = other and statistics.median(other) / statistics.median(figures)
        ratio = f"   stock is {times:.1f} x" if times and "ours" in kind else ""
        goal = f"   goal {GOALS[transport, row]}" if kind == "ours" and (transport, row) in GOALS else ""
        print(f"  {row:14}{kind:15}{said(figures)}{ratio}{goal}")
    whole = ", ".join(f"{kind} {said(figures)}" for kind, figures in starts.items() if figures)
    print(f"  first, ms: {whole}, bare {bare():.0f}   goal 30, 45")


def said(figures: list[float]) -> str:
    return f"{statistics.median(figures):7.1f} ({min(figures):.1f}-{max(figures):.1f})"


def main() -> None:
    if "--contender" in sys.argv:
        contend(*sys.argv[-2:])
        return
    sys.path.insert(0, str(ROOT))
    from celeriac.worker import brokers
    from tests import servers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("transports", nargs="*", default=["redis", "amqp"])
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--cores", choices=["same", "apart"])
    parser.add_argument("--without-stock", action="store_true")
    given = parser.parse_args()
    print(json.dumps({**vars(given), "python": sys.version.split()[0]}))
    core = {"same": "0", "apart": "1"}.get(given.cores, "")
    if core:
        os.sched_setaffinity(0, {0})  # the servers' as well
    for transport in given.transports:
        with servers.redis_server() if transport == "redis" else servers.rabbitmq_server() as server:
            broker = brokers.connect(server.url)
            shown = race(
                transport, server.url, broker.size, given.messages, given.turns,
                core=core, stock=not given.without_stock,
            )  # fmt: skip
            show(transport, shown)
            broker.close()


if __name__ == "__main__":
    main()

"""A worker under load for long: what it holds does not grow, each task is done, and nothing is left in the broker.

One in a hundred tasks fails and one in a hundred is tried again. `--soak` is how many; the full run is 1,000,000.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.wire.message import Posting, Task
from celeriac.protocol.wire.template import Particulars, Template
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue
from tests.faults import ground
from tests.faults.ground import Hurt

pytestmark = pytest.mark.real

TEMPLATE = Template.of(Task("hurt.soak", ""), Posting())
QUEUE = "soak"
SLICE = 1000
AHEAD = 5 * SLICE
WARM = 0.3
"""Of the way, until the measuring begins."""
PATIENCE = 60.0
"""Seconds without any progress."""
GROWTH_KIB = 4096
DESCRIPTORS = 3
"""So many more or less at an instant: what is being connected and closed."""


class Gauge:
    """Memory and descriptors of each process of a worker, at instants of its way."""

    def __init__(self, worker: Hurt) -> None:
        self.worker = worker
        self.seen: list[tuple[float, dict[str, tuple[int, int]]]] = []

    def look(self, way: float) -> None:
        pids = {"parent": self.worker.process.pid}
        pids |= {f"child {pid}": pid for pid in self.worker.children()}
        self.seen.append(
            (way, {name: (_memory(pid), len(list(Path(f"/proc/{pid}/fd").iterdir()))) for name, pid in pids.items()})
        )

    def ranges(self) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
        """Of each process that was there from the warm-up to the end: memory then and at its most, descriptors alike."""
        warm = [sizes for way, sizes in self.seen if way >= WARM]
        found = {}
        for name in set.intersection(*map(set, warm)):
            memory, descriptors = zip(*(sizes[name] for sizes in warm), strict=True)
            found[name] = ((memory[0], max(memory)), (descriptors[0], max(descriptors)))
        return found


def _memory(pid: int) -> int:
    """Resident, in KiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * (os.sysconf("SC_PAGE_SIZE") // 1024)


def _runs(ledger: Path) -> Counter[int]:
    return Counter(map(int, ledger.read_text().split())) if ledger.exists() else Counter()


def _lines(ledger: Path) -> int:
    return ledger.stat().st_size // 8 if ledger.exists() else 0


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_long_way(
    kind: str, soak: int, tmp_path: Path, redis_server: Any, request: pytest.FixtureRequest, figures: list[str]
) -> None:
    server = request.getfixturevalue("redis_server" if kind == "redis" else "rabbitmq_server")
    redis_server.call("FLUSHALL")
    ledger = tmp_path / "ledger"
    results = redis_server.url.replace("/0", "/5")
    with (
        ground.on(tmp_path, server.url, results, QUEUE, result_expires=20) as place,
        closing(brokers.connect(server.url, {}, 5)) as sender,
    ):
        sender.declare([Queue(QUEUE)])
        worker = place.start("--loglevel", "CRITICAL", "--without-heartbeat")
        gauge, began = Gauge(worker), time.monotonic()
        sent, looked, moved, before = 0, -1.0, time.monotonic(), 0
        expected = soak + sum(1 for number in range(soak) if number % 100 == 13)
        while before < expected:
            done = _lines(ledger)
            if done > before:
                before, moved = done, time.monotonic()
            assert time.monotonic() - moved < PATIENCE, f"{done} of {expected} runs\n{place.logs()}"
            assert worker.alive, place.logs()
            if sent < soak and sent - done < AHEAD:
                numbers = range(sent, min(sent + SLICE, soak))
                sender.send([Parcel(TEMPLATE.message(Particulars(f"soak-{n}", (n,))), QUEUE) for n in numbers])
                sent = numbers.stop
            elif done / expected > looked + 0.01:
                looked = done / expected
                gauge.look(looked)
            else:
                time.sleep(0.02)
        took = time.monotonic() - began
        assert ground.until(lambda: not sender.size(QUEUE), 10)
        if kind == "redis":
            assert ground.until(lambda: not _left(redis_server), 20), _left(redis_server)
        gauge.look(1.0)
        runs = _runs(ledger)
        ranges = gauge.ranges()
        figures.append(f"soak on {kind}: {soak} tasks in {took:.0f} s; (KiB, descriptors) warm and at most: {ranges}")
        assert set(runs) == set(range(soak))
        wrong = {number: times for number, times in runs.items() if times != (2 if number % 100 == 13 else 1)}
        assert not wrong
        assert len(ranges) == 4, "parent, witness and two children, the same all the way"
        for name, ((warm, most), (few, many)) in ranges.items():
            assert most - warm <= GROWTH_KIB, f"{name} grew from {warm} to {most} KiB"
            assert many - few <= DESCRIPTORS, f"{name} had {few} descriptors and has {many}"
        worker.send(ground.signal.SIGTERM)
        worker.leaves(10)
        assert not _left(redis_server)


def _left(server: Any) -> list[bytes]:
    """What is in the broker, but for what says that a worker is there and which queues there are."""
    return [key for key in server.call("KEYS", "*") if not key.startswith((b"_kombu.binding", b"celeriac"))]

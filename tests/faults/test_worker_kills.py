"""Whole workers killed at random instants, parent or child: nothing is lost, and what was acknowledged runs once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends
from celeriac.worker.pools.batching import MOST
from tests import servers
from tests.certificate import made

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
SEND = """
import random
from worker_app import work
chance = random.Random({seed})
for number in range({first}, {last}):
    work.apply_async((number, chance.choice([0, 0, 0, 0.001, 0.004, 0.02])), task_id=f"kill-{{number}}")
"""


class Fleet:
    """Workers that are started again when they are killed, and the ledger of what ran."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.env = {**env, "LEDGER": str(self.ledger)}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.orphans: set[int] = set()
        self.started = 0
        self.options: tuple[str, ...] = ()
        self.apart = False
        """Each worker is a group of processes of its own, which can be killed as one."""

    def start(self) -> subprocess.Popen[bytes]:
        self.started += 1
        log = (self.folder / f"worker-{self.started}.log").open("wb")
        command = [sys.executable, "-W", "ignore", "-m", "celeriac", "-A", "worker_app", "worker", "-c", "2"]
        command += [
            "-n",
            f"w{self.started}@killed",
            "--without-mingle",
            "--without-gossip",
            "-l",
            "INFO",
            *self.options,
        ]
        worker = subprocess.Popen(
            command, cwd=HERE, env=self.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=self.apart
        )
        log.close()
        self.workers.append(worker)
        return worker

    def send(self, first: int, last: int) -> None:
        program = SEND.format(seed=first, first=first, last=last)
        subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=HERE, env=self.env, check=True, timeout=60)

    def catch_at_work(self, first: int, last: int, chance: random.Random) -> None:
        """Sends these, and is back at some instant at which there is work: half of those before have begun at least."""
        self.send(first, last)
        self.until(lambda: sum(self.seen("start").values()) > first // 2, 30)
        time.sleep(chance.uniform(0, 0.3))  # some instant

    def children(self, worker: subprocess.Popen[bytes]) -> list[int]:
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]
        return []

    def seen(self, what: str) -> Counter[int]:
        if not self.ledger.exists():
            return Counter()
        whole, _, _ = self.ledger.read_text().rpartition("\n")  # the last line may be just being written
        lines = (line.split() for line in whole.splitlines())
        return Counter(int(number) for word, number in lines if word == what)

    def until(self, done: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def stop(self) -> None:
        for worker in self.workers:
            self.orphans.update(self.children(worker))
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            _end(worker)

    def logs(self, numbers: list[int]) -> str:
        """What the workers wrote of these tasks, and how each worker's log ends."""
        names = [f"[kill-{number}]" for number in numbers[:10]]
        told = []
        for path in sorted(self.folder.glob("worker-*.log"), key=lambda path: path.stat().st_mtime):
            lines = path.read_text().splitlines()
            found = [line for line in lines if any(name in line for name in names)]
            told += [path.name, *found, *(lines[-4:] if found else [])]
        return "\n".join(told)


def _worker_lost(found: Any) -> bool:
    return (
        isinstance(found, Result) and isinstance(found.result, Failure) and found.result.exc_type == "WorkerLostError"
    )


def _end(worker: subprocess.Popen[bytes]) -> None:
    try:
        worker.wait(20)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


@pytest.fixture
def fleet_on(tmp_path: Path, redis_server: servers.RedisServer) -> Iterator[Callable[..., Fleet]]:
    """All send tasks of the same names: a result that an earlier fleet stored would be taken for this one's."""
    redis_server.call("FLUSHALL")
    fleets: list[Fleet] = []

    def make(**env: str) -> Fleet:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CELERY", "PYTHON")) or name == "PYTHONPATH"
        }
        fleets.append(Fleet({**kept, **env}, tmp_path))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.stop()


@pytest.fixture
def tls_url(tmp_path: Path) -> Iterator[str]:
    """A Redis that speaks TLS."""
    pem, port = made(tmp_path, "DNS:localhost"), servers.free_port()
    files = [part for what in ("cert", "key", "ca-cert") for part in (f"--tls-{what}-file", str(pem))]
    with servers.redis_server("--tls-port", str(port), "--tls-auth-clients", "no", *files):
        yield f"rediss://localhost:{port}/0?ssl_ca_certs={pem}"


@pytest.mark.parametrize(
    ("broker", "acks"),
    [
        ("redis", "early"),
        ("redis", "late"),
        ("amqp", "early"),
        ("amqp", "late"),
        *(("rediss", "early"), ("spawn", "early")),
    ],
)
def test_nothing_is_lost_when_workers_are_killed(
    broker: str,
    acks: str,
    fleet_on: Callable[..., Fleet],
    request: pytest.FixtureRequest,
    worker_kills: int,
    figures: list[str],
) -> None:
    results = request.getfixturevalue("redis_server").url
    url = request.getfixturevalue("tls_url") if broker == "rediss" else results
    if broker == "amqp":
        url = request.getfixturevalue("rabbitmq_server").url
    count = worker_kills
    chance = random.Random(f"{broker}{acks}")
    fleet = fleet_on(BROKER=url, ACKS=acks, QUEUE=f"kills-{acks}", RESULTS=results)
    fleet.options = ("--pool-start-method", "spawn") if broker == "spawn" else ()
    fleet.start()
    each = 150
    for kill in range(count):
        fleet.catch_at_work(kill * each, (kill + 1) * each, chance)
        worker = fleet.workers[-1]
        children = fleet.children(worker)
        if kill % 2 and children:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)
        else:
            worker.kill()
            worker.wait()
            fleet.start()
    total = count * each
    store = backends.connect(results)

    def missing() -> list[int]:
        """Neither begun nor told of: a child may be killed as it begins, before the task has written its line."""
        unseen = sorted(set(range(total)) - set(fleet.seen("start")))
        told = store.fetch_many([f"kill-{number}" for number in unseen])
        return [number for number in unseen if not _worker_lost(told.get(f"kill-{number}"))]

    cut_short = 2 * count if acks == "early" else 0  # late: what was cut short comes again
    done, ended = False, -1
    while not done and len(fleet.seen("end")) > ended:
        ended = len(fleet.seen("end"))
        done = fleet.until(lambda: not missing() and len(fleet.seen("end")) >= total - cut_short, 30)
    starts, ends, lost = fleet.seen("start"), fleet.seen("end"), missing()
    store.close()
    twice = {number: times for number, times in starts.items() if times > 1}
    figures.append(
        f"workers killed on {broker}, {acks} acks: {total} tasks, {count} kills, {len(lost)} lost, {len(twice)} started again, "
        f"{len(set(starts) - set(ends))} cut short"
    )
    if acks == "early":
        assert not lost, f"lost {lost[:20]}\n{fleet.logs(lost)}"
        assert not twice, twice
    else:
        assert done, f"lost {lost[:20]}\n{fleet.logs(lost)}"
        assert set(ends) == set(range(total))


@pytest.mark.parametrize("acks", ["early", "late"])
@pytest.mark.parametrize("broker", ["redis", "amqp"])
def test_what_is_lost_when_all_processes_of_a_worker_are_killed_at_once(
    broker: str,
    acks: str,
    fleet_on: Callable[..., Fleet],
    request: pytest.FixtureRequest,
    worker_kills: int,
    figures: list[str],
) -> None:
    """As with a container. Late acknowledgements: nothing. Early: what was acknowledged and had not begun, and nothing
    is run twice."""
    server = request.getfixturevalue("redis_server" if broker == "redis" else "rabbitmq_server")
    count, each = worker_kills // 2, 150
    chance = random.Random(f"whole{broker}{acks}")
    fleet = fleet_on(BROKER=server.url, ACKS=acks, QUEUE=f"whole-{acks}")
    fleet.apart = True
    for kill in range(count):
        worker = fleet.start()
        fleet.catch_at_work(kill * each, (kill + 1) * each, chance)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    fleet.start()
    total, begun = count * each, -1
    patience = 25 if acks == "late" else 8  # what is lost never comes: nothing new for so long is the end
    while len(fleet.seen("start")) > begun:
        begun = len(fleet.seen("start"))
        fleet.until(lambda: len(fleet.seen("end")) == total, patience)
    starts, ends = fleet.seen("start"), fleet.seen("end")
    lost = total - len(starts)
    twice = sum(times > 1 for times in starts.values())
    figures.append(
        f"whole workers killed on {broker}, {acks} acks: {total} tasks, {count} kills, {lost} lost that had not begun, "
        f"{len(set(starts) - set(ends))} cut short, {twice} started again"
    )
    if acks == "late":
        assert set(ends) == set(range(total))
    else:
        assert not twice
        assert lost <= count * MOST * 2 * 2, "two batches for each of two children"

"""`python -m interop.rolling [--tasks N]`: a queue is served while its workers are replaced one by one, by kill -9.

Stock is replaced by celeriac and celeriac by stock again, on Redis and on RabbitMQ; each task writes its number into a
ledger. Law: what celeriac held when it was killed comes back, all of it. Stock kombu on Redis loses what it holds in
its own memory at that instant (celery#4354): a number that is missing at the end must have gone with a kill of stock.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from interop.brokers import Broker, Servers
from interop.peers import CELERIAC, CELERY_57, OURS, STOCK, Peer
from interop.processes import STOP, PeerFailed, Producer, Worker, stop_all

SLOTS = 2
STEPS = ((0, CELERIAC), (1, CELERIAC), (0, CELERY_57), (1, CELERY_57), (0, CELERIAC), (1, CELERIAC))
PATIENCE = 120.0
VISIBLE = 5  # seconds until what a dead worker held is given to another
SETTINGS = {
    "broker_transport_options": {"visibility_timeout": VISIBLE, "unacked_mutex_expire": VISIBLE},
    "worker_prefetch_multiplier": 4,
}


class Unbalanced(Exception):
    """The ledger does not add up."""


class Roll:
    """Two workers at one queue, and the ledger of what they did."""

    def __init__(self, broker: Broker, folder: Path, count: int) -> None:
        self.broker = replace(broker, settings={**broker.settings, **SETTINGS})
        self.folder = folder
        self.count = count
        self.workers: dict[int, Worker] = {}
        self.kinds: dict[int, str] = {}
        self.kills: Counter[str] = Counter()
        self.lost_at: Counter[str] = Counter()
        self.started = 0

    def start(self, slot: int, peer: Peer) -> None:
        self.started += 1
        log = self.folder / f"worker{self.started}"
        name = f"w{self.started}@interop"
        self.workers[slot] = Worker(peer, self.broker.variables(peer, "celery", {}), log, name).wait()
        self.kinds[slot] = peer.name

    def kill(self, slot: int) -> None:
        self.workers.pop(slot).kill()
        self.kills[self.kinds[slot]] += 1

    def done(self) -> list[int]:
        store = self.broker.store
        assert store
        return [int(each) for each in store.call("LRANGE", "interop-ledger", 0, -1)]

    def size(self) -> int:
        store = self.broker.store
        assert store
        size: int = store.call("LLEN", "interop-ledger")
        return size

    def send(self) -> None:
        variables = self.broker.variables(CELERIAC, "celery", {})
        sender = Producer(CELERIAC, variables, self.folder / "sender").wait()
        try:
            sender.ask({"op": "many", "task": "interop.roll", "count": self.count, "timeout": 60})
        finally:
            sender.stop()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop()


@contextmanager
def rolling(broker: Broker, count: int) -> Iterator[Roll]:
    broker.sweep()
    with tempfile.TemporaryDirectory(prefix="celeriac-rolling-") as folder:
        made = Roll(broker, Path(folder), count)
        try:
            yield made
        finally:
            made.close()


def until(look: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not look():
        if STOP.is_set():
            raise PeerFailed("the run was stopped")
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def roll(broker: Broker, count: int) -> str:
    """Serve `count` tasks under replacement; what became of them, in a line."""
    began = time.monotonic()
    with rolling(broker, count) as ours:
        for slot in range(SLOTS):
            ours.start(slot, CELERY_57)
        ours.send()
        for number, (slot, peer) in enumerate(STEPS, 1):
            mark = count * number // (len(STEPS) + 1)
            if not until(lambda mark=mark: ours.size() >= mark):  # type: ignore[misc] # bound to this round
                raise Unbalanced(f"{broker.title}: stuck at {ours.size()} of {count} before step {number}")
            ours.kill(slot)
            ours.start(slot, peer)
        everything = set(range(count))
        until(lambda: set(ours.done()) == everything, 6 * VISIBLE)
        return balance(broker, ours, time.monotonic() - began)


def balance(broker: Broker, ours: Roll, seconds: float) -> str:
    times = Counter(ours.done())
    lost = set(range(ours.count)) - times.keys()
    twice = sum(1 for count in times.values() if count > 1)
    kills = ", ".join(f"{kind} killed {count} times" for kind, count in sorted(ours.kills.items()))
    said = f"{broker.title}: {ours.count} tasks, {kills}: lost {len(lost)}, run twice {twice} ({seconds:.0f} s)"
    allowed = 2 * ours.kills[STOCK] if broker.name == "redis" else 0
    if len(lost) > allowed:
        raise Unbalanced(f"{said}; missing {sorted(lost)[:20]}")
    # Each kill may repeat what was done and not yet acknowledged: one task of a solo worker, a few late words of ours.
    if twice > ours.kills[STOCK] + 8 * ours.kills[OURS]:
        raise Unbalanced(f"{said}: more were run twice than kills allow")
    return said


def tried(broker: Broker, count: int) -> tuple[str, bool]:
    """What became of it, in a line, and whether the ledger adds up."""
    balanced = True
    try:
        said = roll(broker, count)
    except (Unbalanced, PeerFailed) as error:
        if STOP.is_set():
            raise
        said, balanced = f"UNBALANCED: {error}", False
    print(said, flush=True)
    return said, balanced


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.rolling", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--broker", action="append", choices=("redis", "rabbitmq", "quorum"))
    told = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: stop_all())
    with Servers() as here, suppress(PeerFailed):
        return min(1, sum(not tried(here.broker(name), told.tasks)[1] for name in told.broker or ("redis", "rabbitmq")))
    return 130


if __name__ == "__main__":
    sys.exit(main())

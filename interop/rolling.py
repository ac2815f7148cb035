"""`python -m interop.rolling [--tasks N]`: a queue is served while its workers are replaced one by one, by kill -9.

Stock is replaced by celeriac and celeriac by stock again, on Redis and on RabbitMQ; each task writes its number into a
ledger. Law: what celeriac held when it was killed comes back, all of it. Stock kombu on Redis loses what it holds in
its own memory alone at that instant (celery#4354): a number may be missing at the end only where Redis's own record
says that a stock worker popped it, noted it nowhere and was killed, and one for each such worker.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from interop.brokers import Broker, Servers
from interop.peers import CELERIAC, CELERY_57, OURS, STOCK, Peer
from interop.processes import STOP, PeerFailed, Producer, Worker, stop_all
from interop.rolling_record import Hands, Record, connections_of, listened

SLOTS = 2
STEPS = ((0, CELERIAC), (1, CELERIAC), (0, CELERY_57), (1, CELERY_57), (0, CELERIAC), (1, CELERIAC))
PATIENCE = 120.0
VISIBLE = 5  # seconds until what a dead worker held is given to another
REST = 3.0
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
        self.names: dict[int, str] = {}
        self.kills: Counter[str] = Counter()
        self.killed: dict[str, str] = {}  # the kind of each worker that was killed, by its name
        self.record = Record()
        self.started = 0
        self.busy_at = time.monotonic()

    def start(self, slot: int, peer: Peer) -> None:
        self.started += 1
        log = self.folder / f"worker{self.started}"
        name = f"w{self.started}@interop"
        self.workers[slot] = Worker(peer, self.broker.variables(peer, "celery", {}), log, name).wait()
        self.kinds[slot] = peer.name
        self.names[slot] = f"{peer.name} {name}"

    def kill(self, slot: int) -> None:
        worker = self.workers.pop(slot)
        self.record.ascribe(self.names[slot], connections_of(worker.process.pid))
        worker.kill()
        self.kills[self.kinds[slot]] += 1
        self.killed[self.names[slot]] = self.kinds[slot]

    def done(self) -> list[int]:
        store = self.broker.store
        assert store
        return [int(each) for each in store.call("LRANGE", "interop-ledger", 0, -1)]

    def size(self) -> int:
        store = self.broker.store
        assert store
        size: int = store.call("LLEN", "interop-ledger")
        return size

    def at_rest(self) -> bool:
        """On Redis nothing waits and nothing is held, for a while now: what is missing will not come."""
        store = self.broker.store
        assert store
        if self.broker.name != "redis" or store.call("LLEN", "celery") or store.call("HLEN", "unacked"):
            self.busy_at = time.monotonic()
        return time.monotonic() - self.busy_at > REST

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

    def hands(self) -> Mapping[int, Hands]:
        """Who had each message last; known on Redis alone, and needed there alone."""
        for slot, worker in self.workers.items():
            self.record.ascribe(self.names[slot], connections_of(worker.process.pid))
        return self.record.last_hands()


@contextmanager
def rolling(broker: Broker, count: int) -> Iterator[Roll]:
    broker.sweep()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-rolling-"))
        made = Roll(broker, Path(folder), count)
        if broker.name == "redis" and broker.store:
            made.record = stack.enter_context(listened(broker.store))
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
        until(lambda: set(ours.done()) == everything or ours.at_rest(), 6 * VISIBLE)
        return balance(broker, ours, time.monotonic() - began)


def balance(broker: Broker, ours: Roll, seconds: float) -> str:
    times = Counter(ours.done())
    lost = set(range(ours.count)) - times.keys()
    twice = sum(1 for count in times.values() if count > 1)
    kills = ", ".join(f"{kind} killed {count} times" for kind, count in sorted(ours.kills.items()))
    said = f"{broker.title}: {ours.count} tasks, {kills}: lost {len(lost)}, run twice {twice} ({seconds:.0f} s)"
    excused, others = explained(lost, ours.hands(), ours.killed)
    if others:
        raise Unbalanced(f"{said}; {'; '.join(others[:20])}")
    # Each kill may repeat what was done and not yet acknowledged: one task of a solo worker, a few late words of ours.
    if twice > ours.kills[STOCK] + 8 * ours.kills[OURS]:
        raise Unbalanced(f"{said}: more were run twice than kills allow")
    return "; ".join([said, *excused])


def explained(lost: set[int], hands: Mapping[int, Hands], killed: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Each loss with what became of it: those that stock kombu's own window accounts for, and the others."""
    excused, others = [], []
    dead = {name for name, kind in killed.items() if kind == STOCK}
    for number in sorted(lost):
        had = hands.get(number)
        if had and had.worker in dead and had.popped:
            dead.remove(had.worker)  # which held one message so, and no more
            excused.append(f"{number}: {had}, killed before it had noted it anywhere (celery#4354)")
        else:
            others.append(f"{number}: {had or 'no record of it'}")
    return excused, others


def tried(broker: Broker, count: int, say: Callable[[str], None] = print) -> tuple[str, bool]:
    """What became of it, in a line, and whether the ledger adds up."""
    balanced = True
    try:
        said = roll(broker, count)
    except (Unbalanced, PeerFailed) as error:
        if STOP.is_set():
            raise
        said, balanced = f"UNBALANCED: {error}", False
    say(said)
    return said, balanced


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.rolling", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--broker", action="append", choices=("redis", "rabbitmq", "quorum"))
    told = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: stop_all())
    with Servers() as run, run.lane(0) as here, suppress(PeerFailed):
        return min(1, sum(not tried(here.broker(name), told.tasks)[1] for name in told.broker or ("redis", "rabbitmq")))
    return 130


if __name__ == "__main__":
    sys.exit(main())

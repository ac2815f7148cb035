"""`python -m interop.chaos [--seconds N] [--seed S]`: a fleet under random faults, with a ledger of all that it did.

Workers and producers of stock Celery and of celeriac share a Redis and, beside it, a RabbitMQ. Parents and children are
killed, told to leave and frozen; connections are cut, stalled, half-opened, split and refused; broker and result store
are frozen, and killed and come again; messages that are no tasks lie between the others. The seed decides what happens
to whom and when, so that stock Celery alone can be put through the same beside it. Then all is whole again, and 30
seconds later everything that was accepted must be done.

Law: 0 lost, 0 wrongly doubled, 0 stuck in celeriac's hands. What stock lost is counted and shown: `chaos_ledger` says
whose it was.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kombu.exceptions import OperationalError

from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel
from interop import chaos_page
from interop.brokers import Broker
from interop.chaos_ledger import PRODUCER, SEEN, WORKER, Account, Fault, Sent, settled
from interop.peers import CELERIAC, CELERY_57, Peer
from interop.processes import PeerFailed, Process, Producer, Worker
from tests import proxy, servers
from tests.faults.mortal import Mortal, MortalRabbit

FLEETS: dict[str, tuple[Sequence[Peer], Sequence[Peer]]] = {
    "mixed": ((CELERIAC, CELERY_57, CELERIAC), (CELERIAC, CELERY_57)),
    "stock": ((CELERY_57,) * 3, (CELERY_57,) * 2),
    "celeriac": ((CELERIAC,) * 3, (CELERIAC,) * 2),
}
BROKERS = ("redis", "rabbitmq")
BOTH = {
    "include": ["chaos_tasks"],
    "broker_heartbeat": 2,
    "broker_connection_timeout": 2,
    "broker_connection_retry_on_startup": True,
    "worker_prefetch_multiplier": 4,
    "worker_deduplicate_successful_tasks": True,
    "task_publish_retry_policy": {"max_retries": 60, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
    "result_backend_always_retry": True,
    "result_backend_max_retries": 1000,
    "result_backend_transport_options": {
        "retry_policy": {"max_retries": 20, "interval_start": 0, "interval_step": 1, "interval_max": 1}
    },
}
OPTIONS = {
    "redis": {"visibility_timeout": 5, "unacked_mutex_expire": 5, "socket_timeout": 3, "health_check_interval": 2},
    "rabbitmq": {"confirm_publish": True},
}
QUEUE = "queue"
RATE = 8.0
"""Calls a second of each producer."""
GRACE = 30.0
LONG_AFTER = 60.0
STOP = threading.Event()

_HEAD = {"lang": "py", "task": "chaos.early", "id": "poison", "retries": 0, "timelimit": [None, None]}
POISON = (
    Message(b"[[], {}, {}]", "application/json", "utf-8", {**_HEAD, "task": "chaos.unheard_of"}, {}),
    Message(b"[[", "application/json", "utf-8", _HEAD, {}),
    Message(b"\x80\x04.", "application/x-python-serialize", "binary", _HEAD, {}),
    Message(b"[[1, 2, 3, 4], {}, {}]", "application/json", "utf-8", _HEAD, {}),
    Message(b"no task at all", "text/plain", "utf-8", {}, {}),
)
"""Stock survives them too: an unknown task, unreadable and refused bodies, wrong arguments, no task at all."""

# What may happen, how often beside the others, to whom, and for how long.
KINDS: dict[str, tuple[int, str, tuple[float, float]]] = {
    "kill the parent": (6, WORKER, (0, 0)),
    "kill a child": (6, WORKER, (0, 0)),
    "SIGTERM": (3, WORKER, (0, 0)),
    "freeze": (2, WORKER, (0.5, 3)),
    "cut": (4, "", (0, 0)),
    "stall": (2, "", (0.5, 3)),
    "half-open": (2, "", (0.5, 3)),
    "refuse": (2, "", (0.5, 3)),
    "split": (2, "", (0.5, 3)),
    "poison": (2, QUEUE, (0, 0)),
    "freeze the broker": (1, "broker", (0.5, 3)),
    "freeze the store": (1, "store", (0.5, 3)),
    "kill the broker": (1, "broker", (0.2, 2)),
    "kill the store": (1, "store", (0.5, 5)),
}


def scheduled(seed: str, seconds: float, workers: int, producers: int) -> Iterator[Fault]:
    """The same for each fleet."""
    chance = random.Random(seed)
    at = 2.0
    names = list(KINDS)
    while at < seconds:
        (kind,) = chance.choices(names, [KINDS[name][0] for name in names])
        _, whom, (least, most) = KINDS[kind]
        slots = [f"{WORKER}{number}" for number in range(workers)]
        if not whom:
            slots += [f"{PRODUCER}{number}" for number in range(producers)]
        slot = chance.choice(slots) if whom in {"", WORKER} else whom
        yield Fault(at, kind, slot, chance.uniform(least, most))
        at += chance.uniform(1.0, 4.0)


@dataclass
class Slot:
    """Where one process stands, by what way it reaches its broker, and how often it was started."""

    name: str
    peer: Peer
    wire: proxy.Proxy
    process: Process | None = None
    starts: int = 0


class Field:
    """One fleet on one broker."""

    def __init__(self, kind: str, fleet: str, folder: Path, stack: ExitStack) -> None:
        self.kind = kind
        self.fleet = fleet
        self.folder = folder
        self.ledger = folder / "ledger"
        self.store = _mortal(Mortal, folder / "store", stack)
        self.server = _mortal(Mortal if kind == "redis" else MortalRabbit, folder / "broker", stack)
        workers, producers = FLEETS[fleet]
        self.slots = {
            f"{role}{number}": Slot(f"{role}{number}", peer, stack.enter_context(proxy.to(self.server.port)))
            for role, peers in ((WORKER, workers), (PRODUCER, producers))
            for number, peer in enumerate(peers)
        }
        self.faults: list[Fault] = []
        self.sent: list[Sent] = []
        self.over = threading.Event()
        self.ended: list[Process] = []
        self.healing: list[tuple[float, Callable[[], None]]] = []
        self.wholly_over = threading.Event()
        stack.callback(self.close)
        if kind == "redis":
            threading.Thread(target=self._look_on, daemon=True).start()

    # --- processes

    def start(self, slot: Slot) -> Process:
        slot.starts += 1
        if slot.process is not None:
            self.ended.append(slot.process)
        log = self.folder / f"{slot.name}.{slot.starts}.{slot.peer.name}.log"
        url = (
            f"redis://127.0.0.1:{slot.wire.port}/0"
            if self.kind == "redis"
            else f"amqp://guest:guest@127.0.0.1:{slot.wire.port}//"
        )
        results = f"redis://127.0.0.1:{self.store.port}/0"
        settings = {**BOTH, "broker_transport_options": OPTIONS[self.kind]}
        broker = Broker(self.kind, url, results, results, lambda: None, lambda _: None, None, settings)
        given = broker.variables(slot.peer, "celery", {}) | {
            "LEDGER": str(self.ledger),
            "SLOT": slot.name,
            "STORE": results,
        }
        if slot.name.startswith(WORKER):
            assert slot.peer.worker
            command = (*slot.peer.worker[: slot.peer.worker.index("solo")], "prefork", "-c", "2", "-l", "INFO")
            slot.process = Worker(replace(slot.peer, worker=command), given, log, f"{slot.name}g{slot.starts}@chaos")
        else:
            slot.process = Producer(slot.peer, given, log)
        return slot.process

    def _look_on(self) -> None:
        """What Redis is told, line by line: who had a message last is in no log where it was taken by BRPOP."""
        with (self.folder / SEEN).open("ab") as seen:
            while not self.wholly_over.is_set():
                try:
                    client = servers.RespClient(self.server.port, timeout=1)
                except OSError:
                    self.wholly_over.wait(0.01)
                    continue
                with closing(client), suppress(OSError, servers.RedisRefused):
                    client.call("MONITOR")
                    while not self.wholly_over.is_set():
                        with suppress(TimeoutError):
                            seen.write(client.read() + b"\n")
                            seen.flush()

    def close(self) -> None:
        self.over.set()
        self.wholly_over.set()
        for process in [*self.ended, *(slot.process for slot in self.slots.values() if slot.process)]:
            process.kill()

    # --- what is sent

    def produce(self, slot: Slot, seed: str) -> None:
        """Until the faults are over."""
        chance, number = random.Random(seed), 0
        producer = slot.process
        while not self.over.is_set():
            number += 1
            kind = chance.choice(list(SHAPES))
            name = f"{kind}-{slot.name}-{number}"
            request, keys, first = SHAPES[kind](name, chance)
            began = time.time()
            accepted = False
            try:
                assert isinstance(producer, Producer)
                accepted = "id" in producer.ask(request)
            except PeerFailed:
                producer = self.start(slot)
            self.sent.append(Sent(name, kind, keys, slot.name, began, time.time(), accepted, first))
            self.over.wait(chance.uniform(0, 2 / RATE))

    # --- faults

    def strike(self, fault: Fault, chance: random.Random) -> None:
        slot = self.slots.get(fault.slot)
        done = replace(fault, at=time.time())
        if fault.slot == QUEUE:
            if not self._poisoned(chance):
                return
        elif slot is None:
            server = self.server if fault.slot == "broker" else self.store
            if fault.kind.startswith("freeze"):
                server.signal(signal.SIGSTOP)
                self.healing.append((done.at + fault.seconds, lambda: server.signal(signal.SIGCONT)))
            else:
                server.kill()
                time.sleep(fault.seconds)
                server.start()
                done = replace(done, seconds=time.time() - done.at)
        elif fault.kind in _ON_WIRES:
            if fault.kind == "refuse":
                slot.wire.refuse()
            _ON_WIRES[fault.kind](slot.wire)
            self.healing.append((done.at + fault.seconds, slot.wire.heal))
        else:
            self._hurt(slot, fault, chance)
        self.faults.append(done)
        with (self.folder / "faults").open("a") as noted:
            noted.write(f"{done.at:.3f} {done.kind} {done.slot} {done.seconds:.2f}\n")

    def _poisoned(self, chance: random.Random) -> bool:
        """Whether the broker, which may be frozen, has taken a message that is no task."""
        try:
            with closing(brokers.connect(self.server.url, {}, 2)) as broker:
                broker.send([Parcel(chance.choice(POISON), "celery")])
        except OperationalError:
            return False
        return True

    def _hurt(self, slot: Slot, fault: Fault, chance: random.Random) -> None:
        assert slot.process
        process = slot.process.process
        if fault.kind == "freeze":
            process.send_signal(signal.SIGSTOP)
            self.healing.append((time.time() + fault.seconds, lambda: process.send_signal(signal.SIGCONT)))
        elif fault.kind == "kill a child":
            with suppress(OSError, IndexError):
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                os.kill(int(chance.choice(children)), signal.SIGKILL)
        else:
            process.send_signal(signal.SIGTERM if fault.kind == "SIGTERM" else signal.SIGKILL)
            if fault.kind != "SIGTERM":
                process.wait(10)
            self.start(slot)

    def heal(self, now: float) -> None:
        for due in [each for each in self.healing if each[0] <= now]:
            self.healing.remove(due)
            due[1]()
        for slot in self.slots.values():
            if slot.name.startswith(WORKER) and slot.process and slot.process.process.poll() is not None:
                self.start(slot)

    def suffer(self, seconds: float, seed: str) -> None:
        began, chance = time.time(), random.Random(seed)
        for fault in scheduled(seed, seconds, *map(len, FLEETS[self.fleet])):
            while time.time() < began + fault.at and not STOP.is_set():
                self.heal(time.time())
                time.sleep(0.05)
            if STOP.is_set():
                break
            self.strike(fault, chance)
        while self.healing:
            self.heal(float("inf"))
        self.over.set()


_ON_WIRES: dict[str, Callable[[proxy.Proxy], None]] = {
    "cut": proxy.Proxy.cut,
    "stall": proxy.Proxy.stall,
    "half-open": proxy.Proxy.half_open,
    "refuse": proxy.Proxy.cut,
    "split": proxy.Proxy.split,
}


def _mortal(made: Any, home: Path, stack: ExitStack) -> Any:
    home.mkdir(parents=True)
    server = made(home)
    stack.callback(getattr(server, "close", server.kill))
    server.start()
    return server


# --- what is sent: the request, the keys that must end, and those that begin

Shape = tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]


def _call(task: str, key: str, chance: random.Random, *first: Any, **options: Any) -> dict[str, Any]:
    seconds = chance.choice([0, 0, 0.01, 0.05, 0.3])
    return {"task": f"chaos.{task}", "args": [*first, key, seconds], "options": {"task_id": key, **options}}


def _one(task: str, **options: Any) -> Callable[[str, random.Random], Shape]:
    def make(name: str, chance: random.Random) -> Shape:
        return {"op": "call", "get": False, **_call(task, name, chance, **options)}, (name,), (name,)

    return make


def _again(name: str, chance: random.Random) -> Shape:
    return {"op": "call", "get": False, **_call("again", name, chance)}, (f"{name}.0", f"{name}.1"), (f"{name}.0",)


def _chain(name: str, chance: random.Random) -> Shape:
    keys = tuple(f"{name}.{number}" for number in range(3))
    steps = [_call("step", key, chance, *([0] if key == keys[0] else [])) for key in keys]
    return {"op": "canvas", "get": False, "shape": ["chain", *steps]}, keys, keys[:1]


def _group(name: str, chance: random.Random) -> Shape:
    keys = tuple(f"{name}.{number}" for number in range(3))
    return (
        {"op": "canvas", "get": False, "shape": ["group", *(_call("step", key, chance, 0) for key in keys)]},
        keys,
        keys,
    )


def _chord(name: str, chance: random.Random) -> Shape:
    keys = tuple(f"{name}.{number}" for number in range(3))
    body = {"task": "chaos.total", "args": [f"{name}.body"], "options": {"task_id": f"{name}.body"}}
    shape = ["chord", [_call("step", key, chance, 0) for key in keys], body]
    return {"op": "canvas", "get": False, "shape": shape}, (*keys, f"{name}.body"), keys


SHAPES: dict[str, Callable[[str, random.Random], Shape]] = {
    "early": _one("early"),
    "late": _one("late"),
    "eta": _one("early", eta_in=2.0),
    "retry": _again,
    "chain": _chain,
    "group": _group,
    "chord": _chord,
}


# --- a run


@contextmanager
def field(kind: str, fleet: str, keep: Path | None) -> Iterator[Field]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-chaos-")))
        if keep is not None:
            folder = keep / f"{fleet}-{kind}"
        yield Field(kind, fleet, folder, stack)


def suffered(kind: str, fleet: str, seconds: float, seed: int, keep: Path | None = None) -> Account:
    with field(kind, fleet, keep) as here:
        for slot in here.slots.values():
            process = here.start(slot)
            assert isinstance(process, (Worker, Producer))
            process.wait()
        threads = [
            threading.Thread(target=here.produce, args=(slot, f"{seed}-{kind}-{slot.name}"), daemon=True)
            for slot in here.slots.values()
            if slot.name.startswith(PRODUCER)
        ]
        for thread in threads:
            thread.start()
        here.suffer(seconds, f"{seed}-{kind}")
        for thread in threads:
            thread.join(60)
        ended = time.time()
        kinds = {slot.name: slot.peer.name for slot in here.slots.values()}

        def account(*, hands: bool) -> Account:
            here.heal(time.time())
            results = f"redis://127.0.0.1:{here.store.port}/0"
            return settled(here.sent, here.faults, kinds, here.folder, results, hands=hands)

        def awaited(seconds: float) -> Account:
            end = time.time() + seconds
            while account(hands=False).missing and time.time() < end and not STOP.is_set():
                time.sleep(1)  # to look again costs the servers something
            return account(hands=True)

        early = awaited(GRACE)
        found = awaited(LONG_AFTER) if early.missing else early
        found.late = {key: whose for key, whose in early.missing.items() if key not in found.missing}
        found.seconds = max(0.0, found.last - ended)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", action="append", choices=BROKERS)
    parser.add_argument("--fleet", action="append", choices=tuple(FLEETS))
    parser.add_argument("--keep", type=Path, help="leave ledgers and logs in this folder")
    parser.add_argument("--write", action="store_true", help="write docs/chaos.md")
    told = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what was started is ended first
        signal.signal(sign, lambda *_: STOP.set())
    kinds, fleets = told.broker or BROKERS, told.fleet or ("mixed", "stock")
    accounts: dict[tuple[str, str], Account] = {}
    for fleet in fleets:
        with ThreadPoolExecutor(len(kinds)) as at_once:
            runs = {kind: at_once.submit(suffered, kind, fleet, told.seconds, told.seed, told.keep) for kind in kinds}
            for kind, run in runs.items():
                accounts[fleet, kind] = run.result()
                if STOP.is_set():
                    return 130
                print(f"{fleet} on {kind}: {accounts[fleet, kind].said()}", flush=True)
    page = chaos_page.written(accounts, told.seconds, told.seed)
    if told.write:
        Path(__file__).parents[1].joinpath("docs/chaos.md").write_text(page)
    else:
        print(page)
    wrong = Counter({key: account.wrong for key, account in accounts.items()})
    return min(1, sum(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())

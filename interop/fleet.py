"""Two workers of two kinds at one broker: what the one begins, the other goes on with.

The first reads queue `a`, the second queue `b`. Law: as in the matrix, each cell stands beside the same with stock
Celery in our place.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from interop.brokers import Broker
from interop.capabilities import QUICK, TITLES, Pair, Patience, Wrong, named, same, sig, stays_revoked
from interop.matrix import Cell, Cells, How, Place, is_spoilt, seen, short
from interop.peers import OURS, STOCK, Peer
from interop.processes import Answer, PeerFailed, Process, Producer, Worker

Check = Callable[[Pair], None]
CHECKS: dict[str, Check] = {}


def handed(name: str, title: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        CHECKS[name] = check
        TITLES[name] = title
        return check

    return keep


def shaped(name: str, title: str, shape: Any, expected: Any) -> None:
    def check(pair: Pair) -> None:
        pair.needs("add")
        same(pair.ask("canvas", shape=there(pair, shape)), expected)

    handed(name, title)(check)


def there(pair: Pair, shape: Any) -> Any:
    """With what goes to the second under the names that it has there."""
    return named(shape, pair.named, "b")


def call(pair: Pair, task: str, *args: Any, **more: Any) -> Answer:
    """A call to the one or the other, whatever the second lacks."""
    form = pair.named if more.get("options", {}).get("queue") == "b" else "interop.{}"
    return pair.ask("call", task=form.format(task), args=list(args), **more)


def add(queue: str, *numbers: int) -> dict[str, Any]:
    return sig("add", *numbers, queue=queue)


shaped("chain a b", "a chain: the first hands on", ["chain", add("a", 1, 2), add("b", 10)], 13)
shaped("chain b a", "a chain: the second hands on", ["chain", add("b", 1, 2), add("a", 10)], 13)
shaped("chain a b a", "a chain, to and fro", ["chain", add("a", 1, 2), add("b", 10), add("a", 100)], 113)
shaped("group a b", "a group over both", ["group", add("a", 1, 2), add("b", 3, 4)], [3, 7])
shaped(
    "chord by a",
    "a chord of the first's, its body the second's",
    ["chord", [add("a", 1, 2), add("a", 3, 4)], sig("total", queue="b")],
    10,
)
shaped(
    "chord by both",
    "a chord counted by both",
    ["chord", [add("a", 1, 2), add("b", 3, 4), add("a", 5, 6), add("b", 7, 8)], sig("total", queue="a")],
    36,
)
shaped(
    "chain chord",
    "a chain with a group over both in it",
    ["chain", add("a", 1, 2), ["group", add("a", 10), add("b", 20)], sig("total", queue="b"), add("a", 1)],
    37,
)


def _linked(first: str, second: str) -> Check:
    def check(pair: Pair) -> None:
        key = f"interop-{uuid.uuid4()}"
        options = {"queue": first, "link": there(pair, sig("keep", key, queue=second))}
        pair.needs("add" if first == "b" else "keep")
        same(call(pair, "add", 2, 3, options=options), 5)
        pair.until(lambda: pair.broker.trace(key) == [5], "the callback did not run")

    return check


def _linked_error(first: str, second: str) -> Check:
    def check(pair: Pair) -> None:
        # One that takes an id alone is sent; who takes the error as well would be called by the first itself.
        options = {"queue": first, "link_error": there(pair, sig("errback", queue=second))}
        pair.needs(*(["fail"] if first == "b" else []))
        sent = call(pair, "fail", "boom", options=options, get=False)
        pair.until(lambda: sent["id"] in pair.broker.failed(second), "the errback did not run there")

    return check


handed("link a b", "a callback at the second")(_linked("a", "b"))
handed("link b a", "a callback at the first")(_linked("b", "a"))
handed("link_error a b", "an errback at the second")(_linked_error("a", "b"))
handed("link_error b a", "an errback at the first")(_linked_error("b", "a"))


@handed("both protocols", "protocol 2 at the first's queue, protocol 1 at the second's, by one producer")
def both_protocols(pair: Pair) -> None:
    more = {"settings": {**pair.settings, "task_queue_protocols": {"b": 1}}}
    for queue, version in (("a", 2), ("b", 1)):
        options = {"queue": queue}
        if queue == "b" and "describe" in pair.lacks:
            pair.needs("add")
            same(call(pair, "add", 2, 3, options=options, **more), 5)
        else:
            seen = call(pair, "describe", options=options, **more).get("value") or {}
            if seen.get("protocol") != version:
                raise Wrong(f"at {queue} the task saw protocol {seen.get('protocol')}")


@handed("ping both", "remote control reaches both")
def pings_both(pair: Pair) -> None:
    names = {name for each in pair.ask("ping", timeout=pair.patience.reply)["value"] for name in each}
    if names != {"a@interop", "b@interop"}:
        raise Wrong(f"answered: {sorted(names)}")


@handed("inspect both", "both tell their statistics, queues and tasks")
def inspects_both(pair: Pair) -> None:
    for method in ("stats", "active_queues", "registered"):
        told = pair.ask("inspect", method=method, timeout=pair.patience.reply)["value"] or {}
        if told.keys() != {"a@interop", "b@interop"}:
            raise Wrong(f"{method}: answered {sorted(told)}")


@handed("events of both", "one monitor sees the events of both")
def watched(pair: Pair) -> None:
    pair.ask("broadcast", method="enable_events", arguments={}, timeout=pair.patience.reply)
    for queue in ("a", "b"):
        answer = pair.ask("events", task="interop.add", args=[2, 3], options={"queue": queue})
        if not {"task-received", "task-started", "task-succeeded"} <= set(answer["value"]) or answer["failed"]:
            raise Wrong(f"of {queue}: seen {answer['value']} {answer['failed']}")


@handed("revoke at b", "a revoke told to both is kept by the one that has the task")
def revokes(pair: Pair) -> None:
    pair.needs("keep")
    key, due = f"interop-{uuid.uuid4()}", time.monotonic() + pair.patience.soon
    options = {"queue": "b", "eta_in": pair.patience.soon}
    sent = call(pair, "keep", 1, key, options=options, get=False)
    stays_revoked(pair, sent["id"], key, due)


def fleets(peers: Sequence[Peer]) -> Iterator[tuple[Peer, Peer, Peer]]:
    """Producer, first and second: us and stock in all mixtures, and each other worker behind us and behind stock."""
    both = [peer for peer in peers if peer.name in {STOCK, OURS}]
    for producer in both:
        for first in both:
            for second in peers:
                if second.worker and (second in both or producer is first):
                    yield producer, first, second


def try_fleet(
    producer: Peer, first: Peer, second: Peer, broker: Broker, only: Sequence[str] = (), patience: Patience = QUICK
) -> Cells:
    names = [name for name in CHECKS if not only or name in only]
    settings = dict(second.settings_of_ours if producer.name == OURS else second.settings_of_stock)
    if producer.name == OURS and settings:
        settings = {"task_queue_protocols": {"b": 1}}
    said = ", ".join(f"`{name} = {value!r}`" for name, value in settings.items())
    broker.sweep()
    cells: dict[str, Cell] = {}
    with tempfile.TemporaryDirectory(prefix="celeriac-interop-") as folder:
        started: list[Process] = []
        try:
            workers = [
                Worker(peer, broker.variables(peer, queue, settings), Path(folder) / queue, f"{queue}@interop")
                for peer, queue in ((first, "a"), (second, "b"))
            ]
            started += workers
            for each in workers:
                each.wait()
            asker = Producer(producer, broker.variables(producer, "celery", settings), Path(folder) / "producer")
            started.append(asker)
            lacks = second.lacks if second.python else {"describe": "not asked for", **second.lacks}
            pair = Pair(asker.wait(), broker, lacks, True, settings, named=second.task_name, patience=patience)
            for name in names:
                cell = seen(CHECKS[name], pair)
                cells[name] = Cell(How.setting, said) if settings and cell.how is How.works else cell
                if is_spoilt(workers[1], second, cell):
                    started.append(replacement := workers[1].again(broker))
                    workers[1] = replacement
        except PeerFailed as error:
            cells.update({name: Cell(How.cannot, short(str(error))) for name in names if name not in cells})
        finally:
            for process in started:
                process.stop()
    worker = f"{first.name} + {second.name}"
    return {Place(producer.name, worker, broker.name, name): cell for name, cell in cells.items()}

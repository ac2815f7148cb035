"""`python -m interop [core|full]`: runs the matrix, prints it, and ends with 1 where stock does better than we."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from interop import brokers, fleet, peers, recorded, rolling, table
from interop.matrix import Cell, Cells, How, Place, pairs, try_pair, worse_than_stock
from interop.processes import SILENT, STOP, PeerFailed, stop_all

Trial = tuple[str, frozenset[str], Callable[[brokers.Broker], Cells]]


def main() -> int:
    told = parsed()
    family = peers.CORE if told.size == "core" else peers.FULL
    if told.kept:
        seen = Seen.read(told.kept)  # a later file goes before an earlier one
        print(
            f"written: {table.write(seen.cells, family, seen.titles, len(worse_than_stock(seen.cells)), seen.rolled)}"
        )
        return 0
    missing = [said for peer in family if (said := peers.installed(peer))]
    print("\n".join(missing), file=sys.stderr, end="\n" if missing else "")
    family = tuple(peer for peer in family if not any(said.startswith(f"{peer.name} is") for said in missing))
    lanes = brokers.CORE if told.size == "core" else brokers.FULL
    if told.broker:
        lanes = tuple(filter(None, (tuple(name for name in lane if name in told.broker) for lane in brokers.FULL)))
    began = time.monotonic()
    cells: Cells = {}
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the pair at hand is ended, and so are the servers
        signal.signal(sign, lambda *_: stop_all())
    titles: dict[str, str] = {}
    with ThreadPoolExecutor(len(lanes)) as at_once:
        for found, named in at_once.map(partial(run_lane, told=told, trials=list(trials(family, told))), lanes):
            cells |= found
            titles |= named
    if STOP.is_set():
        return 130
    rolled = [] if chosen(told) else roll(1000 if told.size == "core" else 5000)
    if STOP.is_set():
        return 130
    worse = worse_than_stock(cells)
    print(f"{len(cells)} cells in {time.monotonic() - began:.0f} s; worse than stock: {len(worse)}")
    for line in grouped(worse):
        print(f"  {line}")
    if told.keep:
        Seen(cells, titles, [said for said, _ in rolled]).write(told.keep)
    if told.write or (told.size == "full" and not chosen(told)):
        print(f"written: {table.write(cells, family, titles, len(worse), [said for said, _ in rolled])}")
    return 1 if worse or missing or not all(balanced for _, balanced in rolled) else 0


@dataclass
class Seen:
    """All that a page is made of."""

    cells: Cells
    titles: dict[str, str]
    rolled: list[str]

    def write(self, file: Path) -> None:
        rows = [[*astuple(place), cell.how.name, cell.why] for place, cell in self.cells.items()]
        file.write_text(json.dumps({"titles": self.titles, "rolled": self.rolled, "cells": rows}, indent=0))

    @classmethod
    def read(cls, files: Sequence[Path]) -> Seen:
        made = cls({}, {}, [])
        for held in (json.loads(file.read_text()) for file in files):
            made.cells |= {Place(*row[:4]): Cell(How[row[4]], row[5]) for row in held["cells"]}
            made.titles |= held["titles"]
            made.rolled = held["rolled"] or made.rolled
        return made


def roll(count: int) -> list[tuple[str, bool]]:
    """What became of a rolling replacement on each broker, and whether the ledger adds up."""
    with brokers.Servers() as here, suppress(PeerFailed):  # of what was stopped
        return [rolling.tried(here.broker(name), count) for name in ("redis", "rabbitmq")]
    return [("stopped", False)]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument("size", choices=("core", "full"), nargs="?", default="core")
    parser.add_argument("--broker", action="append", choices=sorted(brokers.MAKERS), help="this broker alone")
    parser.add_argument("--producer", action="append", help="these producers alone")
    parser.add_argument("--worker", action="append", help="these workers alone")
    parser.add_argument("--capability", action="append", default=[], help="this capability alone")
    parser.add_argument("--keep", type=Path, help="keep what was seen in this file as well")
    parser.add_argument("--kept", type=Path, action="append", help="run nothing: make docs/interop.md of such files")
    parser.add_argument("--write", action="store_true", help="write docs/interop.md; the full run always does")
    return parser.parse_args()


def chosen(told: argparse.Namespace) -> bool:
    return bool(told.producer or told.worker or told.capability or told.broker)


def trials(family: Sequence[peers.Peer], told: argparse.Namespace) -> Iterator[Trial]:
    def wanted(producer: str, worker: str) -> bool:
        return (not told.producer or producer in told.producer) and (not told.worker or worker in told.worker)

    for producer, worker in pairs(family):
        if wanted(producer.name, worker.name):
            who = frozenset({producer.name, worker.name})
            yield f"{producer.name} -> {worker.name}", who, partial(try_pair, producer, worker, only=told.capability)
    for worker in (peers.CELERY_57, peers.CELERIAC):
        if wanted(recorded.RECORDED, worker.name):
            who = frozenset({recorded.RECORDED, worker.name})
            yield f"{recorded.RECORDED} -> {worker.name}", who, partial(recorded.trial, worker, only=told.capability)
    for producer, first, second in fleet.fleets(family):
        name = f"{first.name} + {second.name}"
        if wanted(producer.name, name):
            who = frozenset({producer.name, first.name, second.name})
            yield f"{producer.name} -> {name}", who, partial(try_fleet, producer, first, second, only=told.capability)


def try_fleet(
    producer: peers.Peer, first: peers.Peer, second: peers.Peer, broker: brokers.Broker, only: Sequence[str]
) -> Cells:
    return {} if not broker.fleets else fleet.try_fleet(producer, first, second, broker, only)


def run_lane(names: Sequence[str], told: argparse.Namespace, trials: Sequence[Trial]) -> tuple[Cells, dict[str, str]]:
    cells: Cells = {}
    titles = {}
    with brokers.Servers() as here:
        for name in names:
            broker = here.broker(name)
            titles[name] = broker.title
            for what, who, trial in trials:
                if broker.peers and not who <= broker.peers:
                    continue
                start = time.monotonic()
                found = trial(broker=broker)
                if STOP.is_set():
                    return cells, titles
                if not found:
                    continue
                cells |= found
                good = sum(cell.how is not How.cannot for cell in found.values())
                spent = time.monotonic() - start
                print(f"{broker.title}: {what}: {good} of {len(found)} work ({spent:.1f} s)", flush=True)
                if chosen(told):
                    for line in grouped({place.capability: cell.why for place, cell in found.items() if not cell.how}):
                        print(f"    {line}")
        # A busy machine makes a cell fail that is sound: what seems worse than stock is tried once more.
        doubtful = worse_than_stock(cells)
        SILENT.clear()
        for what, _, trial in trials:
            for name in names:
                again = [p.capability for p in doubtful if f"{p.producer} -> {p.worker}" == what and p.broker == name]
                if again:
                    cells |= trial(broker=here.broker(name), only=again)
    return cells, titles


def grouped(found: Mapping[Any, str]) -> list[str]:
    """What has one reason is told once."""
    whys: dict[str, list[str]] = {}
    for what, why in found.items():
        whys.setdefault(why, []).append(str(what))
    more = {why: f" and {len(whats) - 3} more" if len(whats) > 3 else "" for why, whats in whys.items()}
    return [f"{'; '.join(whats[:3])}{more[why]}: {why}" for why, whats in whys.items()]


if __name__ == "__main__":
    sys.exit(main())

"""`python -m interop [core|full]`: runs the matrix, prints it, and ends with 1 where stock does better than we."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

from . import brokers, peers
from .matrix import Cells, How, pairs, try_pair, worse_than_stock

MARKS = {How.works: "works", How.setting: "setting", How.cannot: "-"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument("size", choices=("core", "full"), nargs="?", default="core")
    parser.add_argument("--broker", action="append", choices=sorted(brokers.MAKERS), help="this broker alone")
    parser.add_argument("--producer", action="append", help="these producers alone")
    parser.add_argument("--worker", action="append", help="these workers alone")
    parser.add_argument("--capability", action="append", default=[], help="this capability alone")
    told = parser.parse_args()
    family = peers.CORE if told.size == "core" else peers.FULL
    names = told.broker or (brokers.CORE if told.size == "core" else brokers.FULL)
    missing = [said for peer in family if (said := installed(peer))]
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 1
    cells: Cells = {}
    began = time.monotonic()
    with brokers.Servers() as here:
        for name in names:
            broker = here.broker(name)
            for producer, worker in pairs(family):
                if (told.producer and producer.name not in told.producer) or (
                    told.worker and worker.name not in told.worker
                ):
                    continue
                start = time.monotonic()
                found = try_pair(producer, worker, broker, told.capability)
                cells.update(found)
                good = sum(cell.how is not How.cannot for cell in found.values())
                print(
                    f"{broker.title}: {producer.name} -> {worker.name}: {good} of {len(found)} work"
                    f" ({time.monotonic() - start:.1f} s)",
                    flush=True,
                )
                if len(found) != good and told.capability + (told.producer or []) + (told.worker or []):
                    for line in grouped({place.capability: cell.why for place, cell in found.items() if not cell.how}):
                        print(f"    {line}")
    worse = worse_than_stock(cells)
    print(f"{len(cells)} cells in {time.monotonic() - began:.0f} s; worse than stock: {len(worse)}")
    for line in grouped(worse):
        print(f"  {line}")
    return 1 if worse else 0


def grouped(found: Mapping[Any, str]) -> list[str]:
    """What has one reason is told once."""
    whys: dict[str, list[str]] = {}
    for what, why in found.items():
        whys.setdefault(why, []).append(str(what))
    return [
        f"{'; '.join(whats[:3])}{f' and {len(whats) - 3} more' if len(whats) > 3 else ''}: {why}"
        for why, whats in whys.items()
    ]


def installed(peer: peers.Peer) -> str:
    try:
        peer.install()
    except peers.CannotInstall as error:
        return f"{peer.name} is missing: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(main())

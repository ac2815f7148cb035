"""`python -m interop [core|full]`: runs the matrix, prints it, and ends with 1 where stock does better than we."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path

from interop import brokers, grid, peers, runs, table
from interop.capabilities import HASTY, QUICK
from interop.matrix import Cell, How, Place, worse_than_stock
from interop.processes import STOP, stop_all
from interop.runs import Seen


def main() -> int:
    told = parsed()
    family = peers.CORE if told.size == "core" else peers.FULL
    if told.kept:
        return written(read(told.kept), family)  # a later file goes before an earlier one
    missing = [said for peer in family if (said := peers.installed(peer))]
    print("\n".join(missing), file=sys.stderr, end="\n" if missing else "")
    family = tuple(peer for peer in family if not any(said.startswith(f"{peer.name} is") for said in missing))
    names = told.broker or tuple(brokers.TITLES)
    part = bool(told.producer or told.worker or told.capability or told.broker)
    asked = [job for job in runs.jobs(family, names) if wanted(job, told)]
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the pair at hand is ended, and so are the servers
        signal.signal(sign, lambda *_: stop_all())
    began = time.monotonic()
    promised = {} if told.capability else runs.promised(asked)
    again = told.size == "full"  # the page is made anew: what it says now is only tried twice
    seen = runs.run(
        asked,
        only=told.capability,
        patience=QUICK if part or again else HASTY,
        promised=promised,
        roll=0 if part else 1000 if told.size == "core" else 5000,
        lanes=told.lanes,
        say=partial(print, flush=True),
    )
    if STOP.is_set():
        return 130
    print(grid.shown(seen.cells))
    wrong = seen.wrong({} if again else promised)
    print(
        f"{len(seen.cells)} cells in {time.monotonic() - began:.0f} s; worse than stock or than promised: {len(wrong)}"
    )
    for line in grid.grouped(wrong):
        print(f"  {line}")
    if told.keep:
        keep(seen, told.keep)
    if told.write or (told.size == "full" and not part):
        written(seen, family)
    return 1 if wrong or missing or not seen.sound else 0


def wanted(job: runs.Job, told: argparse.Namespace) -> bool:
    return (not told.producer or job.producer in told.producer) and (not told.worker or job.worker in told.worker)


def written(seen: Seen, family: Sequence[peers.Peer]) -> int:
    rolled = sorted(said for said, _ in seen.rolled.values())
    print(f"written: {table.write(seen.cells, family, seen.titles, len(worse_than_stock(seen.cells)), rolled)}")
    return 0


def keep(seen: Seen, file: Path) -> None:
    rows = [[*astuple(place), cell.how.name, cell.why] for place, cell in seen.cells.items()]
    rolled = [said for said, _ in seen.rolled.values()]
    file.write_text(json.dumps({"rolled": rolled, "cells": rows}, indent=0))


def read(files: Sequence[Path]) -> Seen:
    made = Seen()
    for held in (json.loads(file.read_text()) for file in files):
        made.cells |= {Place(*row[:4]): Cell(How[row[4]], row[5]) for row in held["cells"]}
        made.rolled |= {said.partition(":")[0]: (said, True) for said in held["rolled"]}
    return made


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument("size", choices=("core", "full"), nargs="?", default="core")
    parser.add_argument("--broker", action="append", choices=sorted(brokers.MAKERS), help="this broker alone")
    parser.add_argument("--producer", action="append", help="these producers alone")
    parser.add_argument("--worker", action="append", help="these workers alone")
    parser.add_argument("--capability", action="append", default=[], help="this capability alone")
    parser.add_argument("--lanes", type=int, default=runs.LANES, help="how many pairs are at work side by side")
    parser.add_argument("--keep", type=Path, help="keep what was seen in this file as well")
    parser.add_argument("--kept", type=Path, action="append", help="run nothing: make docs/interop.md of such files")
    parser.add_argument("--write", action="store_true", help="write docs/interop.md; the full run always does")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""docs/interop.md, made of the cells: a table for each peer and direction, ours beside stock's where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

from interop.capabilities import TITLES
from interop.matrix import HAS_NO, Cell, Cells, How, Place
from interop.peers import OURS, ROOT, Peer

FILE = ROOT / "docs" / "interop.md"
SIGNS = {How.works: "works", How.setting: "set", How.cannot: "no"}
HEAD = """\
# Who understands whom

Made by `make interop` on {day}: each cell is the real package at work, against a private broker. What is not here was
not tried. Results are stored in Redis, but for «{results}», where they travel through RabbitMQ.

*works*; *set*: with the setting that is named below the table; *no*: cannot. Where stock Celery 5.7.0 in our place does
otherwise, its cell stands behind ours: `works (stock no)`. No cell is better with stock.

| peer | version | from | what a user must set |
|---|---|---|---|
{peers}
"""


def written(cells: Cells, peers: Sequence[Peer], titles: Mapping[str, str], when: date, worse: int) -> str:
    rows = "\n".join(f"| {p.name} | {p.version} | {p.source} | {p.user_must} |" for p in peers)
    head = HEAD.format(day=when.isoformat(), results=titles.get("rpc", "results over AMQP"), peers=rows)
    if worse:
        head = head.replace("No cell is better with stock.", f"**{worse} cells are better with stock.**")
    return head + "".join(_sections(cells, titles))


def _sections(cells: Cells, titles: Mapping[str, str]) -> Iterable[str]:
    ours = [place for place in cells if OURS in f"{place.producer} {place.worker}"]
    for (producer, worker), places in groupby(sorted(ours, key=_direction), key=_direction):
        yield f"\n## {producer} → {worker}\n\n" + _table({place: cells[place] for place in places}, cells, titles)


def _direction(place: Place) -> tuple[str, str]:
    return place.producer, place.worker


def _table(mine: Mapping[Place, Cell], cells: Cells, titles: Mapping[str, str]) -> str:
    brokers = [name for name in titles if any(place.broker == name for place in mine)]
    names = [name for name in TITLES if any(place.capability == name for place in mine)]
    any_place = next(iter(mine))
    lines = ["| | " + " | ".join(titles[name] for name in brokers) + " |", "|---" * (len(brokers) + 1) + "|"]
    for name in names:
        row = [_shown(Place(*_direction(any_place), broker, name), cells) for broker in brokers]
        lines.append(f"| {TITLES[name]} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n" + _reasons(mine, cells)


def _shown(place: Place, cells: Cells) -> str:
    cell = cells.get(place)
    if cell is None:
        return ""
    theirs = cells.get(place.of_stock)
    if theirs is None or theirs.how is cell.how:
        return SIGNS[cell.how]
    return f"{SIGNS[cell.how]} (stock {SIGNS[theirs.how]})"


def _reasons(mine: Mapping[Place, Cell], cells: Cells) -> str:
    told: dict[str, list[str]] = {}
    for place, cell in mine.items():
        if cell.how is How.setting:
            told.setdefault(f"set: {cell.why}", [])
        elif cell.how is How.cannot:
            theirs = cells.get(place.of_stock)
            why = cell.why.removeprefix(HAS_NO)[:160]
            if theirs is not None and theirs.how is How.cannot and not cell.why.startswith(HAS_NO):
                why += " (stock: " + theirs.why[:100] + ")" if theirs.why != cell.why else " (stock the same)"
            told.setdefault(why, []).append(place.capability)
    lines = [
        f"- {', '.join(dict.fromkeys(names))}: {why}" if names else f"- {why}" for why, names in sorted(told.items())
    ]
    return "\n" + "\n".join(line.replace("|", "\\|") for line in lines) + "\n" if lines else ""


def write(cells: Cells, peers: Sequence[Peer], titles: Mapping[str, str], worse: int) -> Path:
    FILE.write_text(written(cells, peers, titles, date.today(), worse))  # noqa: DTZ011 - the day where it was run
    return FILE

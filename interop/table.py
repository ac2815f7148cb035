"""docs/interop.md, made of the cells: a table for each peer and direction, ours beside stock's where they differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

from interop import capabilities, fleet, recorded
from interop.capabilities import TITLES
from interop.matrix import HAS_NO, Cell, Cells, How, Place
from interop.peers import ABSENT, OURS, ROOT, Peer

FILE = ROOT / "docs" / "interop.md"
SIGNS = {How.works: "works", How.setting: "set", How.cannot: "no"}
HEAD = """\
# Who understands whom

Made by `make interop` on {day}: each cell is the real package at work, against a private broker. Results are stored in
Redis, but for «{results}», where they travel through RabbitMQ: there is no cell for what asks about the store. Where
priorities are the matter, what they touch is asked; key prefixes and Sentinel are asked of who knows them, and of
recorded messages what was recorded.

*works*; *set*: with the setting that is named below the table; *no*: cannot, and stock Celery 5.7.0 in our place cannot
either. Where stock does otherwise its cell stands behind ours: `works (stock no)`. No cell is better with stock.
What it says of Celery 5.7, gocelery, node-celery and celery-node every `make test` tries again, all of it.

| peer | version | from | what a user must set |
|---|---|---|---|
{peers}

Not to be had:

{absent}
"""

BETTER = """
## Where stock fails and celeriac does not

Or where stock needs a setting.
"""
ROLLING = """
## Rolling replacement

A queue served while its workers are replaced one by one, by kill -9, stock by celeriac and back. What stock kombu on
Redis holds in its own memory alone when it is killed is lost (celery#4354): Redis's own record of who popped what must
say so of each message that is missing, else the run fails.
"""


def written(
    cells: Cells, peers: Sequence[Peer], titles: Mapping[str, str], when: date, worse: int, rolled: Sequence[str]
) -> str:
    rows = "\n".join(f"| {p.name} | {p.version} | {p.source} | {p.user_must} |" for p in peers)
    absent = "\n".join(f"- {name}: {why}" for name, why in ABSENT.items())
    head = HEAD.format(day=when.isoformat(), results=titles.get("rpc", "results over AMQP"), peers=rows, absent=absent)
    if worse:
        head = head.replace("No cell is better with stock.", f"**{worse} cells are better with stock.**")
    return head + _summary(cells, peers) + _better(cells, titles) + _rolling(rolled) + "".join(_sections(cells, titles))


def _summary(cells: Cells, peers: Sequence[Peer]) -> str:
    """How many cells work, over all brokers, beside stock in our place."""
    lines = ["", "How many cells work, with or without a setting, over all brokers:", ""]
    lines += ["| peer | its tasks, our workers | our tasks, its workers |", "|---|---|---|"]
    for peer in peers:
        if peer.name != OURS:
            lines.append(f"| {peer.name} | {_count(cells, peer.name, OURS)} | {_count(cells, OURS, peer.name)} |")
    return "\n".join(lines) + "\n"


def _count(cells: Cells, producer: str, worker: str) -> str:
    places = [place for place in cells if (place.producer, place.worker) == (producer, worker)]
    if not places:
        return "-"
    ours = sum(cells[place].how is not How.cannot for place in places)
    theirs = sum(place.of_stock in cells and cells[place.of_stock].how is not How.cannot for place in places)
    return f"{ours} of {len(places)} (stock {theirs})"


def _better(cells: Cells, titles: Mapping[str, str]) -> str:
    """What works here and not with stock in our place, a line for each pair."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for place, cell in cells.items():
        theirs = cells.get(place.of_stock)
        if OURS in f"{place.producer} {place.worker}" and theirs is not None and theirs.how < cell.how:
            what = titles_of(place.producer, place.worker)[place.capability]
            found.setdefault(_direction(place), {}).setdefault(what, []).append(titles[place.broker])
    lines = []
    for (producer, worker), whats in sorted(found.items()):
        by_place: dict[str, list[str]] = {}
        for what, where in whats.items():
            by_place.setdefault(", ".join(where), []).append(what)
        lines += [f"- {producer} → {worker}, {where}: {'; '.join(each)}" for where, each in by_place.items()]
    return "\n".join([BETTER, *lines, ""]) if lines else ""


def _rolling(rolled: Sequence[str]) -> str:
    if not rolled:
        return ""
    lines = "\n".join(f"- {said}" for said in rolled)
    return f"{ROLLING}\n{lines}\n"


def _sections(cells: Cells, titles: Mapping[str, str]) -> Iterable[str]:
    ours = [place for place in cells if OURS in f"{place.producer} {place.worker}"]
    for (producer, worker), places in groupby(sorted(ours, key=_direction), key=_direction):
        yield f"\n## {producer} → {worker}\n\n" + _table({place: cells[place] for place in places}, cells, titles)


def _direction(place: Place) -> tuple[str, str]:
    return place.producer, place.worker


def _table(mine: Mapping[Place, Cell], cells: Cells, titles: Mapping[str, str]) -> str:
    brokers = [name for name in titles if any(place.broker == name for place in mine)]
    any_place = next(iter(mine))
    named = titles_of(any_place.producer, any_place.worker)
    names = [name for name in named if any(place.capability == name for place in mine)]
    lines = ["| | " + " | ".join(titles[name] for name in brokers) + " |", "|---" * (len(brokers) + 1) + "|"]
    rows: dict[str, list[str]] = {}
    for name in names:
        row = [_shown(Place(*_direction(any_place), broker, name), cells) for broker in brokers]
        # What is recorded is another message at each broker, but one thing to a reader.
        rows[named[name]] = [here or there for here, there in zip(row, rows.get(named[name], row), strict=True)]
    lines += [f"| {title} | " + " | ".join(row) + " |" for title, row in rows.items()]
    return "\n".join(lines) + "\n" + _reasons(mine, cells)


def titles_of(producer: str, worker: str, at: Sequence[str] = ("redis", "rabbitmq")) -> dict[str, str]:
    """The rows of a section, by their capabilities, as they are asked at these brokers."""
    if producer == recorded.RECORDED:
        return {each.name: each.title for broker in at for each in recorded.recordings(broker)}
    return {name: TITLES[name] for name in (fleet.CHECKS if " + " in worker else capabilities.CHECKS)}


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
            why = _plain(cell.why.removeprefix(HAS_NO))[:160]
            if theirs is not None and theirs.how is How.cannot and not cell.why.startswith(HAS_NO):
                other = _plain(theirs.why)[:160]
                why += f" (stock: {other})" if other != why else " (stock the same)"
            told.setdefault(why, []).append(place.capability)
    lines = [
        f"- {', '.join(dict.fromkeys(names))}: {why}" if names else f"- {why}" for why, names in sorted(told.items())
    ]
    return "\n" + "\n".join(line.replace("|", "\\|") for line in lines) + "\n" if lines else ""


def _plain(text: str) -> str:
    """Without what is another in each run and on each machine: ids, process ids, moments, paths, ports."""
    return "".join(each if each.isprintable() else " " for each in _PASSING.sub("…", text))


_PASSING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]*"
    r"|(?<=\"pid\":)[0-9]+|(?:/[\w.+-]+){3,}|\b[0-9a-f]{32}\b|127\.0\.0\.1:[0-9]+"
)


def write(
    cells: Cells, peers: Sequence[Peer], titles: Mapping[str, str], worse: int, rolled: Sequence[str] = ()
) -> Path:
    FILE.write_text(written(cells, peers, titles, date.today(), worse, rolled))  # noqa: DTZ011 - the day where it was run
    return FILE

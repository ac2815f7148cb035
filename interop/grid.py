"""The matrix as a terminal shows it: a row for each producer and worker at a broker, a sign for each capability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interop import capabilities, fleet, recorded
from interop.brokers import TITLES
from interop.matrix import Cells, How, worse_than_stock

SIGNS = {How.works: "+", How.setting: "s", How.cannot: "-"}
WORSE, UNASKED = "!", " "
LEGEND = f"{' '.join(f'{sign} {how.name}' for how, sign in SIGNS.items())} {WORSE} worse than with stock"


def shown(cells: Cells) -> str:
    worse = worse_than_stock(cells)
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for place, cell in cells.items():
        row = rows.setdefault((place.producer, place.worker, place.broker), {})
        row[place.capability] = WORSE if place in worse else SIGNS[cell.how]
    sections: dict[tuple[str, ...], list[str]] = {}
    for (producer, worker, broker), row in sorted(rows.items()):
        signs = "".join(row.get(name, UNASKED) for name in columns(producer, worker, broker))
        who = f"{producer} -> {worker}"
        sections.setdefault(columns(producer, worker, broker), []).append(f"  {who:46} {TITLES[broker]:22} {signs}")
    lines = [LEGEND]
    for names, each in sections.items():
        lines += [", ".join(names) + ":", *each]
    return "\n".join(lines)


def columns(producer: str, worker: str, broker: str) -> tuple[str, ...]:
    if producer == recorded.RECORDED:
        return tuple(each.name for each in recorded.recordings(broker))
    return tuple(fleet.CHECKS if " + " in worker else capabilities.CHECKS)


def grouped(found: Mapping[Any, str]) -> list[str]:
    """What has one reason is told once."""
    whys: dict[str, list[str]] = {}
    for what, why in found.items():
        whys.setdefault(why, []).append(str(what))
    more = {why: f" and {len(whats) - 3} more" if len(whats) > 3 else "" for why, whats in whys.items()}
    return [f"{'; '.join(whats[:3])}{more[why]}: {why}" for why, whats in whys.items()]

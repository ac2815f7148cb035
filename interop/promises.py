"""docs/interop.md as promises: which cells the page says work, read from it again, and tried again.

Law: what the page says of the core peers is proven by each run of the tests (tests/test_interop.py); a page that
promises what is not so, and a change that breaks what it promises, fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interop import fleet, recorded
from interop.brokers import Broker
from interop.capabilities import CALM, WILLING, Patience
from interop.matrix import Cells, How, try_pair, try_with_setting
from interop.peers import EVERY, OURS
from interop.table import FILE, SIGNS, titles_of

HEADING = re.compile(r"^## (.+) → (.+)$")
WORTH = {sign: how for how, sign in SIGNS.items()}


@dataclass(frozen=True, eq=False)
class Pledge:
    """All that the page says of one producer and one worker, or two, at one broker."""

    producer: str
    worker: str
    broker: str
    cells: Mapping[str, How] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.producer} -> {self.worker}, {self.broker}"

    def broken(self, broker: Broker) -> dict[str, str]:
        """What does not hold, and what was seen instead. What fails is tried once more, with all patience."""
        failed = self._failing(broker, tuple(self.cells), WILLING)
        return self._failing(broker, tuple(failed), CALM) if failed else failed

    def _failing(self, broker: Broker, names: Sequence[str], patience: Patience) -> dict[str, str]:
        seen = {place.capability: cell for place, cell in self._tried(broker, names, patience).items()}
        unknown = {name: "nobody knows such a row" for name in names if name not in seen}
        return unknown | {name: seen[name].why for name in seen if seen[name].how < self.cells[name]}

    def _tried(self, broker: Broker, names: Sequence[str], patience: Patience) -> Cells:
        if self.producer == recorded.RECORDED:
            return recorded.trial(EVERY[self.worker], broker, names, patience)
        producer = EVERY[self.producer]
        first, *second = (EVERY[name] for name in self.worker.split(" + "))
        if second:
            return fleet.try_fleet(producer, first, second[0], broker, names, patience)
        plain = [name for name in names if self.cells[name] is How.works]
        helped = [name for name in names if self.cells[name] is How.setting]
        found = try_pair(producer, first, broker, plain, patience) if plain else {}
        return found | (try_with_setting(producer, first, broker, helped, patience) if helped else {})


def pledges(titles: Mapping[str, str], page: Path = FILE) -> list[Pledge]:
    """What the page promises where celeriac takes part, at the brokers of these titles."""
    found: list[Pledge] = []
    for section in page.read_text().split("\n## ")[1:]:
        heading, *lines = f"## {section}".splitlines()
        if not (named := HEADING.match(heading)) or OURS not in re.split(r" → | \+ ", heading[3:]):
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        if not rows:
            continue
        for at, column in enumerate(rows[0][1:], 1):
            if column in titles:
                names = {title: name for name, title in titles_of(named[1], named[2], [titles[column]]).items()}
                how = {names.get(row[0], row[0]): WORTH[row[at].split(" (")[0]] for row in rows[2:] if row[at]}
                cells = {name: worth for name, worth in how.items() if worth is not How.cannot}
                if cells:
                    found.append(Pledge(named[1], named[2], titles[column], cells))
    return found

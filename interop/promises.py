"""docs/interop.md as promises: which cells of ours the page says work, read from it again.

Law: what the page says of the core peers is proven by each run of the tests (tests/test_interop.py); a page that
promises what is not so, and a change that breaks what it promises, fail.
"""

from __future__ import annotations

import re
from pathlib import Path

from interop.brokers import TITLES
from interop.matrix import How, Place
from interop.peers import OURS
from interop.table import FILE, SIGNS, titles_of

HEADING = re.compile(r"^## (.+) → (.+)$")
WORTH = {sign: how for how, sign in SIGNS.items()}


def promised(page: Path = FILE) -> dict[Place, How]:
    """What the page says works where celeriac takes part."""
    titles = {title: name for name, title in TITLES.items()}
    found: dict[Place, How] = {}
    for section in page.read_text().split("\n## ")[1:]:
        heading, *lines = f"## {section}".splitlines()
        if not (named := HEADING.match(heading)) or OURS not in re.split(r" → | \+ ", heading[3:]):
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        for at, column in enumerate(rows[0][1:], 1) if rows else ():
            names = {title: name for name, title in titles_of(named[1], named[2], [titles[column]]).items()}
            for row in rows[2:]:
                how = WORTH[row[at].split(" (")[0]] if row[at] else How.cannot
                if how is not How.cannot:
                    found[Place(named[1], named[2], titles[column], names.get(row[0], row[0]))] = how
    return found

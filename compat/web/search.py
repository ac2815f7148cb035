"""What is typed into the search: `state:failure name:shop worker:w1 arg:42 refused` becomes conditions.

Law: every text is a search. What is not understood is looked for as it stands, so that nobody is told of syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r'(?:(\w+):)?(?:"([^"]*)"?|(\S+))')
_COLUMNS = {
    "id": "id",
    "name": "name",
    "task": "name",
    "state": "state",
    "worker": "worker",
    "queue": "queue",
    "arg": "arguments",
    "args": "arguments",
    "group": "group_id",
    "root": "root_id",
}
_WHOLE = frozenset({"state", "group_id", "root_id"})
_MOST = 12


@dataclass(frozen=True)
class Condition:
    """The column is this (`whole`), or holds this in whatever case."""

    column: str
    text: str
    whole: bool = False


def conditions(typed: str) -> list[Condition]:
    """What must all be true."""
    found = []
    for match in _WORD.finditer(typed[:500]):
        prefix, quoted, word = match.groups()
        text = quoted if quoted is not None else word
        column = _COLUMNS.get((prefix or "").lower())
        if column is None:
            column, text = "words", f"{prefix}:{text}" if prefix else text
        if text:
            whole = column in _WHOLE
            found.append(
                Condition(column, text.upper() if column == "state" else text if whole else text.lower(), whole)
            )
    return found[:_MOST]

"""A task's family drawn: who called whom, which tasks are a group, and which one waits for a whole group.

Law: a value from values. Whatever parents the events name, a circle among them included, the drawing is finite and
has each task once. Columns go by generation, rows so that lines of a family do not cross.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .records import ENDED, Record


@dataclass(slots=True)
class Box:
    """One task in the drawing."""

    id: str
    name: str
    state: str
    column: int = 0
    row: int = 0
    group: str = ""
    runtime: float | None = None


@dataclass(slots=True)
class Drawing:
    """Boxes, lines between them (from, to, kind: `chain`, `chord` or `call`), and the groups with their members."""

    boxes: list[Box] = field(default_factory=list)
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    hidden: int = 0
    """How many tasks there was no room for."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def drawing(records: Iterable[Record], most: int = 200) -> Drawing:
    """The family of these tasks. Of more than `most`, the ones that came first."""
    ordered = sorted(records, key=lambda each: (_began(each), each.id))
    known = {each.id: each for each in ordered[:most]}
    groups = _groups(known)
    waits = dict(_chords(known, groups))
    parents = {each.id: _parent(each, known) for each in known.values()}
    drawn = Drawing(groups=groups, hidden=max(len(ordered) - most, 0))
    boxes = {uuid: _box(record, groups) for uuid, record in known.items()}
    children: dict[str, list[str]] = {}
    for uuid, parent in parents.items():
        if uuid in waits:
            drawn.lines += [(member, uuid, "chord") for member in waits[uuid]]
        elif parent:
            drawn.lines.append((parent, uuid, _kind(known[parent], known[uuid])))
        if parent:
            children.setdefault(parent, []).append(uuid)
    _columns(boxes, parents, children, waits)
    _rows(boxes, parents, children)
    drawn.boxes = sorted(boxes.values(), key=lambda box: (box.column, box.row))
    return drawn


def _began(record: Record) -> float:
    return record.sent or record.received or record.started or record.updated


def _box(record: Record, groups: Mapping[str, list[str]]) -> Box:
    group = record.group_id if record.id in groups.get(record.group_id, ()) else ""
    return Box(record.id, record.name, record.state, group=group, runtime=record.runtime)


def _groups(known: Mapping[str, Record]) -> dict[str, list[str]]:
    """Members have no other member above them: what follows a chord in a chain carries its group's id too."""
    found: dict[str, list[str]] = {}
    for record in known.values():
        if record.group_id and record.group_id not in _groups_above(record, known):
            found.setdefault(record.group_id, []).append(record.id)
    return found


def _groups_above(record: Record, known: Mapping[str, Record]) -> set[str]:
    seen: set[str] = {record.id}
    above, groups = record.parent_id, set()
    while above in known and above not in seen:
        seen.add(above)
        groups.add(known[above].group_id)
        above = known[above].parent_id
    return groups


def _chords(known: Mapping[str, Record], groups: Mapping[str, list[str]]) -> Iterable[tuple[str, list[str]]]:
    """A body is sent by the last of its header to end: it came when all of them had, and belongs to no such group."""
    for members in groups.values():
        ends = [known[each].ended for each in members]
        if not all(known[each].state in ENDED for each in members):
            continue
        for record in known.values():
            if record.parent_id in members and record.id not in members and _began(record) >= max(ends) - 0.05:
                yield record.id, list(members)
                break


def _parent(record: Record, known: Mapping[str, Record]) -> str:
    """The parent, if the way up from there ends."""
    seen = {record.id}
    above = record.parent_id
    while above in known:
        if above in seen:
            return ""
        seen.add(above)
        above = known[above].parent_id
    return record.parent_id if record.parent_id in known else ""


def _kind(parent: Record, child: Record) -> str:
    """A link of a chain is sent when its parent has ended, a call while it runs. Clocks are rough: in doubt a chain."""
    return "call" if child.sent and parent.ended and child.sent < parent.ended - 0.05 else "chain"


def _columns(
    boxes: Mapping[str, Box],
    parents: Mapping[str, str],
    children: Mapping[str, list[str]],
    waits: Mapping[str, list[str]],
) -> None:
    for uuid, box in boxes.items():
        above = parents[uuid]
        while above:
            box.column, above = box.column + 1, parents[above]
    for body, members in waits.items():
        further = 1 + max(boxes[each].column for each in members) - boxes[body].column
        stack = [body] if further > 0 else []
        while stack:  # whoever the body called goes along
            uuid = stack.pop()
            boxes[uuid].column += further
            stack += children.get(uuid, ())


def _rows(boxes: Mapping[str, Box], parents: Mapping[str, str], children: Mapping[str, list[str]]) -> None:
    """Depth first, each leaf on a row of its own; a parent stands on the row of its first child."""
    next_row = 0
    for root in [uuid for uuid, parent in parents.items() if not parent]:
        stack = [root]
        last_column = -1
        while stack:
            uuid = stack.pop()
            box = boxes[uuid]
            if box.column <= last_column:
                next_row += 1
            box.row, last_column = next_row, box.column
            stack += reversed(children.get(uuid, ()))
        next_row += 1

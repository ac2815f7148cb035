"""Trees of results: what a task sent off, what a group consists of.

On the wire a task is `[[id, parent], null]` and a group `[[id, parent], [member, ...]]`; parents and members are
trees themselves. Celery 3.1 writes the bare id in the place of `[id, parent]`.
Law: no recursion, and no tree deeper than `DEEPEST`: whoever walks one after us may recurse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import BadCall, BadMessage, shown
from ..values import dataclass

DEEPEST = 1000
_WHAT = "result tree"
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Node:
    """A task, or a group when it has members (be it none at all: `()`)."""

    id: str
    parent: Node | None = None
    members: tuple[Node, ...] | None = None

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents left out, in order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.members or ()))

    def leaves(self) -> Iterator[str]:
        """The ids of the tasks in it."""
        return (node.id for node in self.walk() if node.members is None)


def build(node: Node) -> list[Any]:
    """The nested lists of a tree."""
    top: list[Any] = []
    todo: list[tuple[Node, list[Any], int]] = [(node, top, 1)]
    while todo:
        this, place, depth = todo.pop()
        if depth > DEEPEST:
            raise BadCall(f"{_WHAT}: deeper than {DEEPEST}")
        parent: list[Any] | None = None
        if this.parent is not None:
            parent = []
            todo.append((this.parent, parent, depth + 1))
        members: list[Any] | None = None
        if this.members is not None:
            members = [[] for _ in this.members]
            todo.extend((member, spot, depth + 1) for member, spot in zip(this.members, members, strict=True))
        place.extend(([this.id, parent], members))
    return top


def parse(value: Any) -> Node:
    """The tree in nested lists (or tuples)."""
    made: list[Node] = []
    todo: list[_Open | _Close] = [_Open(value, 1)]
    while todo:
        step = todo.pop()
        if isinstance(step, _Close):
            made.append(_closed(made, step))
            continue
        ident, parent, members = _opened(step)
        todo.append(_Close(ident, parent is not None, None if members is None else len(members)))
        if parent is not None:
            todo.append(_Open(parent, step.depth + 1))
        todo.extend(_Open(member, step.depth + 1) for member in reversed(members or ()))
    return made[0]


class _Open(NamedTuple):
    """A value that is yet to be read."""

    value: Any
    depth: int


class _Close(NamedTuple):
    """A node whose parts have all been made when its turn comes."""

    ident: str
    has_parent: bool
    members: int | None


def _opened(step: _Open) -> tuple[str, Any, list[Any] | tuple[Any, ...] | None]:
    value = step.value
    if step.depth > DEEPEST:
        raise BadMessage(_WHAT, f"deeper than {DEEPEST}")
    if not isinstance(value, (list, tuple)) or len(value) != _PAIR:
        raise BadMessage(_WHAT, f"expected [[id, parent], members], got {shown(value)}")
    head, members = value
    ident, parent = head if isinstance(head, (list, tuple)) and len(head) == _PAIR else (head, None)
    if not isinstance(ident, str) or not ident:
        raise BadMessage(_WHAT, f"expected a text, got {shown(ident)}", field="id")
    if members is not None and not isinstance(members, (list, tuple)):
        raise BadMessage(_WHAT, f"expected a list or null, got {shown(members)}", field="members")
    return ident, parent or None, members


def _closed(made: list[Node], step: _Close) -> Node:
    """The node whose parts were made last: its members in order, and after them its parent."""
    parent = made.pop() if step.has_parent else None
    members: tuple[Node, ...] | None = None
    if step.members is not None:
        start = len(made) - step.members
        members = tuple(made[start:])
        del made[start:]
    return Node(step.ident, parent, members)

"""Giving a canvas its ids: who is whose parent, in which group, at which place, and what follows it.

Law: ids come from a callable. `Freezer` changes signatures that the caller owns; `frozen` is the pure door.
The ids are asked for in Celery's order, so the same supply gives the same canvas.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import BadCall
from ..values import dataclass
from .canvas import (
    chord as chord_of,
)
from .canvas import (
    group as group_of,
)
from .canvas import (
    is_empty_group,
    is_led_by_task,
    unrolled_body,
    unrolled_group,
)
from .signature import (
    CHAIN,
    CHORD,
    GROUP,
    Signature,
    body_of,
    cloned,
    is_lazy,
    is_signature,
    link,
    link_error,
    listed,
    members,
    owned,
)

Ids = Callable[[], str]


@dataclass(eq=False, slots=True)
class Node:
    """The promise of a result: its id, what came before it and, for a group, its members."""

    id: str
    parent: Node | None = None
    children: list[Node] | None = None

    def as_tuple(self) -> tuple[Any, Any]:
        """The form that children trees, saved groups and chord_unlock's arguments have."""
        line: list[Node] = []
        node: Node | None = self
        while node is not None:
            line.append(node)
            node = node.parent
        form: tuple[Any, Any] | None = None
        for node in reversed(line):
            inner = None if node.children is None else [child.as_tuple() for child in node.children]
            form = ((node.id, form), inner)
        assert form is not None  # noqa: S101 - the line holds at least this node
        return form


def oldest(node: Node) -> Node:
    """The first result of the line that leads to this one."""
    seen = {node.id}
    while node.parent is not None:
        node = node.parent
        if node.id in seen:
            raise BadCall(f"result {node.id!r} is its own ancestor: the same frozen signature occurs twice")
        seen.add(node.id)
    return node


@dataclass(slots=True)
class Freezer:
    """Assigns ids in place. `linked_chains` is protocol 1: each step is a callback of the one before it."""

    ids: Ids
    reply_to: str
    linked_chains: bool = False
    errback_on_header: bool = False

    def freeze(
        self,
        sig: Signature,
        id: str | None = None,  # noqa: A002 - the wire's word
        *,
        group_id: str | None = None,
        chord: Signature | None = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Node:
        door = _FREEZE.get(sig["subtask_type"], Freezer._freeze_task)
        return door(self, sig, id, group_id, chord, root_id, parent_id, group_index)

    def _freeze_task(
        self,
        sig: Signature,
        id: str | None,  # noqa: A002 - the wire's word
        group_id: str | None,
        chord: Signature | None,
        root_id: str | None,
        parent_id: str | None,
        group_index: int | None,
    ) -> Node:
        options = sig["options"]
        if "task_id" not in options:
            options["task_id"] = id or self.ids()
        if root_id:
            options["root_id"] = root_id
        if parent_id:
            options["parent_id"] = parent_id
        if "reply_to" not in options:
            options["reply_to"] = self.reply_to
        if group_id and "group_id" not in options:
            options["group_id"] = group_id
        if counts(chord):
            options["chord"] = chord
        if group_index is not None:
            options["group_index"] = group_index
        return Node(options["task_id"])

    def _freeze_group(
        self,
        sig: Signature,
        id: str | None,  # noqa: A002, ARG002 - a group's id is its own
        group_id: str | None,
        chord: Signature | None,
        root_id: str | None,
        parent_id: str | None,
        group_index: int | None,
    ) -> Node:
        return Node(*self.freeze_members(sig, group_id, chord, root_id, parent_id, group_index))

    def freeze_members(
        self,
        sig: Signature,
        group_id: str | None = None,
        chord: Signature | None = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> tuple[str, None, list[Node]]:
        options = sig["options"]
        if "task_id" not in options:
            options["task_id"] = self.ids()
        if group_id:
            options["group_id"] = group_id
        if counts(chord):
            options["chord"] = chord
        if group_index is not None:
            options["group_index"] = group_index
        root_id = options.setdefault("root_id", root_id)
        parent_id = options.setdefault("parent_id", parent_id)
        flat: list[Signature] = []
        nodes: list[Node] = []
        stack = deque(members(sig))
        while stack:
            task = cloned(stack.popleft())
            if task["subtask_type"] == GROUP:
                # Onto the left one by one: a nested group comes out backwards, in stock as here.
                stack.extendleft(members(task))
            elif not is_empty_chain(task):
                flat.append(task)
                nodes.append(
                    self.freeze(
                        task,
                        group_id=group_id,
                        chord=chord,
                        root_id=root_id,
                        parent_id=parent_id,
                        group_index=len(nodes),
                    )
                )
        sig["kwargs"]["tasks"] = flat
        return options["task_id"], None, nodes

    def _freeze_chain(
        self,
        sig: Signature,
        id: str | None,  # noqa: A002 - the wire's word
        group_id: str | None,
        chord: Signature | None,
        root_id: str | None,
        parent_id: str | None,  # noqa: ARG002 - only the first step has a parent, known when it is sent
        group_index: int | None,
    ) -> Node:
        _, nodes = self.prepare(
            sig, sig["args"], sig["kwargs"]["tasks"], id, group_id, chord, root_id, group_index, copy=False
        )
        if not nodes:
            raise BadCall("an empty chain has no result")
        return nodes[0]

    def _freeze_chord(
        self,
        sig: Signature,
        id: str | None,  # noqa: A002 - the wire's word
        group_id: str | None,
        chord: Signature | None,
        root_id: str | None,
        parent_id: str | None,
        group_index: int | None,
    ) -> Node:
        kwargs = sig["kwargs"]
        if not is_signature(kwargs["header"]):
            kwargs["header"] = group_of(kwargs["header"])
        body = body_of(sig)
        before = self.freeze(kwargs["header"], root_id=root_id, parent_id=parent_id, chord=body)
        sig["options"]["task_id"] = kwargs["header"]["options"]["task_id"]
        result = self.freeze(body, id, group_id=group_id, chord=chord, root_id=root_id, group_index=group_index)
        oldest(result).parent = before
        return result

    # --- chains ---------------------------------------------------------------------------------------------

    def prepare(
        self,
        sig: Signature,
        args: Iterable[Any],
        tasks: Iterable[Signature],
        last_id: str | None = None,
        group_id: str | None = None,
        chord: Signature | None = None,
        root_id: str | None = None,
        group_index: int | None = None,
        *,
        kwargs: dict[str, Any] | None = None,
        errbacks: Any = None,
        copy: bool = True,
    ) -> tuple[list[Signature], list[Node]]:
        """The steps of a chain, last first as they travel, each with its id, and their results in that order.

        Nested chains are spliced in, a group with a successor becomes a chord, and only the last step reports
        to the group or chord that the chain is part of. With `copy` off the given steps themselves get the ids.
        """
        args = tuple(args)
        steps = _head_first(tasks, copy=copy)
        done: list[Signature] = []
        nodes: list[Node] = []
        before: Signature | None = None
        before_node = Node("")
        first_frozen = True
        while steps:
            task = steps.pop()
            if task["subtask_type"] == GROUP:
                task = unrolled_group(task)
                if is_empty_group(task) and (steps or counts(before)):
                    continue
            if copy and task["subtask_type"] == CHORD and is_led_by_task(body_of(task)):
                steps.extend(unrolled_body(task))
                continue
            if copy:
                task = cloned(task, args, kwargs) if not steps else cloned(task)
            elif not steps:
                task["args"] = (*args, *task["args"])
            if task["subtask_type"] == CHAIN:
                steps.extend(members(task))
                continue
            if task["subtask_type"] == GROUP and before is not None and counts(before):
                done.pop()
                body_node = nodes.pop()
                task = _upgraded(task, before, before_node, root_id)
                before = None
                if done:
                    # What followed the body now follows the chord: cut it loose so that it is tied again below.
                    before, before_node = done[-1], _cut_loose(nodes[-1], body_node)
            if first_frozen:
                node = self.freeze(
                    task, last_id, root_id=root_id, group_id=group_id, chord=chord, group_index=group_index
                )
            else:
                node = self.freeze(task, root_id=root_id)
            first_frozen = False
            if before is not None and counts(before):
                if self.linked_chains:
                    link(task, before)
                before_node.parent = node
            for errback in listed(errbacks):
                link_error(task, errback, on_header=self.errback_on_header)
            done.append(task)
            nodes.append(node)
            before, before_node = task, node
            if task["subtask_type"] == CHORD:
                before_node = oldest(node)
        sig["options"]["task_id"] = nodes[0].id if nodes else last_id
        if copy:
            for task in done:
                strip_header_chords(task)
        return done, nodes

    def unroll_chords(self, sig: Signature) -> None:
        """In place: split the chord bodies in a chain before its tail is copied into every header."""
        if self.linked_chains:
            # A failing header must find the whole body: its tail hangs on it as callbacks.
            return
        pending = deque(members(sig))
        steps: list[Signature] = []
        while pending:
            task = pending.popleft()
            if task["subtask_type"] == CHAIN:
                task = cloned(task)
                self.unroll_chords(task)
            if task["subtask_type"] == CHORD and is_led_by_task(task["kwargs"].get("body")):
                pending.extendleft(reversed(unrolled_body(task)))
            else:
                steps.append(task)
        sig["kwargs"]["tasks"] = steps


def counts(sig: Signature | None) -> bool:
    """There is something to run: to stock Celery a group without tasks is as good as none."""
    return sig is not None and not is_empty_group(sig)


def is_empty_chain(sig: Signature) -> bool:
    return sig["subtask_type"] == CHAIN and not members(sig)


def _head_first(tasks: Iterable[Signature], *, copy: bool) -> deque[Signature]:
    """The steps, with a real task in front: the one that gets the chain's own arguments."""
    steps = deque(tasks)
    stripped: Signature | None = None
    while steps:
        head = steps[0]
        if head["subtask_type"] == CHAIN:
            steps.popleft()
            steps.extendleft(reversed(members(cloned(head) if copy else head)))
            continue
        if head["subtask_type"] == GROUP:
            head = steps[0] = unrolled_group(head)
            if len(steps) > 1 and is_empty_group(head):
                stripped = steps.popleft()
                continue
        break
    if stripped is not None and not steps:
        steps.append(stripped)
    return steps


def _upgraded(task: Signature, body: Signature, node: Node, root_id: str | None) -> Signature:
    options: dict[str, Any] = {"root_id": root_id}
    if node.children is None:
        options = {"task_id": node.id, "root_id": root_id}
    sig = chord_of(task, None, **options)
    sig["kwargs"]["body"] = body
    return sig


def _cut_loose(node: Node, body: Node) -> Node:
    while node.parent is not None and node.parent is not body:
        node = node.parent
    node.parent = None
    return node


def strip_header_chords(sig: Signature) -> None:
    """In place: a chord on its way carries its body once; whoever sends the header puts it on each task again."""
    kind = sig["subtask_type"]
    if kind == CHORD:
        inner = sig["kwargs"]["header"]
        if is_signature(inner):
            _drop_chord(inner)
            strip_header_chords(inner)
        strip_header_chords(body_of(sig))
    elif kind in (GROUP, CHAIN) and not is_lazy(sig["kwargs"]["tasks"]):
        for task in sig["kwargs"]["tasks"]:
            strip_header_chords(task)


def told_once(body: Signature) -> None:
    """In place, of a frozen body: what it is itself to report to, its last tasks need not repeat.

    Whoever runs it hands that on to them. Said twice, it would be twice as long with each chord around it.
    """
    kind = body["subtask_type"]
    if body["options"].get("chord") is None or kind is None:
        return
    if kind == CHORD:
        body["kwargs"]["body"] = owned(body_of(body))
        _drop_chord(body["kwargs"]["body"])
        return
    tasks = body["kwargs"]["tasks"] = members(body)[:]
    for place in range(len(tasks)) if kind == GROUP else (-1,):
        tasks[place] = owned(tasks[place])
        _drop_chord(tasks[place])


def _drop_chord(sig: Signature) -> None:
    """In place: off every task that would report to the chord."""
    sig["options"].pop("chord", None)
    kind = sig["subtask_type"]
    if kind == GROUP:
        for task in members(sig):
            _drop_chord(task)
    elif kind == CHAIN and members(sig):
        _drop_chord(members(sig)[-1])
    elif kind == CHORD:
        _drop_chord(body_of(sig))


_FREEZE: dict[str | None, Callable[..., Node]] = {
    CHAIN: Freezer._freeze_chain,  # noqa: SLF001 - its own table
    GROUP: Freezer._freeze_group,  # noqa: SLF001 - as above
    CHORD: Freezer._freeze_chord,  # noqa: SLF001 - as above
}


def frozen(
    sig: Signature, ids: Ids, reply_to: str, task_id: str | None = None, *, linked_chains: bool = False, **where: Any
) -> tuple[Signature, Node]:
    """A copy of the signature with ids, and the promise of its result. `where`: group_id, root_id, chord, ..."""
    copy = owned(sig)
    return copy, Freezer(ids, reply_to, linked_chains).freeze(copy, task_id, **where)

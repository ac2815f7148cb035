"""Composing signatures: chain, group, chord, and what `|` means between any two of them.

Law: pure. What goes in is never changed; what comes out may share it, so freeze and link copies (`cloned`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import islice
from typing import Any

from ..errors import BadCall, shown
from .signature import (
    CANVAS_TASKS,
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
    signature,
    starmap,
)


def _canvas(kind: str, kwargs: dict[str, Any], options: dict[str, Any]) -> Signature:
    return signature(CANVAS_TASKS[kind], (), kwargs, options, subtask_type=kind)


def raw_chain(tasks: Iterable[Signature], **options: Any) -> Signature:
    """A chain of exactly these steps: nothing is spliced or upgraded before it is sent."""
    return _canvas(CHAIN, {"tasks": list(tasks)}, options)


def chain(*steps: Any, **options: Any) -> Signature:
    """What `a | b | c` gives, in one pass; with options, or of one signature alone, the steps as they stand.

    Like `|`, it may give something other than a chain: `chain([group])` is the group.
    """
    if options or not steps:
        return raw_chain(_spread(steps), **options)
    if len(steps) == 1 and is_signature(steps[0]):
        return raw_chain(steps)
    return _fold(_spread(steps))


def group(*tasks: Any, **options: Any) -> Signature:
    """Tasks to run side by side. An iterator stays lazy: its members are pulled when they are sent."""
    if len(tasks) != 1:
        return _canvas(GROUP, {"tasks": tasks}, options)
    only = tasks[0]
    if is_signature(only):
        inner = only["kwargs"]["tasks"] if only["subtask_type"] == GROUP else [cloned(only)]
        return _canvas(GROUP, {"tasks": inner if is_lazy(inner) else list(inner)}, options)
    return _canvas(GROUP, {"tasks": only if is_lazy(only) else list(only)}, options)


def chord(header: Any, body: Signature | None = None, **options: Any) -> Signature:
    """A group whose results, all of them, are the argument of a body."""
    if is_signature(header):
        tasks = header["kwargs"]["tasks"] if header["subtask_type"] in (GROUP, CHAIN) else [header]
    else:
        tasks = header
    tasks = tasks if is_lazy(tasks) else [cloned(task) for task in tasks]
    return _canvas(CHORD, {"kwargs": {}, "header": tasks, "body": body}, options)


def chunk_group(sig: Signature) -> Signature:
    """The group of starmaps that a `chunks` signature stands for; its items are pulled as it is sent."""
    task, it, n = (sig["kwargs"][key] for key in ("task", "it", "n"))
    if not isinstance(n, int) or n < 1:
        raise BadCall(f"chunks need a size of at least 1, got {shown(n)}")

    def parts() -> Iterator[Signature]:
        items = iter(it)
        while part := list(islice(items, n)):
            yield starmap(task, part)

    return group(parts())


# --- rules that composing and sending share -----------------------------------------------------------------


def is_empty_group(sig: Signature) -> bool:
    return sig["subtask_type"] == GROUP and not is_lazy(sig["kwargs"]["tasks"]) and not sig["kwargs"]["tasks"]


def unrolled_group(sig: Signature) -> Signature:
    """A group of one is that one."""
    tasks = members(sig)
    return tasks[0] if len(tasks) == 1 else sig


def unchained(sig: Signature) -> list[Signature]:
    """Copies of a chain's tasks, with the chain's links on the last and its errbacks on each."""
    tasks = [_linkable(task) for task in members(sig)]
    if tasks:
        for callback in listed(sig["options"].get("link")):
            link(tasks[-1], owned(callback))
    for errback in listed(sig["options"].get("link_error")):
        for task in tasks:
            link_error(task, owned(errback))
    return tasks


def _linkable(sig: Signature) -> Signature:
    """A clone whose group members are its own too: linking reaches into them."""
    return owned(cloned(sig))


def is_led_by_task(body: Signature | None) -> bool:
    """A chain that can be cut after its first step; a group leading it would run the rest once per member."""
    if body is None or body["subtask_type"] != CHAIN:
        return False
    tasks = members(body)
    return bool(tasks) and tasks[0]["subtask_type"] != GROUP


# What a chain keeps for itself when it is sent; everything else is for its first task.
CHAIN_OPTIONS = frozenset({"chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id"})


def unrolled_body(sig: Signature) -> list[Signature]:
    """`chord(h, a | b | c)` as the steps `chord(h, a), b, c`: a long tail is not copied into every header task."""
    copy = cloned(sig)
    body = body_of(copy)
    steps = unchained(body)
    own = {key: value for key, value in body["options"].items() if key not in CHAIN_OPTIONS}
    copy["kwargs"]["body"] = cloned(steps[0], options=own)
    return [copy, *steps[1:]]


# --- the operator -------------------------------------------------------------------------------------------


def joined(left: Signature, right: Signature) -> Signature:
    """`left | right`."""
    for side in (left, right):
        if not is_signature(side):
            raise BadCall(f"only signatures can be joined, got {shown(side)}")
    return _JOIN[left["subtask_type"] if left["subtask_type"] in _JOIN else None](left, right)


def _join_task(left: Signature, right: Signature) -> Signature:
    if right["subtask_type"] == CHAIN:
        return raw_chain([left, *unchained(right)])
    if right["subtask_type"] == GROUP:
        right = unrolled_group(right)
    return raw_chain([left, right])


def _join_group(left: Signature, right: Signature) -> Signature:
    return left if is_empty_group(right) else chord(left, right)


def _join_chord(left: Signature, right: Signature) -> Signature:
    kind = right["subtask_type"]
    if kind == GROUP and len(members(right)) == 1:
        return _with_longer_body(left, unrolled_group(right))
    if kind in (GROUP, CHAIN):
        return _join_task(left, right)
    return _with_longer_body(left, right)


def _join_chain(left: Signature, right: Signature) -> Signature:
    kind = right["subtask_type"]
    if is_empty_group(right):
        return left
    if kind == CHAIN:
        return reduce(joined, unchained(right), left)
    if kind == GROUP:
        right = unrolled_group(right)
        if right["subtask_type"] != GROUP:
            return _join_chain(left, right)
        steps = unchained(left)
        if not steps:
            return right
        if steps[-1]["subtask_type"] == CHORD:
            return raw_chain([*steps[:-1], _with_longer_body(steps[-1], right)])
        return raw_chain([*steps, right])
    last = members(left)[-1]["subtask_type"] if members(left) else None
    if last == GROUP:
        return _close_group(cloned(left), right)
    if last == CHORD and kind != CHORD:
        copy = cloned(left)
        steps = members(copy)
        steps[-1] = _with_longer_body(steps[-1], right)
        return copy
    return raw_chain([*unchained(left), right])


def _close_group(copy: Signature, body: Signature) -> Signature:
    """A chain's last group becomes a chord; after another chord it goes into that one's body."""
    steps = members(copy)
    steps[-1] = chord(steps[-1], body)
    if len(steps) > 1 and steps[-2]["subtask_type"] == CHORD:
        steps[-2:] = [_with_longer_body(steps[-2], steps[-1])]
    return copy


def _with_longer_body(sig: Signature, right: Signature) -> Signature:
    copy = cloned(sig)
    copy["kwargs"]["body"] = joined(body_of(copy), right)
    return copy


_JOIN = {None: _join_task, CHAIN: _join_chain, GROUP: _join_group, CHORD: _join_chord}


# --- folding: the same rules, linear in the number of steps -------------------------------------------------


def _spread(steps: tuple[Any, ...]) -> list[Signature]:
    if len(steps) == 1 and not is_signature(steps[0]):
        steps = steps[0]
    spread = list(steps)
    for step in spread:
        if not is_signature(step):
            raise BadCall(f"a chain is made of signatures, got {shown(step)}")
    return spread


def _fold(tasks: list[Signature]) -> Signature:
    steps: list[Signature] = []
    queue = list(reversed(tasks))
    while queue:
        task = queue.pop()
        kind = task["subtask_type"]
        if is_empty_group(task):
            continue
        if kind == GROUP:
            task = unrolled_group(task)
            if task["subtask_type"] != GROUP:
                queue.append(task)
                continue
            if not steps:
                # What leads with a group is no chain: the rest composes with the group itself.
                return reduce(joined, reversed(queue), task)
        elif kind == CHAIN:
            queue.extend(reversed(unchained(task)))
            continue
        _add_step(steps, task)
    return raw_chain([*map(cloned, steps[:-1]), *steps[-1:]])


def _add_step(steps: list[Signature], task: Signature) -> None:
    last = steps[-1]["subtask_type"] if steps else None
    kind = task["subtask_type"]
    if last == GROUP and kind != GROUP:
        steps[-1] = chord(steps[-1], task)
    elif last == CHORD and kind != CHORD:
        steps[-1] = _with_longer_body(steps[-1], task)
    else:
        steps.append(task)

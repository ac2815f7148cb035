"""What a worker sends once a task has ended: callbacks, the next step, errbacks, a replacement, a chord's body.

Law: pure. Whatever is to be sent comes as the steps of `publishing`; whatever is to be stored comes as values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from ..errors import BadCall
from ..values import dataclass, field
from .canvas import group, joined
from .freezing import Freezer, Ids, Node
from .publishing import Facts, Step, publish
from .signature import (
    CHAIN,
    CHORD,
    GROUP,
    Signature,
    checked,
    extend_links,
    link,
    link_error,
    listed,
    members,
    owned,
    signature,
)


@dataclass(frozen=True, slots=True)
class ExtendChord:
    """The store expects one more result for this header."""

    group_id: str


def succeeded(
    result: Any,
    callbacks: Iterable[Any] | None,
    chain: list[Any] | None,
    *,
    ids: Ids,
    facts: Facts,
) -> Generator[Step, None, list[Node]]:
    """Callbacks, then the next step of the chain, both with the result. Returns the task's new children.

    `facts.parent` is the task that succeeded.
    """
    parent = facts.parent
    if parent is None:
        raise BadCall("a continuation needs to know the task that it continues")
    options = {
        "parent_id": parent.id,
        "root_id": parent.root_id or parent.id,
        "priority": parent.priority if facts.inherit_priority else None,
    }
    children: list[Node] = []
    for sig in _batches([checked(callback, "callback") for callback in callbacks or ()]):
        node = yield from publish(sig, (result,), None, options, ids=ids, facts=facts)
        children += [node] if node else []
    if chain:
        following = checked(chain[-1], "chain")
        node = yield from publish(following, (result,), None, {"chain": chain[:-1], **options}, ids=ids, facts=facts)
        children += [node] if node else []
    return children


def _batches(callbacks: list[Signature]) -> Iterator[Signature]:
    """One callback goes as it is; of several the groups go first, and the rest as one group."""
    if len(callbacks) < 2:  # noqa: PLR2004 - several are more than one
        yield from callbacks
        return
    yield from (sig for sig in callbacks if sig["subtask_type"] == GROUP)
    rest = [sig for sig in callbacks if sig["subtask_type"] != GROUP]
    if rest:
        yield group(rest)


def divided_errbacks(
    errbacks: Iterable[Any] | None, runs_here: Callable[[Signature], bool]
) -> tuple[list[Signature], list[Signature]]:
    """Errbacks to call in this process, and those to send.

    `runs_here`: the task is registered in this worker, unbound, and still takes more than one argument, so it
    can be handed the request, the exception and the traceback.
    """
    here: list[Signature] = []
    away: list[Signature] = []
    for errback in errbacks or ():
        sig = checked(errback, "errback")
        (here if runs_here(sig) else away).append(sig)
    return here, away


def failed(
    task_id: str, root_id: str | None, errbacks: list[Signature], *, ids: Ids, facts: Facts
) -> Generator[Step, None, None]:
    """Send errbacks: a group whose one argument is the id of the task that failed."""
    if errbacks:
        options = {"parent_id": task_id, "root_id": root_id or task_id}
        yield from publish(group(errbacks), (task_id,), None, options, ids=ids, facts=facts)


@dataclass(frozen=True, slots=True)
class LostStep:
    """A step that will never run: it gets the failure's result, and counts in its chord if it is in one."""

    task_id: str
    sig: Signature
    group_id: str | None = None
    group_index: int | None = None
    chord: Signature | None = None


def lost_steps(chain: Iterable[Any] | None) -> Iterator[LostStep]:
    """The rest of a failed chain, as it travels. A chord also loses its body, for which the others wait."""
    queue = deque(chain or ())
    while queue:
        sig = checked(queue.popleft(), "chain")
        options = sig["options"]
        task_id = options.get("task_id")
        if task_id is not None:
            yield LostStep(task_id, sig, options.get("group_id"), options.get("group_index"), options.get("chord"))
        if sig["subtask_type"] == CHORD and sig["kwargs"]["body"] is not None:
            queue.append(sig["kwargs"]["body"])


@dataclass(frozen=True, slots=True)
class Running:
    """The part of a running task's request that its replacement or its helpers take over."""

    id: str
    root_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    chord: Signature | None = None
    chain: list[Signature] | None = None
    callbacks: list[Signature] | None = None
    errbacks: list[Signature] | None = None
    replaced_task_nesting: int = 0


def replacement(sig: Signature, task: Running, *, ids: Ids, facts: Facts) -> Signature:
    """The signature that takes a running task's place: its id, its group and chord, its links, its chain."""
    if "chord" in sig["options"]:
        raise BadCall("a signature that replaces a task must not be part of a chord")
    if sig["subtask_type"] == CHAIN and not members(sig):
        raise BadCall("a task cannot be replaced by an empty chain")
    sig = _ending_in_one_result(owned(sig))
    for callback in listed(task.callbacks):
        link(sig, owned(checked(callback, "callback")))
    for errback in listed(task.errbacks):
        link_error(sig, owned(checked(errback, "errback")), on_header=facts.errback_on_header)
    if sig["subtask_type"] == CHAIN and "link" in sig["options"]:
        # On the last task they run in time, even when more steps follow it.
        extend_links(members(sig)[-1], sig["options"].pop("link"))
    Freezer(ids, facts.reply_to, facts.protocol == 1).freeze(sig, task.id)
    nesting = task.replaced_task_nesting + 1
    sig["options"].update(
        chord=task.chord,
        group_id=task.group,
        group_index=task.group_index,
        root_id=task.root_id,
        replaced_task_nesting=nesting,
    )
    if sig["subtask_type"] == CHAIN:
        for step in members(sig):
            step["options"]["replaced_task_nesting"] = nesting
    for step in reversed(task.chain or ()):
        following = owned(checked(step, "chain"))
        following["options"]["replaced_task_nesting"] = nesting
        sig = joined(sig, following)
    return sig


def _ending_in_one_result(sig: Signature) -> Signature:
    """A group, at the end of a chain too, becomes a chord: one task must be left to carry the id."""
    accumulate = signature("celery.accumulate", (), {"index": 0})
    if sig["subtask_type"] == GROUP:
        return joined(sig, accumulate)
    if sig["subtask_type"] == CHAIN and members(sig)[-1]["subtask_type"] == GROUP:
        steps = members(sig)
        sig["kwargs"]["tasks"] = [*steps[:-1], joined(steps[-1], accumulate)]
    return sig


def added_to_chord(sig: Signature, task: Running, *, ids: Ids, facts: Facts) -> tuple[ExtendChord, Signature]:
    """One more header task for the running task's chord: tell the store first, then send the signature."""
    if not task.chord or not task.group:
        raise BadCall("the task is not part of a chord")
    copy = owned(sig)
    copy["options"].update(group_id=task.group, group_index=task.group_index, chord=task.chord, root_id=task.root_id)
    Freezer(ids, facts.reply_to, facts.protocol == 1).freeze(copy)
    return ExtendChord(task.group), copy


def chord_body(body: Any, results: list[Any], *, ids: Ids, facts: Facts) -> Generator[Step, None, Node | None]:
    """Send a chord's body: all results are its one argument. `facts.parent` is the task that completed it."""
    return publish(checked(body, "chord"), (results,), ids=ids, facts=facts)


@dataclass(frozen=True, slots=True)
class LostBody:
    """A task of a chord's body that will never run: its id, and whom to tell."""

    task_id: str
    errbacks: list[Signature] = field(default_factory=list)


def lost_body(body: Any, *, ids: Ids, facts: Facts) -> tuple[list[LostBody], list[LostStep]]:
    """A header failed: what fails with it, in order, and the steps that were to follow."""
    sig = owned(checked(body, "chord"))
    steps = list(lost_steps(sig["options"].get("chain")))
    if sig["subtask_type"] != GROUP:
        task_id = sig["options"].get("task_id") or ids()
        return [LostBody(task_id, listed(sig["options"].get("link_error")))], steps
    own = listed(sig["options"].get("link_error"))
    node = Freezer(ids, facts.reply_to, facts.protocol == 1).freeze(sig)
    errbacks = dict(map(_errbacks_of, members(sig)))
    lost = [LostBody(child.id, _unique([*errbacks.get(child.id, ()), *own])) for child in node.children or ()]
    return [*lost, LostBody(node.id)], steps


def _errbacks_of(sig: Signature) -> tuple[str | None, list[Signature]]:
    """A chord's result is its body's, so its errbacks are too; a chain answers with its own."""
    errbacks: list[Signature] = []
    while sig["subtask_type"] == CHORD and sig["kwargs"]["body"] is not None:
        errbacks += listed(sig["options"].get("link_error"))
        sig = sig["kwargs"]["body"]
    errbacks += listed(sig["options"].get("link_error"))
    if sig["subtask_type"] == GROUP:
        for task in members(sig):
            errbacks += _errbacks_of(task)[1]
    return sig["options"].get("task_id"), errbacks


def _unique(items: list[Signature]) -> list[Signature]:
    kept: list[Signature] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept

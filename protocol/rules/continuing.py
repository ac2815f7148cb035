"""What follows a task that has ended: who is called next, what is lost with it, which errbacks are told.

Law: pure. What to call is said here; calling it is the room's, since users replace how a signature is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ..values import dataclass
from .signature import CHORD, Signature, checked

_S = TypeVar("_S")


def called_next(
    callbacks: Sequence[_S],
    chain: Sequence[_S] | None,
    lineage: Mapping[str, Any],
    is_group: Callable[[_S], bool],
    group: Callable[[list[_S]], _S],
) -> Iterator[tuple[_S, dict[str, Any]]]:
    """What is called with a task's result, in order and with these options: callbacks, then the chain's next step.

    One callback goes as it is; of several the groups go first, each with a trail of its own, and the rest as one
    group. A chain travels with its next step at its end. `lineage` is said to all: parent, root and priority.
    """
    if len(callbacks) > 1:
        rest = [sig for sig in callbacks if not is_group(sig)]
        callbacks = [*filter(is_group, callbacks), *([group(rest)] if rest else ())]
    for sig in callbacks:
        yield sig, {**lineage}
    if chain:
        yield chain[-1], {"chain": chain[:-1], **lineage}


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
    """The part of a running task's request that says what follows it."""

    id: str
    chord: Signature | None = None
    chain: list[Signature] | None = None
    callbacks: list[Signature] | None = None
    errbacks: list[Signature] | None = None

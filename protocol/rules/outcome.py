"""What a task's run came to, and what follows from it.

Law: values and decisions alone; what a task did is a value here, never an exception. Performing is the worker's.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from ..values import dataclass
from ..wire import states
from .continuing import LostStep, Running, lost_steps
from .signature import Signature


class Fate(Enum):
    """What a run says about its message. How the message is then settled is `delivery`'s, which knows acks."""

    DONE = "the task succeeded, or asked to be ignored"
    FAILED = "the task failed"
    RETRIED = "the task is sent again"
    REJECTED = "the task refused the message"
    REQUEUED = "the task refused the message and wants it back in the queue"


class Report(NamedTuple):
    """What the worker's parent must know of a run: enough for acks, events, logs and metrics, and no more.

    `result` and `error` are texts to show, cut to length; `traceback` goes into the event of a failure.
    """

    state: str
    fate: Fate
    runtime: float = 0.0
    result: str | None = None
    error: str | None = None
    traceback: str | None = None
    internal: bool = False
    """The worker's own machinery failed, not the task."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `value` is what the task returned, or its exception in whatever form the caller has it.

    `requeue` belongs to REJECTED. `internal`: the worker's own machinery failed around the task.
    """

    state: str
    value: Any = None
    traceback: str | None = None
    requeue: bool = False
    internal: bool = False

    @property
    def fate(self) -> Fate:
        if self.state == states.REJECTED and self.requeue:
            return Fate.REQUEUED
        return _FATES[self.state]


_FATES = {
    states.SUCCESS: Fate.DONE,
    states.IGNORED: Fate.DONE,
    states.FAILURE: Fate.FAILED,
    states.RETRY: Fate.RETRIED,
    states.REJECTED: Fate.REJECTED,
}

IGNORED_AFTER = frozenset({states.IGNORED, states.RETRY, states.REJECTED})
"""After these a task's `after_return` is not called."""


# --- what is kept


@dataclass(frozen=True, slots=True)
class Terms:
    """What is stored of a run, in which of its states."""

    results: bool = True
    errors: bool = True
    started: bool = False


def terms(
    ignored: bool,
    *,
    errors_even_if_ignored: bool = False,
    track_started: bool = False,
    eager: bool = False,
    store_eager: bool = False,
) -> Terms:
    """What a run stores. A run in the caller's own process (`eager`) stores nothing, unless the task wants it."""
    if ignored:
        return Terms(results=False, errors=errors_even_if_ignored)
    if eager:
        return Terms(results=store_eager, errors=store_eager)
    return Terms(started=track_started)


# --- what follows


@dataclass(frozen=True, slots=True)
class Continue:
    """Send the callbacks, then the next step of the chain, both with the value. `continuing.succeeded` says what."""

    callbacks: list[Signature] | None
    chain: list[Signature] | None


@dataclass(frozen=True, slots=True)
class Store:
    """Keep the outcome under this state: of the task itself, or of a step that it takes along."""

    task_id: str
    state: str
    lost: LostStep | None = None


@dataclass(frozen=True, slots=True)
class ChordPart:
    """Count it in its chord. `lost`: the step that will never run, unless the store knows that it failed already."""

    task_id: str
    state: str
    lost: LostStep | None = None


@dataclass(frozen=True, slots=True)
class Errbacks:
    """Call or send these: see `continuing.divided_errbacks`."""

    errbacks: list[Signature]


Effect = Continue | Store | ChordPart | Errbacks


def follow(outcome: Outcome, task: Running, kept: Terms, *, errbacks: bool = True) -> Iterator[Effect]:
    """What follows from an outcome, in order. The first effect that fails stops the list: then ask `after_trouble`."""
    state = outcome.state
    if state == states.SUCCESS:
        if task.callbacks or task.chain:
            # Before the result is stored: it names them as children.
            yield Continue(task.callbacks, task.chain)
        if kept.results:
            yield Store(task.id, state)
        if task.chord:
            yield ChordPart(task.id, state)
    elif state == states.RETRY:
        if kept.errors:
            yield Store(task.id, state)
    elif state == states.FAILURE or (state == states.REJECTED and not outcome.requeue):
        # What refused its message for good will never run: who waits for it must hear.
        yield from _failed(task, kept, errbacks)


def _failed(task: Running, kept: Terms, errbacks: bool) -> Iterator[Effect]:
    state = states.FAILURE
    if kept.errors:
        yield Store(task.id, state)
    if task.chord:
        yield ChordPart(task.id, state)
    for step in lost_steps(task.chain):
        if kept.errors:
            yield Store(step.task_id, state, step)
        if step.chord is not None:
            yield ChordPart(step.task_id, state, step)
    if errbacks and task.errbacks:
        yield Errbacks(task.errbacks)


class Trouble(Enum):
    """Why an effect of a success could not be performed."""

    UNWRITABLE = "a value cannot be encoded"
    UNREACHABLE = "the broker or the store cannot be reached"
    OTHER = "something else"


def fails_the_task(trouble: Trouble, *, continued: bool) -> bool:
    """Whether a success becomes a failure of the task; if not, it is the worker's own trouble.

    Once its callbacks are sent (`continued`), a store that is away cannot make it fail any more.
    """
    return trouble is Trouble.UNWRITABLE or (trouble is Trouble.UNREACHABLE and not continued)


# --- a message that came again


def asks_before(*, redelivered: bool, acks_late: bool, deduplicate: bool, persistent: bool) -> bool:
    """Whether to look for a stored SUCCESS before running a task: only a message that came again can have one."""
    return redelivered and acks_late and deduplicate and persistent


def repeated(task: Running, children: list[Any] | None) -> Iterator[Effect]:
    """The task has succeeded before: what may still have to be done, if who ran it died right after its result was
    stored. Children tell that what follows it was sent; its chord counts it once, however often it is told."""
    if not children and (task.callbacks or task.chain):
        yield Continue(task.callbacks, task.chain)
    if task.chord:
        yield ChordPart(task.id, states.SUCCESS)

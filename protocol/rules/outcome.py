"""What a task's run came to, and what follows from it.

Law: values and decisions alone; what a task did is a value here, never an exception. Performing is the worker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What a run says about its message. How the message is then settled is `delivery`'s, which knows acks."""

    DONE = "the task succeeded, or asked to be ignored"
    FAILED = "the task failed"
    RETRIED = "the task is sent again"
    REJECTED = "the task refused the message"
    REQUEUED = "the task refused the message and wants it back in the queue"


@dataclass(frozen=True, slots=True)
class Report:
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

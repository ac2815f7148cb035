"""When a task is tried again: Celery's arithmetic for tasks, and the waits between attempts at a connection.

Law: a decision is a value, and chance is an argument: a number from 0 up to, not including, 1. Whoever holds
`random.random` gives it; whoever tests gives what it likes.
"""

from __future__ import annotations

from datetime import datetime

from ..values import dataclass

DEFAULT_MAX_RETRIES = 3
DEFAULT_RETRY_DELAY = 180


@dataclass(frozen=True, slots=True)
class Again:
    """Publish the task once more, to run at `eta` or after `countdown` seconds, as attempt number `retries`."""

    countdown: float | None
    retries: int
    eta: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The task has been tried again as often as it may: raise what it failed with."""

    retries: int
    max_retries: int


def backoff(factor: int, retries: int, maximum: int, chance: float | None = None) -> int:
    """The countdown before retry number `retries`, counted from 0: it doubles each time, up to a maximum.

    With a chance given it is spread evenly over 0 to that countdown, both included.

    >>> [backoff(1, retries, 600) for retries in (0, 1, 2, 10)]
    [1, 2, 4, 600]
    """
    # Past this many doublings any factor is above the maximum: do not build numbers of a million digits.
    countdown = min(maximum, factor << min(retries, max(maximum, 0).bit_length()))
    if countdown <= 0:
        return 0
    return countdown if chance is None else int(chance * (countdown + 1))


def retry(
    retries: int,
    limit: int | None = DEFAULT_MAX_RETRIES,
    delay: float = DEFAULT_RETRY_DELAY,
    *,
    countdown: float | None = None,
    eta: datetime | None = None,
    max_retries: int | None = None,
) -> Again | Exhausted:
    """What `Task.retry` decides in a run that has been retried `retries` times before.

    `limit` and `delay` are the task's own. An explicit `max_retries` replaces the limit; None never means "without
    end" here, only in the task's.
    """
    most = limit if max_retries is None else max_retries
    following = retries + 1
    if most is not None and following > most:
        return Exhausted(following, most)
    if not eta and countdown is None:
        countdown = delay
    return Again(countdown, following, eta)


def wait_before(tries: int, first: float = 0.0, step: float = 0.2, longest: float = 1.0) -> float:
    """The seconds to wait after so many failed tries, counted from 0, as kombu's policies of retries have it.

    The defaults are those of `task_publish_retry_policy`: `interval_start`, `interval_step` and `interval_max`.

    >>> [wait_before(tries) for tries in range(4)]
    [0.0, 0.2, 0.4, 0.6000000000000001]
    """
    wait = float(first)
    for _ in range(tries if step > 0 else 0):
        if wait + step > longest + first:  # a step that would pass the maximum is not taken
            break
        wait += step
    return min(wait, float(longest))

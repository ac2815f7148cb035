"""When a task is tried again: Celery's arithmetic for tasks, and the waits between attempts to publish.

Law: a decision is a value, and chance is an argument: a number from 0 up to, not including, 1. Whoever holds
`random.random` gives it; whoever tests gives what it likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Any

from ..errors import BadCall, shown
from ..values import dataclass, field

DEFAULT_MAX_RETRIES = 3
DEFAULT_RETRY_DELAY = 180
DEFAULT_BACKOFF_MAX = 600


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


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a task says about its retries, under the names of Celery's task attributes."""

    max_retries: int | None = DEFAULT_MAX_RETRIES
    default_retry_delay: float = DEFAULT_RETRY_DELAY
    retry_backoff: bool | float = False
    retry_backoff_max: int = DEFAULT_BACKOFF_MAX
    retry_jitter: bool = True
    retry_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def factor(self) -> int:
        """The first countdown of the backoff in whole seconds; 0 when there is no backoff."""
        try:
            factor = float(self.retry_backoff)
            return int(max(1.0, factor)) if factor else 0
        except (TypeError, ValueError, OverflowError):
            raise BadCall(f"retry_backoff: expected a number or a bool, got {shown(self.retry_backoff)}") from None

    @property
    def ceiling(self) -> int:
        try:
            return int(self.retry_backoff_max)
        except (TypeError, ValueError, OverflowError):
            raise BadCall(f"retry_backoff_max: expected a number, got {shown(self.retry_backoff_max)}") from None


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
    policy: RetryPolicy,
    retries: int,
    *,
    countdown: float | None = None,
    eta: datetime | None = None,
    max_retries: int | None = None,
) -> Again | Exhausted:
    """What `Task.retry` decides in a run that has been retried `retries` times before.

    An explicit `max_retries` replaces the policy's; None never means "without end" here, only in the policy.
    """
    limit = policy.max_retries if max_retries is None else max_retries
    following = retries + 1
    if limit is not None and following > limit:
        return Exhausted(following, limit)
    if not eta and countdown is None:
        countdown = policy.default_retry_delay
    return Again(countdown, following, eta)


def autoretry(policy: RetryPolicy, retries: int, chance: float, *, max_retries: int | None = None) -> Again | Exhausted:
    """What follows an exception that `autoretry_for` names.

    `max_retries` is the one that the body passed to `retry` in this run, if it did: it wins over `retry_kwargs`.
    """
    wishes = policy.retry_kwargs
    countdown = wishes.get("countdown")
    if policy.factor:
        spread = chance if policy.retry_jitter else None
        countdown = backoff(policy.factor, retries, policy.ceiling, spread)
    limit = wishes.get("max_retries") if max_retries is None else max_retries
    return retry(policy, retries, countdown=countdown, eta=wishes.get("eta"), max_retries=limit)


def publish_waits(
    max_retries: int | None = 3,
    interval_start: float = 0,
    interval_step: float = 0.2,
    interval_max: float = 1,
) -> Iterator[float]:
    """The seconds to wait before each further attempt to publish, as many as there may be; None: without end.

    The names are those of a publishing retry policy (`task_publish_retry_policy`), and so are the defaults.

    >>> list(publish_waits(4))
    [0.0, 0.2, 0.4, 0.6000000000000001]
    """
    wait = float(interval_start)
    for _ in count() if max_retries is None else range(max_retries):
        yield min(wait, float(interval_max))
        if wait + interval_step <= interval_max + interval_start:  # a step that would pass the maximum is not taken
            wait += interval_step

"""What `delivery` is told of a delivery, and what it decides: values alone.

Law: a decision names one delivery by the number that its owner gave it. Of those that settle (`Settle`, `Park`,
`Bury`) each delivery gets exactly one, unless its connection is lost: then it is `Forgotten`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from ..values import dataclass


class How(Enum):
    """What becomes of a message. The names are those of a broker's verdicts."""

    ACK = "done with it"
    DROP = "refused: dead-lettered where the queue says so, else gone"
    REQUEUE = "back to its queue, behind what waits there"
    RESTORE = "back to its queue, as if it had never been taken"


@dataclass(frozen=True, slots=True)
class Manner:
    """How the messages of one task are settled; Celery's task attributes.

    `requeue_lost` is `reject_on_worker_lost`, `retry_lost` is `retry_on_worker_lost` and needs `max_retries`.
    """

    late: bool = False
    ack_failures: bool = True
    ack_timeouts: bool = True
    requeue_lost: bool = False
    retry_lost: bool = False
    max_retries: int | None = 3


EARLY = Manner()


class Arrival(NamedTuple):
    """What must be known of a task message to decide about it. `eta` and `expires` are epoch seconds.

    `owed` False: it came without acknowledgement, the broker has forgotten it already.
    """

    id: str
    name: str
    manner: Manner = EARLY
    eta: float | None = None
    expires: float | None = None
    stamps: Mapping[str, Any] = MappingProxyType({})
    retries: int = 0
    redelivered: bool = False
    owed: bool = True
    losses: int = 0
    """How often it has destroyed what ran it, as far as its message tells."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a worker's settings say about every delivery. Times are seconds.

    `horizon`: what must wait for longer is parked, where the broker can, and comes back `lead` before its time.
    `aside`: how many may wait in memory before no more is taken; None for any number.
    `losses`: how often a message may destroy what runs it before it is buried; None for any number.
    `unknown`: how long and how often a message of an unknown task goes back; None: it is refused at once.
    """

    horizon: float = 60.0
    lead: float = 2.0
    aside: int | None = None
    losses: int | None = None
    unknown: tuple[float, int] | None = None
    cancel_on_loss: bool = False


# --- to the pool


@dataclass(frozen=True, slots=True)
class Submit:
    """Hand it to the pool."""

    number: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask the pool to give it back, if it has not begun."""

    number: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End it where it runs. `cancelled`: not because somebody asked, but because its message is no longer ours."""

    number: int
    signum: int
    cancelled: bool = False


# --- to the broker


@dataclass(frozen=True, slots=True)
class Settle:
    """`losses`: it goes back because what ran it was lost, for that many times now."""

    number: int
    how: How
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Park:
    """The broker keeps it until then."""

    number: int
    until: float


@dataclass(frozen=True, slots=True)
class Bury:
    """To the dead letters, raw and with the reason. It is settled by that."""

    number: int
    why: str


# --- to whoever tells the world: results, events, signals, the log


@dataclass(frozen=True, slots=True)
class Received:
    """It is a task of ours to do, now or later."""

    number: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """It will not run, or was ended: `expired`, `terminated` by `signum`, or by `stamp`."""

    number: int
    expired: bool = False
    terminated: bool = False
    signum: int | None = None
    stamp: tuple[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was ended because its connection is gone. Its message comes again."""

    number: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It was ended for its hard limit; nobody has stored that."""

    number: int
    limit: float


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """What ran it is gone; nobody has stored that."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Unregistered:
    """We know no task of that name."""

    number: int


@dataclass(frozen=True, slots=True)
class Resend:
    """What ran it is gone: send it again as a retry, and tell `resent` how that went."""

    number: int
    why: str


# --- about the number itself


@dataclass(frozen=True, slots=True)
class Adopted:
    """This is the message of the job `by` come again over a new connection: settle the job by this message."""

    number: int
    by: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Not ours any more, and nothing is owed: the broker gives it to somebody."""

    number: int


Decision = (
    Submit
    | Recall
    | Kill
    | Settle
    | Park
    | Bury
    | Received
    | Revoked
    | Cancelled
    | TimedOut
    | WorkerLost
    | Unregistered
    | Resend
    | Adopted
    | Forgotten
)

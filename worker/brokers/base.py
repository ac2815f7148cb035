"""The contract of a broker: what a producer and a worker may ask of it, in ten methods, and the values they pass.

Law: a `Broker` is one connection. It is made connected (`brokers.connect`) and it lives until it fails: the first
`OperationalError` out of it is its end, whoever holds it closes it and connects anew. Every call has a deadline, none
waits without one. A broker is not for several threads at once and never for a forked child (see `brokers.pool`).
`tests/conformance/brokers.py` holds every implementation to each sentence here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from ...protocol.hints import Any, NamedTuple, Protocol, runtime_checkable
from ...protocol.values import dataclass, field
from ...protocol.wire.message import Message
from ...protocol.wire.reprs import Shown
from ...protocol.wire.template import Particulars, Template


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its one binding, as a broker declares them. Times are seconds.

    `routing_key` and `exchange` empty: bound to nothing, reached through the anonymous exchange by its name alone.
    `name` empty: no queue, its exchange alone; for declaring, not for listening.
    """

    name: str
    exchange: str = ""
    exchange_type: str = "direct"
    routing_key: str = ""
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    expires: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    exchange_durable: bool = True
    exchange_auto_delete: bool = False

    @property
    def quorum(self) -> bool:
        return self.arguments.get("x-queue-type") == "quorum"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message and where it goes. `exchange` empty: straight to the queue that the routing key names.

    `texts`, for a broker that can read them alone: headers and properties (without the priority) as JSON, as
    `wire.template.Pieces` has them. The message's own headers and properties, but for the priority, then say nothing.
    `content` is the like for RabbitMQ: all properties as bytes, as `wire.amqp.template` fills them.
    """

    message: Message
    routing_key: str
    exchange: str = ""
    exchange_type: str = "direct"
    texts: tuple[str, str] | None = None
    content: bytes | None = None


class Delivery(NamedTuple):
    """A message that is ours until we settle it. `tag` None: it came without acknowledgement, nothing is owed.

    The message may be a `wire.sealed.Sealed`, which looks like one. A named tuple: a worker makes one for each task.
    """

    tag: Any
    message: Message
    queue: str
    exchange: str
    routing_key: str
    redelivered: bool = False
    priority: int = 0
    losses: int = 0
    """As the `Again` before said."""


class Verdict(Enum):
    """What becomes of a delivery. Nothing else settles one."""

    ACK = "done with it"
    DROP = "refused: dead-lettered where the queue says so, else gone"
    REQUEUE = "back to its queue, behind what waits there"
    RESTORE = "back to its queue, next to be served, as if it had never been taken"


@dataclass(frozen=True, slots=True)
class Park:
    """Taken from us by the broker itself until that time (epoch seconds), then in its queue again."""

    until: float


@dataclass(frozen=True, slots=True)
class Again:
    """As `REQUEUE`, since what ran it was lost; whoever takes it next is told for how many times."""

    losses: int


Settlement = tuple[Delivery, Verdict | Park | Again]


KinFill = Callable[[str, Sequence[Any], Any, "int | None"], Any]
"""From id, args, kwargs and the place in the group to a message."""


class Form(Protocol):
    """One template to one place. It is no part of a connection: any broker of the same kind and options sends it."""

    place: Any
    """Forms of the same place may be sent together."""

    def fill(self, given: Particulars) -> Any:
        """A message with these particulars, for `send_filled`."""

    def kin(
        self, shown: Shown, root_id: str | None = None, parent_id: str | None = None, group: str | None = None
    ) -> KinFill:
        """The same for calls that have these in common and no eta: `fill`, with less to do for each. Their arguments
        are shown as `saferepr` does."""


@runtime_checkable
class Forming(Protocol):
    """A broker that can "form"."""

    def form(self, template: Template, routing_key: str, exchange: str, exchange_type: str) -> Form | None:
        """None: messages to this place are sent as parcels."""

    def send_filled(self, form: Any, pieces: Sequence[Any]) -> None:
        """`send`, of what a form has filled."""


ABILITIES: Mapping[str, str] = {
    "priority": "serves by the message's priority",
    "fanout": "gives every queue of a fanout exchange its copy",
    "park": "keeps a message until a time, without anybody holding it",
    "confirm": "`send` returns only when the broker has said that it has the messages",
    "dead-letter": "`DROP` sends a message to its queue's x-dead-letter-exchange",
    "texts": "sends a parcel's `texts` as they are",
    "content": "sends a parcel's `content` as it is",
    "descriptor": "`fileno` tells when there is something to take",
    "arm": "`arm` says whether it is worth while to `take` again",
    "entrust": "`entrust`: its acknowledgements survive the process",
    "inherit": "`inherit`: what a lost connection held comes back at once",
    "share": "`share`: each queue is given a part of the credit",
    "form": "`form` and `send_filled`: what stays the same from message to message is made once",
}


class Broker(Protocol):
    """One connection to one broker."""

    can: frozenset[str]
    """What it can do beyond the least: any of `ABILITIES`. Those that a worker alone asks for: see `abilities`."""

    def declare(self, queues: Sequence[Queue]) -> None:
        """Make the queues, their exchanges and bindings, where they are not yet. Never changes what exists."""

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Publish all, in order. Returns when the broker has them: after an error some may have arrived."""

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        """From now on take from these queues and no others. `credit`: at most so many deliveries unsettled.

        Without `acks` what is taken is gone from the broker at once. The queues are declared first.
        """

    def take(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` deliveries within the credit; waits up to `timeout` seconds for the first, never for more.

        From the moment a message leaves its queue it is in our name in the broker: nothing is in nobody's hands.
        """

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle deliveries of this connection, in order. An `ACK` is written at once, and no answer waited for: what
        fails may come out of a later call. The rest may be written only at the next `tend`, `take` or `close`."""

    def tend(self, now: float) -> float:
        """Everything that must happen by the clock (epoch seconds): write what waits, send heartbeats, renew what is
        held, give back what the dead held, move parked messages that are due. Returns when to call again."""

    def size(self, queue: str) -> int:
        """How many messages wait in the queue. A queue that does not exist has none."""

    def purge(self, queue: str) -> int:
        """Delete what waits in the queue (not what is held from it), and say how much that was."""

    def fileno(self) -> int:
        """A descriptor that is readable when `take` may have something. -1 where there is none ("descriptor")."""

    def close(self) -> None:
        """Put back what is held, as `RESTORE` does, write what waits, and leave. Never raises, may be called twice."""

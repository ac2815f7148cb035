"""What a worker may ask of the brokers that can do more than the least. Their words are in `base.ABILITIES`."""

from __future__ import annotations

from collections.abc import Callable

from ...protocol.hints import TYPE_CHECKING, Protocol, runtime_checkable
from .base import Broker

if TYPE_CHECKING:
    import socket


@runtime_checkable
class Arming(Protocol):
    """A broker that can "arm"."""

    def arm(self) -> bool:
        """Whether `take` may have more at once. If not, `fileno` tells of the next message."""


@runtime_checkable
class Entrusting(Protocol):
    """A broker that can "entrust"."""

    def entrust(self, keep: Callable[[socket.socket | None], None], telling: Callable[[bytes], None]) -> None:
        """`keep` is given the connection that acknowledgements are written to, and `telling` their bytes before each
        write: so another process can complete a write that this one is killed in. Whatever ends this connection
        ends it for that process too."""


@runtime_checkable
class Sharing(Protocol):
    """A broker that can "share"; one that takes from its queues in turn need not."""

    def share(self, each: int) -> None:
        """From the next `listen` on no queue is given more than so many of the credit at a time. 0: any number."""


@runtime_checkable
class Inheriting(Protocol):
    """A broker that can "inherit"; one that gives back by itself what a lost connection held need not."""

    def inherit(self, before: Broker) -> None:
        """`before`, another connection of ours, was lost and is closed: put back what it held, as `RESTORE` does."""

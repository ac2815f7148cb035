"""What we hold from the broker, and what of it was settled and not yet written.

Law: an acknowledgement for many speaks for all before it that are not settled: it is written only where that is true,
and after the rejections. Rejections go out oldest first: the broker puts each where it was, and may serve it again
before it reads of the next.
"""

from __future__ import annotations

from bisect import bisect_left

from ...protocol.wire.amqp.frames import write_ack, write_reject
from ...protocol.wire.amqp.inbox import Delivery as Arrived

CHANNEL = 2


class Held:
    """A delivery in our name. Its identity is the tag: no other connection's delivery is ever equal to it."""

    __slots__ = ("arrived", "settled")

    def __init__(self, arrived: Arrived, settled: bool) -> None:
        self.arrived = arrived
        self.settled = settled


class Ledger:
    def __init__(self) -> None:
        self._owed: dict[int, Held] = {}  # by delivery tag, which only grows
        self._acked: list[int] = []
        self._rejected: list[tuple[int, bytes]] = []

    def enter(self, held: Held) -> None:
        self._owed[held.arrived.delivery_tag] = held

    def has(self, held: Held) -> bool:
        return self._owed.get(held.arrived.delivery_tag) is held

    def ack(self, held: Held) -> None:
        number = held.arrived.delivery_tag
        del self._owed[number]
        self._acked.append(number)

    def reject(self, held: Held, *, requeue: bool) -> None:
        number = held.arrived.delivery_tag
        del self._owed[number]
        self._rejected.append((number, write_reject(CHANNEL, number, requeue=requeue)))

    def frames(self) -> bytes:
        """What is to be written now; it counts as written."""
        if not self._acked and not self._rejected:
            return b""
        frames = [frame for _, frame in sorted(self._rejected)]
        if self._acked:
            acked, lowest = self._acked, next(iter(self._owed), None)
            acked.sort()
            covered = len(acked) if lowest is None else bisect_left(acked, lowest)
            if covered:
                frames.append(write_ack(CHANNEL, acked[covered - 1], multiple=covered > 1))
            frames += [write_ack(CHANNEL, number) for number in acked[covered:]]
            self._acked = []
        self._rejected.clear()
        return b"".join(frames)

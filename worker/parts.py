"""Which part of what a broker gives at once each of several queues may have, so that all are served in turn.

Law: the parts are never more than the whole; what they would come to beyond it, the last queues would starve for. A
queue may be the only one that is full, and the pool must live on its part. To end the parts is to leave all queues and
to come back: that is done once for each connection, and no part is given out on it again.
"""

from __future__ import annotations

from .brokers.abilities import Sharing
from .brokers.base import Broker


class Parts:
    """Of one connection after the other. `each` is how many one queue may give; 0: there are no parts."""

    __slots__ = ("_broker", "each")

    def __init__(self) -> None:
        self._broker: Sharing | None = None
        self.each = 0

    def connected(self, broker: Broker) -> None:
        self._broker = broker if "share" in broker.can and isinstance(broker, Sharing) else None
        self.each = 0

    def give(self, window: int, queues: int, size: int, *, late: bool) -> None:
        """Before `listen`. Early acknowledged, what begins makes way for the next; if `late`, one of a process runs and
        one is ready."""
        if self._broker is not None:
            part = window // max(queues, 1)
            self.each = part if queues > 1 and part >= (2 * size if late else max(1, size // 2)) else 0
            self._broker.share(self.each)

    def end(self) -> bool:
        """What is kept for later, or until there are more of it, would use up the part of its queue, and what is quick
        wants more than a part. True: `listen` must say so now."""
        if self._broker is None:
            return False
        self._broker.share(0)
        ended = self.each > 0
        self._broker, self.each = None, 0
        return ended

    def hold_up(self, busy: int, room: int, size: int) -> bool:
        """Whether a pool of this size that has so many waits for more though it has all that one queue may give."""
        each = self.each
        return each > 0 and room > 0 and busy <= each + size and busy + room > max(each, size)

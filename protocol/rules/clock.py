"""The logical clock that orders what a cluster's nodes tell each other (Lamport's, as events and control carry it).

Law: the value only grows, and no message can push it out of the 63 bits that every peer can read.
"""

from __future__ import annotations

from ..errors import BadMessage, shown
from ..values import dataclass

HIGHEST = 2**63 - 1
"""What a signed 64-bit field holds: Go, Java and AMQP peers read no more."""


@dataclass(slots=True)
class Clock:
    """One node's clock. Not for several threads at once: its owner guards it."""

    value: int = 0

    def forward(self) -> int:
        """The value to send with the next message."""
        if self.value < HIGHEST:
            self.value += 1
        return self.value

    def adjust(self, other: object) -> int:
        """Take in the clock of a received message: ours is later than both from here on."""
        if type(other) is not int or not 0 <= other < HIGHEST:
            raise BadMessage("clock", f"expected an integer from 0 to 2**63-2, got {shown(other)}")
        self.value = max(self.value, other)
        return self.forward()

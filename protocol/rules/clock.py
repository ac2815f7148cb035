"""The logical clock that orders what a cluster's nodes tell each other (Lamport's, as events and control carry it).

Law: the value only grows, and no message can push it out of the 63 bits that every peer can read: a node beyond them
would be refused by all others from then on.
"""

from __future__ import annotations

HIGHEST = 2**63 - 1
"""What a signed 64-bit field holds: Go, Java and AMQP peers read no more."""


def forwarded(value: int) -> int:
    """The value to send with the next message."""
    return min(value + 1, HIGHEST)


def adjusted(value: int, other: int) -> int:
    """After a message that carried `other`: later than both."""
    return forwarded(max(value, other))

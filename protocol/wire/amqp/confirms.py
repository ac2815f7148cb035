"""Which publishes of a channel the broker has answered for.

Law: publishes are numbered from 1 as they leave, the broker answers by number, alone or for all up to it, in any order.
A message is safe when its number came back accepted, and not a moment before.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import BadMessage
from .inbox import Confirmed


class Confirms:
    """The window of one channel in confirm mode."""

    __slots__ = ("_ahead", "first", "sent")

    def __init__(self) -> None:
        self.sent = 0
        """The number of the last publish."""
        self.first = 1
        """The lowest number without an answer: beyond `sent` where none waits.

        Who publishes one while none waits, and hears its answer, may count both up by himself.
        """
        self._ahead: set[int] = set()  # answered, above it

    def published(self, count: int = 1) -> int:
        """The number of the publish that leaves now; of the last, where there are several."""
        self.sent += count
        return self.sent

    def settle(self, answer: Confirmed) -> Sequence[int]:
        """The publishes that this answer speaks for, in order. Zero with `multiple` speaks for all."""
        tag = answer.delivery_tag
        if tag > self.sent or (tag == 0 and not answer.multiple):
            raise BadMessage("publisher confirm", f"for number {tag}, {self.sent} were published")
        first, ahead = self.first, self._ahead
        settled: Sequence[int]
        if answer.multiple:
            last = tag or self.sent
            settled = range(first, last + 1)
            if ahead:
                settled = [number for number in settled if number not in ahead]
                ahead = self._ahead = {number for number in ahead if number > last}
            first = max(first, last + 1)
        elif tag < first or tag in ahead:
            return ()
        else:
            settled = (tag,)
            if tag > first:
                ahead.add(tag)
                return settled
            first += 1
        while first in ahead:
            ahead.remove(first)
            first += 1
        self.first = first
        return settled

    def __len__(self) -> int:
        """How many have no answer yet."""
        return self.sent + 1 - self.first - len(self._ahead)

    @property
    def waiting(self) -> tuple[int, ...]:
        """What has no answer yet. When the connection is gone, these may or may not have arrived."""
        return tuple(number for number in range(self.first, self.sent + 1) if number not in self._ahead)

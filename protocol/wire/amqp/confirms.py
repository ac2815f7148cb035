"""Which publishes of a channel the broker has answered for.

Law: publishes are numbered from 1 as they leave, the broker answers by number, alone or for all up to it, in any order.
A message is safe when its number came back accepted, and not a moment before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...errors import BadMessage
from .inbox import Confirmed


class Settled(NamedTuple):
    number: int
    accepted: bool


class Confirms:
    """The window of one channel in confirm mode."""

    __slots__ = ("_open", "_sent")

    def __init__(self) -> None:
        self._sent = 0
        self._open: dict[int, None] = {}  # in the order of publishing

    def published(self) -> int:
        """The number of the publish that leaves now."""
        self._sent += 1
        self._open[self._sent] = None
        return self._sent

    def settle(self, answer: Confirmed) -> list[Settled]:
        """The publishes that this answer speaks for. Zero with `multiple` speaks for all."""
        tag = answer.delivery_tag
        if tag > self._sent or (tag == 0 and not answer.multiple):
            raise BadMessage("publisher confirm", f"for number {tag}, {self._sent} were published")
        numbers: Iterable[int] = (tag,) if tag in self._open else ()
        if answer.multiple:
            numbers = self._up_to(tag or self._sent)
        settled = [Settled(number, answer.accepted) for number in numbers]
        for number, _ in settled:
            del self._open[number]
        return settled

    def _up_to(self, tag: int) -> Iterable[int]:
        for number in self._open:
            if number > tag:
                return
            yield number

    @property
    def sent(self) -> int:
        """The number of the last publish."""
        return self._sent

    def __len__(self) -> int:
        """How many have no answer yet."""
        return len(self._open)

    @property
    def waiting(self) -> tuple[int, ...]:
        """What has no answer yet. When the connection is gone, these may or may not have arrived."""
        return tuple(self._open)

"""Counting a chord: how many results complete its header, and whose it is to send the body.

Law: a header task counts once per place, however often it runs. Who completes the header has a claim for a time, and
once the body went out nothing starts it again. `now` is given. The store in memory counts by this machine, and the
conformance suite of the result stores holds the scripts and counters of all others to the same.
"""

from __future__ import annotations

from typing import Any

from ..values import dataclass, field
from .signature import CHAIN, CHORD, GROUP, Signature

_LAST = float("inf")


def leaves(sig: Signature) -> int:
    """How many results a header entry will report: a chain only its last step's, a chord only its body's."""
    kind, kwargs = sig["subtask_type"], sig["kwargs"]
    if kind == GROUP:
        return sum(map(leaves, kwargs["tasks"]))
    if kind == CHORD:
        return leaves(kwargs["body"])
    if kind == CHAIN:
        # The last step that reports anything speaks for the chain.
        return next((count for step in reversed(kwargs["tasks"]) if (count := leaves(step))), 0)
    return 1


@dataclass
class Chord:
    """One chord in a store. A member is whatever the store keeps of it, under its task and its place in the header."""

    size: int | None = None
    added: int = 0
    members: dict[tuple[str, float], Any] = field(default_factory=dict)
    token: str = ""
    claimed_until: float = 0
    over: bool = False

    @property
    def complete(self) -> bool:
        return self.size is not None and len(self.members) == self.size + self.added

    def expect(self, size: int) -> None:
        """The producer says how many. A chord that is sent again begins anew, with what was counted already."""
        self.size, self.over, self.claimed_until = size, False, 0

    def extend(self, more: int = 1) -> None:
        """A header task sent more header tasks (`add_to_chord`)."""
        self.added += more

    def report(
        self, mark: tuple[str, int | None], member: Any, token: str, now: float, seconds: float, size: int | None = None
    ) -> bool:
        """A header task ended. True: whoever reported it is to send the body, and has so many seconds for that.

        `mark`: its id and its place. `size` is what the message says, for a chord whose producer told the store none.
        Told again under the same token it is the same claim; under another it is one only when the first has lapsed.
        """
        if self.over:
            return False
        task_id, index = mark
        self.members.setdefault((task_id, _LAST if index is None else index), member)
        if self.size is None:
            self.size = size
        if not self.complete or (self.claimed_until > now and self.token != token):
            return False
        self.token, self.claimed_until = token, now + seconds
        return True

    def taken(self, now: float) -> bool:
        """Somebody has a claim, who may be dead: whoever waits until it lapses gets it, if he is told of a member."""
        return not self.over and self.claimed_until > now

    def hold(self, token: str, until: float) -> bool:
        """Just before the body goes out: does the claim still hold? One that lapsed does until another takes it."""
        if self.over or self.token != token:
            return False
        self.claimed_until = until
        return True

    def end(self, token: str, *, keep: bool) -> None:
        """The body went out, or never will (`keep` its members, for who asks why): no late copy changes anything."""
        if self.over or self.token != token:
            return
        self.size, self.added, self.token, self.claimed_until, self.over = None, 0, "", 0, True
        if not keep:
            self.members = {}

    def in_order(self, *, by_place: bool) -> list[Any]:
        """The members as the body gets them: by their place in the header, else by arrival."""
        marks = sorted(self.members, key=lambda mark: mark[1]) if by_place else list(self.members)
        return [self.members[mark] for mark in marks]

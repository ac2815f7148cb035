"""Counting a chord: how many results complete its header, and which result completes it.

Law: a header task counts once per place, however often it runs; one result completes the chord, and after the
body went out nothing can start it again. The machine is what the stores' scripts must agree with.
"""

from __future__ import annotations

from typing import Any

from ..values import dataclass, field
from .signature import CHAIN, CHORD, GROUP, Signature

EXCEPTION_STATES = frozenset({"RETRY", "FAILURE", "REVOKED"})
FAILED_STATES = frozenset({"FAILURE", "REVOKED"})
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


def part_key(task_id: str, group_index: int | None) -> str:
    """The name under which a part is counted: one frozen signature may stand in a header twice."""
    return f"{task_id}:{'+inf' if group_index is None else group_index}"


@dataclass(frozen=True, slots=True)
class Part:
    """What one header task came to."""

    task_id: str
    state: str
    result: Any
    group_index: int | None = None

    @property
    def failed(self) -> bool:
        return self.state in FAILED_STATES

    def member(self) -> list[Any]:
        """The form in which the store keeps it."""
        return [1, self.task_id, self.state, self.result]


@dataclass(frozen=True, slots=True)
class Count:
    """How the chord stands after a part. `claimed`: whoever reported it is to send the body."""

    ready: int
    size: int | None
    extra: int
    claimed: bool


@dataclass
class Chord:
    """One chord in a store. `ordered` keeps results by place in the header, else by arrival."""

    ordered: bool = True
    size: int | None = None
    extra: int = 0
    done: bool = False
    claim: str | None = None
    parts: list[tuple[float, int, Part]] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)

    def expect(self, size: int) -> None:
        """The producer says how many; sending a frozen chord again starts a new count of claims."""
        self.size = size
        self.done = False
        self.claim = None

    def extend(self, more: int = 1) -> None:
        """add_to_chord: a header task sent more header tasks."""
        self.extra += more

    def report(self, part: Part, token: str) -> Count | None:
        """A header task ended. None once the body is out: a late copy changes nothing."""
        if self.done:
            return None
        key = part_key(part.task_id, part.group_index)
        if key not in self.counted:
            place = _LAST if part.group_index is None else float(part.group_index)
            self.parts.append((place, len(self.parts), part))
            self.counted.add(key)
        ready = len(self.parts)
        complete = self.size is not None and ready == self.size + self.extra
        claimed = complete and self.claim is None
        if claimed:
            self.claim = token
        return Count(ready, self.size, self.extra, claimed)

    def extend_claim(self, token: str) -> bool:
        """Just before the body goes out: does the claim still hold? A lapsed one can be taken again."""
        if self.claim is None and self.size is not None and not self.done:
            self.claim = token
        return self.claim == token

    def lapse(self) -> None:
        """The claimer took too long; the next copy of a part may claim."""
        self.claim = None

    def results(self) -> list[Part]:
        """The parts in the order of the body's argument."""
        parts = sorted(self.parts, key=lambda entry: entry[:2]) if self.ordered else self.parts
        return [part for _, _, part in parts]

    def finish(self, token: str) -> bool:
        """The body went out: forget everything but that."""
        if self.claim != token:
            return False
        self.parts, self.counted, self.size, self.extra, self.done, self.claim = [], set(), None, 0, True, None
        return True

    def fail(self) -> None:
        """The body will not run: without a size, no late copy can complete the chord and fail it again."""
        self.size = None


def culprit(parts: list[Part]) -> Part | None:
    """The first part, in order, that keeps the body from running."""
    return next((part for part in parts if part.failed), None)


def header_results(parts: list[Part]) -> list[Any]:
    """The body's one argument."""
    return [part.result for part in parts]


def dependency_error(part: Part, shown_error: str) -> str:
    """The text of the ChordError that the body gets."""
    return f"Dependency {part.task_id} raised {shown_error}"

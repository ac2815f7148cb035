"""How long the oldest message of a Redis list has waited: by what it says itself, by events, or by looking again.

Messages of Celery do not say when they were sent. Whoever looks at a list more than once knows all the same: new ones
come in at the head, and the tail is served. What was there at an earlier look has left when as many have been served as
there were then; how many have been served shows in where a message that was seen then stands now.

Law: looking changes nothing. What is told is proven: a message has waited `at least` so long; without that word it is
right to the time between two looks. A list is looked at in one transaction, at a cost that does not grow with it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...protocol.wire.resp import Command

_PROBES = (0, 10, 100, 1000, 10_000)
"""At these distances from the tail messages are remembered, to be found again."""
_DEEPEST = 20_000
"""And at the head, if that is no deeper."""
_SLACK = 1000
"""So many may have been put back at the tail in between, and one is found all the same."""
_LARGEST = 16_384
_MARKS = 400
_ROUGHLY = 10.0  # seconds, or a fifth: an age that is known no better is told as a bound


class Mark(NamedTuple):
    """From `first` to `last` the list was looked at, and its newest message leaves when `leaves` have been served."""

    first: float
    last: float
    leaves: int


class Age(NamedTuple):
    """Of the oldest message: since when it waits, epoch seconds. `sure`: not only at least since then."""

    since: float
    sure: bool


@dataclass(slots=True)
class List:
    """What is known of one list."""

    served: int = 0
    marks: list[Mark] = field(default_factory=list)
    probes: list[tuple[int, bytes]] = field(default_factory=list)
    """Messages of the last look, with their distances from the tail then."""

    def taken_in(self, length: int, found: Sequence[int | None], now: float) -> Age | None:
        """A look: how long the list is, and where the probes stand now, from the tail. None: it is empty."""
        self._serve(found)
        marks, leaves = self.marks, self.served + length
        if marks and marks[-1].leaves > leaves:  # some were taken out of the middle, and nobody knows which
            marks.clear()
        if marks and marks[-1].leaves == leaves:
            marks[-1] = marks[-1]._replace(last=now)
        else:
            marks.append(Mark(now, now, leaves))
        standing = next((at for at, mark in enumerate(marks) if mark.leaves > self.served), len(marks))
        del marks[: max(standing - 1, 0)]  # of those that have left, the last one
        if len(marks) > _MARKS:  # what was long ago is told apart less well
            del marks[2 : _MARKS // 2 : 2]
        if not length:
            return None
        if not standing:
            return Age(marks[0].first, sure=False)
        since = marks[1].first
        return Age(since, sure=since - marks[0].last <= max(_ROUGHLY, (now - since) / 5))

    def _serve(self, found: Sequence[int | None]) -> None:
        """Count who has been served since the last look."""
        for (distance, _), place in zip(self.probes, found, strict=True):
            if place is not None:
                self.served += distance - place
                return
        leaves = self.marks[-1].leaves if self.marks else self.served
        before = leaves - self.served
        if before and (not self.probes or self.probes[-1][0] != before - 1):
            self.marks.clear()  # the newest one was not among those that are looked for
        self.served = leaves

    def document(self) -> list[Any]:
        probes = [[distance, b64encode(data).decode()] for distance, data in self.probes]
        return [self.served, [list(mark) for mark in self.marks], probes]

    @classmethod
    def read(cls, document: Any) -> List:
        """What `document` gave. Raises TypeError or ValueError."""
        served, marks, probes = document
        return cls(
            int(served),
            [Mark(float(first), float(last), int(leaves)) for first, last, leaves in marks],
            [(int(distance), b64decode(data)) for distance, data in probes],
        )


class Ages:
    """Of many lists, by their keys: a memory for who looks again and again. It can be kept as a document."""

    def __init__(self, document: Mapping[str, Any] | None = None) -> None:
        self._lists = {key: List.read(each) for key, each in (document or {}).items()}

    def commands(self, key: str) -> list[Command]:
        """What is to be asked of a list, in one transaction."""
        known = self._lists.get(key) or List()
        places = [("LPOS", key, data, "RANK", -1, "MAXLEN", distance + _SLACK) for distance, data in known.probes]
        new = [("LINDEX", key, -1 - distance) for distance in _PROBES]
        return [("LINDEX", key, 0), *new, *places]

    def told(self, key: str, length: int, answers: Sequence[Any], now: float) -> Age | None:
        """What its length then and the answers to `commands` say. None: nothing waits."""
        head, *rest = answers
        new, places = rest[: len(_PROBES)], rest[len(_PROBES) :]
        known = self._lists.setdefault(key, List())
        age = known.taken_in(length, [None if place is None else length - 1 - place for place in places], now)
        seen = [*zip(_PROBES, new, strict=True), *([(length - 1, head)] if 0 < length <= _DEEPEST else [])]
        known.probes = sorted(
            {distance: data for distance, data in seen if data is not None and len(data) <= _LARGEST}.items()
        )
        return age

    def empty(self, key: str, now: float) -> None:
        """There is no such list: nothing waits in it."""
        known = self._lists.setdefault(key, List())
        known.taken_in(0, [None] * len(known.probes), now)
        known.probes = []

    def keep(self, keys: Iterable[str]) -> None:
        """Forget the others."""
        kept = set(keys)
        self._lists = {key: each for key, each in self._lists.items() if key in kept}

    def document(self) -> dict[str, Any]:
        return {key: each.document() for key, each in self._lists.items()}

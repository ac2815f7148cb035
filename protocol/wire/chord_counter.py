"""A chord in a store that adds and counts but runs no scripts: memcached, DynamoDB.

Celery counts under `chord-unlock-<group id>`, saves the group, and lets whoever counts the last member collect all
results. That loses a chord with the worker that dies in between, and counts a message that comes twice twice. So our
workers leave more behind, under names that Celery's do not look at: `.s` the size, `.t` what was added, `.c` who sends
the body (or `done`), `.<task id>:<index>` that a member was seen, and `.<number>` what the member said that got that
number.
Law: the counter tells when it is worth looking; complete is a chord whose members are all there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from ..errors import BadMessage, shown
from ..values import dataclass
from .chord_keys import Member, build_member, parse_member
from .stored import JSON, Codec
from .stores import Keys

DONE: Final = b"done"
_WHAT = "chord member"


@dataclass(frozen=True, slots=True)
class CounterKeys:
    """The keys of one chord."""

    count: str
    saved: str

    @classmethod
    def of(cls, keys: Keys, group_id: str) -> CounterKeys:
        return cls(keys.chord(group_id), keys.group(group_id))

    @property
    def size(self) -> str:
        return f"{self.count}.s"

    @property
    def added(self) -> str:
        return f"{self.count}.t"

    @property
    def claim(self) -> str:
        return f"{self.count}.c"

    def mark(self, task_id: str, index: int | None) -> str:
        return f"{self.count}.{task_id}:{'+inf' if index is None else index}"

    def seats(self, count: int) -> list[str]:
        return [f"{self.count}.{number}" for number in range(1, count + 1)]


@dataclass(frozen=True, slots=True)
class Seat:
    """A member where its number says, and its place in the header."""

    index: int | None
    member: Member

    @property
    def mark(self) -> tuple[str, int | None]:
        return self.member.task_id, self.index


def build_seat(member: Member, index: int | None, codec: Codec = JSON) -> bytes:
    """`<index>:` and the member as it stands in Redis."""
    return b"%b:%b" % (b"" if index is None else b"%d" % index, build_member(member, codec))


def parse_seat(data: bytes, codec: Codec = JSON) -> Seat:
    place, colon, member = data.partition(b":")
    if not colon or not (not place or place.removeprefix(b"-").isdigit()) or len(place) > 20:  # noqa: PLR2004 - 64 bits
        raise BadMessage(_WHAT, f"expected <index>:<member>, got {shown(data)}", field="index")
    return Seat(int(place) if place else None, parse_member(member, codec))


def in_order(seats: Iterable[Seat]) -> list[Seat]:
    """By their places in the header, those without one last."""
    return sorted(seats, key=lambda seat: math.inf if seat.index is None else seat.index)


def number(data: bytes | None) -> int | None:
    """A count as the store holds it (memcached pads it with spaces when it gets shorter)."""
    text = (data or b"").strip()
    if not text:
        return None
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004 - 64 bits
        raise BadMessage("chord count", f"expected a number, got {shown(data)}")
    return int(text)

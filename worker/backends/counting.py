"""Chords in stores that add and count but run no scripts, beside stock workers that count the same chord.

Law: a member's part is told by several commands, each of which may be the last of a worker's life; told again, it is
taken up where it was left. What the counter says is a hint: a chord is complete when every member is found, and one
atomic `add` decides who sends the body. Celery's workers give up a chord whose group is not saved: where some of
them run, the sender starts a chord before its first message, with the header's tree.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from ...protocol.errors import BadMessage
from ...protocol.wire import children
from ...protocol.wire.chord_counter import DONE, CounterKeys, Seat, build_seat, in_order, number, parse_seat
from ...protocol.wire.chord_keys import Member, done_seconds
from ...protocol.wire.result import Result, build_group
from .base import Claim, KeyValueStore, unreadable


class CountingStore(KeyValueStore):
    """Implementations give four commands more, each of them atomic."""

    can = frozenset({"group", "shared", "chord"})

    @abstractmethod
    def add(self, key: str, value: bytes, expires: int) -> bool:
        """Put the value where there is none. False: there is one."""

    @abstractmethod
    def swap(self, key: str, old: bytes, new: bytes, expires: int) -> bool:
        """Put the new value where the old one is. False: it is not, or not any more."""

    @abstractmethod
    def count(self, key: str, by: int, expires: int) -> int:
        """Add to a counter and say what it says now; where there is none, from 0."""

    @abstractmethod
    def counted(self, key: str) -> int | None:
        """What a counter says; None: there is none."""

    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete(key)

    # --- the sender's side

    def chord_start(self, group_id: str, size: int, saved: children.Node | None = None) -> None:
        keys, expires = self._chord(group_id), self.settings.chord_seconds
        self.delete(keys.claim)
        self.put(keys.size, b"%d" % size, expires)
        if saved is not None:
            self.put(keys.saved, build_group(saved, self.settings.codec), self.settings.chord_result_seconds)
        self.count(keys.count, 0, expires)

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        self.count(self._chord(group_id).added, by, self.settings.chord_seconds)

    # --- the members' side

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        keys, expires = self._chord(group_id), self.settings.chord_seconds
        value = build_seat(member, index, self.settings.codec)
        if self.get(keys.claim) == DONE:
            return None
        first = self.add(keys.mark(member.task_id, index), b"1", expires)
        if first or not self._is_seated(keys, (member.task_id, index)):
            self.put(keys.seats(self.count(keys.count, 1, expires))[-1], value, expires)
        # Asked for when the seat is taken: of two who take the last seats at once, one at least sees both.
        count = self.counted(keys.count) or 0
        saved = self._saved(group_id)
        total = self._total(keys, saved, size)
        if total is None or count < total:
            return None
        members = self._members(keys, count, total, saved)
        if members is None or not self._claims(keys, token):
            return None
        if isinstance(saved, BadMessage):  # the body would get the values in another shape: the chord fails
            return Claim(group_id, token, [*members, unreadable(saved)], None, size)
        return Claim(group_id, token, members, saved, size)

    def _saved(self, group_id: str) -> children.Node | BadMessage | None:
        try:
            return self.fetch_group(group_id)
        except BadMessage as bad:
            return bad

    def _total(self, keys: CounterKeys, saved: children.Node | BadMessage | None, size: int | None) -> int | None:
        """By the sender's word; by the body of a chord of Celery 4; by the members that Celery saved."""
        total = number(self.get(keys.size)) or size
        if total is None and isinstance(saved, children.Node):
            total = len(saved.members or ())
        return None if total is None else total + (self.counted(keys.added) or 0)

    def _is_seated(self, keys: CounterKeys, mark: tuple[str, int | None]) -> bool:
        """Whether it was counted too, by the one that marked it."""
        seats = self.get_many(keys.seats(self.counted(keys.count) or 0))
        return any(seat.mark == mark for seat in map(self._seat, seats) if seat is not None)

    def _seat(self, data: bytes | None) -> Seat | None:
        if data is None:
            return None
        try:
            return parse_seat(data, self.settings.codec)
        except BadMessage as bad:
            return Seat(None, unreadable(bad))

    def _members(
        self, keys: CounterKeys, count: int, total: int, saved: children.Node | BadMessage | None
    ) -> Sequence[Member] | None:
        """All of them, or None while some are missing, or when it is a stock worker's turn."""
        values = self.get_many(keys.seats(count))
        seats = {seat.mark: seat for seat in map(self._seat, values) if seat is not None}
        found = list(seats.values())
        if len(found) < total:
            if values[total - 1] is None or not isinstance(saved, children.Node):
                return None  # who counted the last left no seat: a stock worker, which sends the body itself
            found += self._of_stock(saved, {seat.member.task_id for seat in found})
        if len(found) < total:
            return None
        return [seat.member for seat in (in_order(found) if self.settings.chord_ordered else found)]

    def _of_stock(self, saved: children.Node, seated: set[str]) -> list[Seat]:
        """Members that stock workers counted: what they returned is in their results alone."""
        places = {task_id: place for place, task_id in enumerate(saved.leaves()) if task_id not in seated}
        results = self.fetch_many(places)
        ready = {task_id: _member(task_id, found) for task_id, found in results.items()}
        return [Seat(places[task_id], member) for task_id, member in ready.items() if member is not None]

    def _claims(self, keys: CounterKeys, token: str) -> bool:
        mine = token.encode()
        return self.add(keys.claim, mine, self.settings.chord_claim) or self.get(keys.claim) == mine

    # --- the claimer's side

    def chord_taken(self, group_id: str) -> bool:
        claim = self.get(self._chord(group_id).claim)
        return claim is not None and claim != DONE

    def chord_hold(self, claim: Claim, seconds: int) -> bool:
        keys, mine = self._chord(claim.group_id), claim.token.encode()
        if self.swap(keys.claim, mine, mine, seconds):
            return True
        # It ran out and nobody took it, while the chord is still open: take it again.
        return self.counted(keys.count) is not None and self.add(keys.claim, mine, seconds)

    def chord_done(self, claim: Claim) -> None:
        keys = self._chord(claim.group_id)
        if not self._over(keys, claim, done_seconds(self.settings.chord_claim)):
            return
        names = keys.seats(self.counted(keys.count) or 0)
        seats = [seat for seat in map(self._seat, self.get_many(names)) if seat is not None]
        marks = [keys.mark(*seat.mark) for seat in seats if seat.member.task_id]
        self.delete_many([*names, *marks, keys.saved, keys.size, keys.added, keys.count])

    def chord_failed(self, claim: Claim) -> None:
        """The mark outlives the seats: as long as these are there, a late copy of a member would complete it again."""
        expires = self.settings.chord_seconds
        self._over(
            self._chord(claim.group_id), claim, expires and max(expires, done_seconds(self.settings.chord_claim))
        )

    def _over(self, keys: CounterKeys, claim: Claim, seconds: int) -> bool:
        """False: the claim is another's by now."""
        return self.swap(keys.claim, claim.token.encode(), DONE, seconds) or self.add(keys.claim, DONE, seconds)

    def _chord(self, group_id: str) -> CounterKeys:
        return CounterKeys.of(self.settings.keys, group_id)


def _member(task_id: str, found: Result | BadMessage) -> Member | None:
    if isinstance(found, BadMessage):
        return unreadable(found)
    return Member(task_id, found.status, found.result) if found.ready else None

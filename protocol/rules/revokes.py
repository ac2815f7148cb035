"""What has been revoked, by task id and by stamp: bounded, expiring, and mergeable with what other nodes know.

Law: `now` is given, and is the same kind of time for the life of one object (wall time where it is kept in a file).
However much a peer sends, no more than `limit` entries of each kind are held; the oldest make room. What is past its
time is forgotten only once half of the room is taken: a task that waits for its ETA longer than that stays revoked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..values import dataclass, field

LIMIT = 50_000
EXPIRES = 10_800.0


class Expiring:
    """Things with the time they were added, oldest first."""

    __slots__ = ("_since", "expires", "limit")

    def __init__(self, limit: int = LIMIT, expires: float = EXPIRES) -> None:
        self.limit = limit
        self.expires = expires
        # A plain dict steps over all that was ever removed in front, to find what is first.
        self._since: OrderedDict[Any, float] = OrderedDict()

    def add(self, thing: Any, now: float) -> None:
        """Added again, a thing counts from now, and makes room last."""
        self._since.pop(thing, None)
        self._since[thing] = now
        self._trim(now)

    def discard(self, thing: Any) -> None:
        self._since.pop(thing, None)

    def holds(self, thing: Any, now: float) -> bool:
        self._trim(now)
        return thing in self._since

    def items(self, now: float) -> Iterator[tuple[Any, float]]:
        self._trim(now)
        return iter(self._since.items())

    def __len__(self) -> int:
        return len(self._since)

    def _trim(self, now: float) -> None:
        while len(self._since) > self.limit // 2:
            oldest = next(iter(self._since))
            if len(self._since) <= self.limit and now - self._since[oldest] < self.expires:
                return
            del self._since[oldest]


@dataclass(slots=True)
class Revokes:
    """The revoked ids and stamps of one node."""

    limit: int = LIMIT
    expires: float = EXPIRES
    _ids: Expiring = field(init=False)
    _stamps: Expiring = field(init=False)

    def __post_init__(self) -> None:
        self._ids = Expiring(self.limit, self.expires)
        self._stamps = Expiring(self.limit, self.expires)

    def revoke(self, ids: Iterable[str], now: float) -> None:
        for task_id in ids:
            self._ids.add(task_id, now)

    def forgive(self, task_id: str) -> None:
        """Let a task with this id run after all."""
        self._ids.discard(task_id)

    def merge(self, ids: Iterable[str] | Mapping[str, Any], now: float) -> None:
        """What another node says is revoked: a list, or from older nodes an object whose values are its own times.

        Those times are of its clock, not ours, so every id that we did not hold counts from now.
        """
        for task_id in ids:
            if not self._ids.holds(task_id, now):
                self._ids.add(task_id, now)

    def forgive_stamps(self, names: Iterable[str] | None = None) -> None:
        """Let run again what was revoked by stamps: those of these names, or all."""
        chosen = None if names is None else set(names)
        for thing in [thing for thing, _ in self._stamps.items(0.0) if chosen is None or thing[0] in chosen]:
            self._stamps.discard(thing)

    def stamps(self, now: float) -> dict[str, list[str]]:
        """The revoked stamps: by name the reprs of their values, oldest first."""
        found: dict[str, list[str]] = {}
        for (name, value), _ in self._stamps.items(now):
            found.setdefault(name, []).append(value)
        return found

    def revoke_stamps(self, stamps: Mapping[str, Any], now: float) -> None:
        """Revoke what carries one of these values in the stamp of that name; a list means any of its values."""
        for name, values in stamps.items():
            for key in filter(None, map(_key, _values(values))):
                self._stamps.add((name, key), now)

    def revoked(self, task_id: str, now: float) -> bool:
        return self._ids.holds(task_id, now)

    def revoking_stamp(self, stamps: Mapping[str, Any], now: float) -> tuple[str, Any] | None:
        """The stamp, by name and value, for which a task with these stamps must not run."""
        if len(self._stamps):
            for name, values in stamps.items():
                for value in _values(values):
                    if self._stamps.holds((name, _key(value)), now):
                        return name, value
        return None

    def ids(self, now: float) -> tuple[str, ...]:
        """The revoked ids, oldest first: what `inspect revoked` and mingle send."""
        return tuple(task_id for task_id, _ in self._ids.items(now))

    def dump(self, now: float) -> dict[str, list[Any]]:
        """All that is held, as plain values for a state file."""
        return {
            "ids": [[task_id, since] for task_id, since in self._ids.items(now)],
            "stamps": [[name, value, since] for (name, value), since in self._stamps.items(now)],
        }

    def load(self, state: Mapping[str, Any], now: float) -> None:
        """Take in what `dump` gave, in the order of its times. Entries that are not of its form are passed over."""
        for kind, size, held in (("ids", 2, self._ids), ("stamps", 3, self._stamps)):
            listed = state.get(kind)
            entries = [entry for entry in listed if _is_entry(entry, size)] if isinstance(listed, (list, tuple)) else []
            for entry in sorted(entries, key=lambda entry: entry[-1]):
                thing = entry[0] if kind == "ids" else tuple(entry[:2])
                held.add(thing, min(entry[-1], now))


_FAR = 1e18  # seconds: no time, and arithmetic on floats survives all that is nearer


def _is_entry(entry: Any, size: int) -> bool:
    return (
        isinstance(entry, (list, tuple))
        and len(entry) == size
        and all(isinstance(part, str) for part in entry[:-1])
        and isinstance(entry[-1], (int, float))
        and -_FAR < entry[-1] < _FAR  # and not NaN, which would break the order
    )


def _values(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple, set, frozenset)) else (value,)


def _key(value: Any) -> str | None:
    """A value as it is compared and kept; None for one too deep or too long to compare, which then revokes nothing.

    As in Python, and so in Celery, 1, 1.0 and True are the same stamp.
    """
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    try:
        return repr(value)
    except (RecursionError, ValueError):  # an integer of too many digits
        return None

"""Results in this process: the reference for the contract, and the store of users' tests.

Law: it keeps what a real store would keep, bytes in the configured serializer, so that what would not survive there
does not survive here. All stores of one name share one shelf.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from ...protocol.errors import BadMessage
from ...protocol.rules.chord import Chord
from ...protocol.values import dataclass, field
from ...protocol.wire import children
from ...protocol.wire.chord_keys import Member, build_member
from ...protocol.wire.result import Result, build
from ...protocol.wire.stores import may_replace
from .base import POLL, Address, Claim, Found, KeyValueStore, Settings, read_member


@dataclass
class Shelf:
    """The values of all stores of one name; whoever changes one holds `changed` and tells."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    values: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    ends: list[tuple[float, str]] = field(default_factory=list)
    chords: dict[str, Chord] = field(default_factory=dict)

    def get(self, key: str) -> bytes | None:
        end, value = self.values.get(key, (math.inf, None))
        return value if end > time.monotonic() else None

    def put(self, key: str, value: bytes, expires: int) -> None:
        now = time.monotonic()
        end = now + expires if expires else math.inf
        self.values[key] = (end, value)
        if expires:
            heapq.heappush(self.ends, (end, key))
        while self.ends and self.ends[0][0] <= now:
            over, name = heapq.heappop(self.ends)
            if name in self.values and self.values[name][0] == over:
                del self.values[name]


_SHELVES: dict[str, Shelf] = {}
_SHELVES_LOCK = threading.Lock()


def shelf_named(name: str) -> Shelf:
    with _SHELVES_LOCK:
        return _SHELVES.setdefault(name, Shelf())


class MemoryStore(KeyValueStore):
    """A view of a shelf of this process."""

    can = frozenset({"push", "chord", "group", "expire"})

    def __init__(self, shelf: Shelf, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._shelf = shelf

    # --- values

    def get(self, key: str) -> bytes | None:
        with self._shelf.changed:
            return self._shelf.get(key)

    def put(self, key: str, value: bytes, expires: int) -> None:
        with self._shelf.changed:
            self._shelf.put(key, value, expires)
            self._shelf.changed.notify_all()

    def delete(self, key: str) -> None:
        with self._shelf.changed:
            self._shelf.values.pop(key, None)

    def store(self, result: Result, address: Address | None = None) -> bool:
        key, value = self.settings.keys.task(result.task_id), build(result, self.settings.codec)
        with self._shelf.changed:
            if not may_replace(self._shelf.get(key), self.settings.codec):
                return False
            self.put(key, value, self.lifetime(result))
            return True

    def wait(
        self,
        task_ids: Iterable[str],
        timeout: float,
        *,
        interval: float = POLL,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[str, Found]]:
        missing = dict.fromkeys(task_ids)
        end = time.monotonic() + timeout
        while missing:
            with self._shelf.changed:
                ready = self._ready(missing)
                left = end - time.monotonic()
                if not ready and left > 0 and not stop():
                    self._shelf.changed.wait(min(interval, left))
                    ready = self._ready(missing)
            for task_id, found in ready:
                del missing[task_id]
                yield task_id, found
            if missing and (time.monotonic() >= end or stop()):
                return

    def _ready(self, missing: Iterable[str]) -> list[tuple[str, Found]]:
        found = self.fetch_many(missing)
        return [(each, what) for each, what in found.items() if isinstance(what, BadMessage) or what.ready]

    # --- chords

    def chord_start(self, group_id: str, size: int, saved: children.Node | None = None) -> None:
        with self._shelf.changed:
            self._chord(group_id).expect(size)
            if saved is not None:
                self.store_group(saved)

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        with self._shelf.changed:
            self._chord(group_id).extend(by)

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        value, codec = build_member(member, self.settings.codec), self.settings.codec
        with self._shelf.changed:
            chord, now = self._chord(group_id), time.monotonic()
            if not chord.report((member.task_id, index), value, token, now, self.settings.chord_claim, size):
                return None
            members = [read_member(each, codec) for each in chord.in_order(by_place=self.settings.chord_ordered)]
            return Claim(group_id, token, members, self.fetch_group(group_id), size)

    def chord_taken(self, group_id: str) -> bool:
        with self._shelf.changed:
            return self._chord(group_id).taken(time.monotonic())

    def chord_hold(self, claim: Claim, seconds: int) -> bool:
        with self._shelf.changed:
            return self._chord(claim.group_id).hold(claim.token, time.monotonic() + seconds)

    def chord_done(self, claim: Claim) -> None:
        with self._shelf.changed:
            self._chord(claim.group_id).end(claim.token, keep=False)

    def chord_failed(self, claim: Claim) -> None:
        with self._shelf.changed:
            self._chord(claim.group_id).end(claim.token, keep=True)

    def _chord(self, group_id: str) -> Chord:
        return self._shelf.chords.setdefault(group_id, Chord())


def connect(url: str, settings: Settings) -> MemoryStore:
    """`memory://` and `memory://name`: a shelf of this process, shared by all who name it the same."""
    return MemoryStore(shelf_named(url.partition("://")[2]), settings)

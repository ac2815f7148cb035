"""Stores for subclasses that say anew how a key, or a result, is read and written: workers ask them too.

Law: what a subclass says goes through its own methods, all the rest to the store below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...protocol.wire import children
from ...protocol.wire.chord_keys import Member
from ...worker.backends.base import Claim, KeyValueStore, Store
from ...worker.backends.plugged import PluggedStore


class Routed(KeyValueStore):
    """A store whose keys a backend's own `get`, `set`, `mget` and `delete` read and write."""

    def __init__(self, backend: Any, inner: Store) -> None:
        super().__init__(inner.settings)
        self.inner = inner
        self.can = inner.can - {"push"}
        self._backend = backend

    def get(self, key: str) -> bytes | None:
        return _bytes(self._backend.get(key))

    def put(self, key: str, value: bytes, expires: int) -> None:
        self._backend._set_with_state(key, value, "")

    def delete(self, key: str) -> None:
        self._backend.delete(key)

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = self._backend.mget(keys)
        values = [found.get(key) for key in keys] if hasattr(found, "items") else found
        return list(map(_bytes, values))

    def chord_start(self, group_id: str, size: int, saved: children.Node | None = None) -> None:
        self.inner.chord_start(group_id, size, saved)

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        self.inner.chord_grow(group_id, by)

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        return self.inner.chord_part(group_id, member, index, token, size)

    def chord_taken(self, group_id: str) -> bool:
        return self.inner.chord_taken(group_id)

    def chord_hold(self, claim: Claim, seconds: int) -> bool:
        return self.inner.chord_hold(claim, seconds)

    def chord_done(self, claim: Claim) -> None:
        self.inner.chord_done(claim)

    def chord_failed(self, claim: Claim) -> None:
        self.inner.chord_failed(claim)

    def expire(self, now: float) -> int:
        return self.inner.expire(now)

    def close(self) -> None:
        self.inner.close()


class PluggedOver(PluggedStore):
    """A backend that says anew how results are stored or read; its chords stay with the store below."""

    def __init__(self, backend: Any, inner: Store) -> None:
        super().__init__(backend, inner.settings)
        self.inner = inner
        self.can = self.can | (inner.can & {"chord", "expire"})

    chord_start = Routed.chord_start
    chord_grow = Routed.chord_grow
    chord_part = Routed.chord_part
    chord_taken = Routed.chord_taken
    chord_hold = Routed.chord_hold
    chord_done = Routed.chord_done
    chord_failed = Routed.chord_failed
    close = Routed.close


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value

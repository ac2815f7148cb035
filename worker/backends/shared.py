"""A result store for all threads of a process: what an app holds, whose results any thread may ask for.

Law: a `Store` is for one thread at a time, this one for all at once. No lock is held while somebody waits for a result,
so thousands may; they share one connection that listens, and a few that ask. In a forked child nothing of the parent's
is used.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Generic, TypeVar

from ...protocol.values import replace
from ...protocol.wire import children
from ...protocol.wire.chord_keys import Member
from ...protocol.wire.result import Result
from ..redis_link import operational
from . import connect as connect_one
from .base import Address, Claim, Found, Settings, Store
from .retrying import Retrying

MOST = 10
"""So many connections ask at once, unless `redis_max_connections` says fewer."""

PATIENCE = 30.0
"""Seconds that one of them may be waited for."""

T = TypeVar("T")


class Lent(Generic[T]):
    """Some things that are lent to one thread at a time, the one that came back last first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.lock = threading.Lock()
        self._idle: deque[T] = deque()
        self._free = threading.BoundedSemaphore(self._most)

    def own(self) -> None:
        """In a forked child: those that the parent made are neither used nor closed."""
        if self._pid != os.getpid():
            self._begin()

    def take(self) -> T | None:
        """One of them, or None: make one. Either way something is to be given back."""
        self.own()
        if not self._free.acquire(timeout=PATIENCE):
            raise operational(f"all {self._most} connections to the result store are in use, for {PATIENCE:.0f} s")
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def give(self, thing: T | None) -> None:
        if self._pid != os.getpid():  # lent before the fork
            return
        if thing is not None:
            self._idle.append(thing)
        self._free.release()

    def empty(self) -> list[T]:
        """Those that are not lent; they are the caller's now."""
        self.own()
        found: list[T] = []
        with suppress(IndexError):
            while True:
                found.append(self._idle.pop())
        return found


class Leasing(Store):
    """Stores of one kind, lent for one call each; who waits looks from time to time."""

    def __init__(self, one: Store, another: Callable[[], Store]) -> None:
        super().__init__(one.settings)
        self.can = one.can
        self._make = another
        self._lent: Lent[Store] = Lent(MOST)
        self._lent.take()
        self._lent.give(one)
        weakref.finalize(self, _close_all, self._lent)

    @contextmanager
    def _one(self) -> Iterator[Store]:
        store = self._lent.take()
        try:
            if store is None:
                store = self._make()
            yield store
        finally:
            self._lent.give(store)

    def use(self, do: Callable[[Store], T]) -> T:
        """Something that only this kind of store can do."""
        with self._one() as store:
            return do(store)

    # --- one result

    def store(self, result: Result, address: Address | None = None) -> bool:
        with self._one() as store:
            return store.store(result, address)

    def fetch(self, task_id: str) -> Result | None:
        with self._one() as store:
            return store.fetch(task_id)

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        with self._one() as store:
            return store.fetch_many(task_ids)

    def forget(self, task_id: str) -> None:
        with self._one() as store:
            store.forget(task_id)

    def answer_to(self) -> str | None:
        with self._one() as store:
            return store.answer_to()

    # --- groups and chords

    def store_group(self, group: children.Node) -> None:
        with self._one() as store:
            store.store_group(group)

    def fetch_group(self, group_id: str) -> children.Node | None:
        with self._one() as store:
            return store.fetch_group(group_id)

    def forget_group(self, group_id: str) -> None:
        with self._one() as store:
            store.forget_group(group_id)

    def chord_start(self, group_id: str, size: int, saved: children.Node | None = None) -> None:
        with self._one() as store:
            store.chord_start(group_id, size, saved)

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        with self._one() as store:
            store.chord_grow(group_id, by)

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        with self._one() as store:
            return store.chord_part(group_id, member, index, token, size)

    def chord_taken(self, group_id: str) -> bool:
        with self._one() as store:
            return store.chord_taken(group_id)

    def chord_hold(self, claim: Claim, seconds: int) -> bool:
        with self._one() as store:
            return store.chord_hold(claim, seconds)

    def chord_done(self, claim: Claim) -> None:
        with self._one() as store:
            store.chord_done(claim)

    def chord_failed(self, claim: Claim) -> None:
        with self._one() as store:
            store.chord_failed(claim)

    # --- itself

    def expire(self, now: float) -> int:
        with self._one() as store:
            return store.expire(now)

    def close(self) -> None:
        _close_all(self._lent)


def _close_all(lent: Lent[Store]) -> None:
    for store in lent.empty():
        store.close()


_SHARED: Mapping[str, str] = {"embedded": ".redis_shared", "redis": ".redis_shared", "rpc": ".rpc_shared"}
_AS_THEY_ARE = ("memory", "disabled")


def connect(url: str | None, settings: Settings | None = None) -> Store:
    """As `backends.connect`, for all threads."""
    settings = settings or Settings()
    plain = replace(settings, retry=None)
    shared = share(connect_one(url, plain), lambda: connect_one(url, plain))
    return shared if settings.retry is None else Retrying(shared, settings.retry)


def share(one: Store, another: Callable[[], Store]) -> Store:
    """This store for all threads; where its kind knows no better, some more like it are made when they are needed."""
    kind = type(one).__module__.rpartition(".")[2]
    if kind in _AS_THEY_ARE:
        return one
    if kind in _SHARED:
        shared: Store = import_module(_SHARED[kind], __package__).share(one)
        return shared
    return Leasing(one, another)

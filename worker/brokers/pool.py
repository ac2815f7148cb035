"""Brokers for many threads: each is lent to one thread at a time, and none outlives a fork.

    with pool.lend() as broker:
        broker.send(parcels)

Law: a broker that raised `OperationalError`, or whose borrower was interrupted, is closed and never lent again. A
forked child starts with an empty pool and leaves its parent's connections alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ...protocol.errors import BadCall
from ...protocol.hints import Any, Generic, NoReturn, Protocol, TypeVar
from ..forks import HERE

LIMIT = 10  # kombu's `broker_pool_limit`


class Lent(Protocol):
    """A broker, or what somebody keeps with one."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Lent)


class Pool(Generic[T]):
    """At most `limit` brokers of one kind; None: as many as are asked for, 0: nothing is kept.

    `connect` makes one. `wait` is how long a thread waits for its turn.
    """

    def __init__(self, connect: Callable[[], T], limit: int | None = LIMIT, wait: float = 4.0) -> None:
        if limit is not None and limit < 0:
            raise BadCall(f"a pool keeps 0 brokers or more, or any number (None), not {limit}")
        self._connect = connect
        self._limit = limit
        self._wait = wait
        self._parents: list[Any] = []
        self._forked = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._pid = HERE.pid
        self._turn = threading.Condition()
        self._idle: list[T] = []  # taken from and added to without the lock: each is one step of the interpreter
        self._made = 0
        self._waiting = 0
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[T]:
        """A broker for this thread and as long as the block lasts."""
        broker = self.take()
        pid, sound = self._pid, False
        try:
            yield broker
            sound = True
        except Exception as problem:
            sound = not _breaks(problem)
            raise
        finally:
            if pid == HERE.pid:
                self.give_back(broker, sound=sound)

    def take(self) -> T:
        """A broker until it is given back, for who has no use for a block."""
        if self._pid != HERE.pid:
            self._leave_to_parent()
        if not self._closed:
            try:  # `suppress` takes four times as long, and this is for every message
                return self._idle.pop()
            except IndexError:
                pass
        found = self._await_turn()
        if found is not None:
            return found
        try:
            return self._connect()
        except BaseException:
            self._forget_one()
            raise

    def _await_turn(self) -> T | None:
        """One that has become free; None: it is this thread's turn to make one."""
        end = time.monotonic() + self._wait
        with self._turn:
            # Said before looking: who gives one back after the look sees that somebody waits.
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise BadCall("the pool of brokers is closed")
                    with suppress(IndexError):
                        return self._idle.pop()
                    if not self._limit or self._made < self._limit:
                        self._made += 1
                        return None
                    if not self._turn.wait(end - time.monotonic()):
                        self._say_full()
            finally:
                self._waiting -= 1

    def _say_full(self) -> NoReturn:
        from kombu.exceptions import OperationalError

        raise OperationalError(
            f"all {self._limit} broker connections of this process were in use for {self._wait:g} s: "
            "raise broker_pool_limit, or look for what holds them"
        )

    def give_back(self, broker: T, *, sound: bool) -> None:
        """What `take` gave, exactly once, in the process that took it. Not `sound`: it is never lent again."""
        kept = sound and not self._closed and self._limit != 0
        if not kept:
            self._forget_one()
            broker.close()
            return
        self._idle.append(broker)
        if self._waiting:
            with self._turn:
                self._turn.notify()
        if self._closed:
            self._close_idle()  # the pool was closed meanwhile

    def _forget_one(self) -> None:
        with self._turn:
            self._made -= 1
            self._turn.notify()

    def _leave_to_parent(self) -> None:
        """The parent's brokers are not closed: closing says goodbye, in the parent's name. Their descriptors alone
        are, where a broker knows how (`abandon`); what does not is kept, unused, so that nobody finalizes it."""
        with self._forked:
            if self._pid == HERE.pid:
                return  # another thread was quicker
            inherited = self._idle
            self._begin()
        for broker in inherited:
            abandon = getattr(broker, "abandon", None)
            if abandon is None:
                self._parents.append(broker)
            else:
                abandon()

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back. May be called twice."""
        if self._pid != HERE.pid:
            self._leave_to_parent()
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        self._close_idle()

    def _close_idle(self) -> None:
        while True:
            try:
                broker = self._idle.pop()
            except IndexError:
                return
            broker.close()


def _breaks(problem: Exception) -> bool:
    """A caller's mistake leaves the broker as it was; after anything else nobody knows how it is."""
    return not isinstance(problem, BadCall)

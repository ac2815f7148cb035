"""The sets and buffers of `celery.utils.collections`: what has a limit, and forgets.

Law: who asks gets them from that module, as in Celery.
"""

# ruff: noqa: TRY004 - a set looks into its like; errors are Celery's

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, MutableSet, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from queue import Empty
from typing import Any

from .collections import OrderedDict


class LimitedSet:  # noqa: PLW1641 - a set that changes has no hash
    """A set that forgets what was added longest ago: above `maxlen` items, and after `expires` seconds.

    Items that have expired are kept while there are no more than `minlen`.
    """

    __module__ = "celery.utils.collections"  # stock workers read these pickles

    max_heap_percent_overload = 15

    def __init__(
        self, maxlen: int | None = 0, expires: float | None = 0, data: Any = None, minlen: int | None = 0
    ) -> None:
        self.maxlen = maxlen or 0
        self.minlen = minlen or 0
        self.expires = expires or 0
        self._data: dict[Any, tuple[float, int, Any]] = {}
        self._heap: list[tuple[float, int, Any]] = []
        self._seq = count()  # items of one instant keep their order, and are never compared themselves
        if data:
            self.update(data)
        if not self.maxlen >= self.minlen >= 0:
            raise ValueError("minlen must be a positive number, less or equal to maxlen.")
        if self.expires < 0:
            raise ValueError("expires cannot be negative!")

    def clear(self) -> None:
        """Forgets all."""
        self._data.clear()
        self._heap.clear()

    def add(self, item: Any, now: float | None = None) -> None:
        """Adds an item, or makes it young again."""
        entry = (time.monotonic() if now is None else float(now), next(self._seq), item)
        self.discard(item)
        self._data[item] = entry
        heappush(self._heap, entry)
        if self.maxlen and len(self._data) >= self.maxlen:
            self.purge()

    def update(self, other: Any) -> None:
        """Adds what another set, a dict of items and times, or any iterable holds."""
        if isinstance(other, LimitedSet):
            other = {item: when for when, _, item in sorted(other._data.values(), key=lambda entry: entry[:2])}
        if isinstance(other, dict):
            for item, when in other.items():
                if isinstance(when, (tuple, list)):
                    when = when[0]  # noqa: PLW2901 - the form of older versions
                if not isinstance(when, float):
                    raise ValueError(f"Expecting float timestamp, got type {type(when)!r} with value: {when}")
                self.add(item, when)
        else:
            for item in other or ():
                self.add(item)

    def discard(self, item: Any) -> None:
        """Forgets an item."""
        self._data.pop(item, None)
        if len(self._heap) * 100 > (100 + self.max_heap_percent_overload) * max(len(self._data), 1):
            self._heap[:] = self._data.values()
            heapify(self._heap)

    pop_value = discard

    def purge(self, now: Any = None) -> None:
        """Forgets what is too much and what is too old."""
        present = time.monotonic() if now is None else now() if callable(now) else now
        while self.maxlen and len(self._data) > self.maxlen:
            self.pop()
        while self.expires and len(self._data) > self.minlen:
            oldest = self._heap[0]
            if self._is_current(oldest):
                if oldest[0] + self.expires > present:
                    return
                self.pop()
            else:
                heappop(self._heap)

    def pop(self, default: Any = None) -> Any:
        """Forgets the oldest item and returns it."""
        while self._heap:
            entry = heappop(self._heap)
            if self._is_current(entry):
                del self._data[entry[2]]
                return entry[2]
        return default

    def _is_current(self, entry: tuple[float, int, Any]) -> bool:
        return self._data.get(entry[2]) is entry

    def as_dict(self) -> dict[Any, float]:
        """Items and when they were added."""
        return {item: when for when, _, item in self._data.values()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LimitedSet):
            return NotImplemented
        return self.as_dict() == other.as_dict()

    def __repr__(self) -> str:
        limits = f"maxlen={self.maxlen}, expires={self.expires}, minlen={self.minlen}"
        return f"<{type(self).__name__}({len(self)}): {limits}>"

    def __iter__(self) -> Iterator[Any]:
        return (entry[2] for entry in sorted(self._data.values(), key=lambda entry: entry[:2]))

    def __len__(self) -> int:
        return len(self._data)

    def __contains__(self, item: Any) -> bool:
        return item in self._data

    def __reduce__(self) -> Any:
        return self.__class__, (self.maxlen, self.expires, self.as_dict(), self.minlen)

    def __bool__(self) -> bool:
        return bool(self._data)


MutableSet.register(LimitedSet)


class Evictable:
    """What can be made to drop its oldest until it is no larger than `maxsize`."""

    Empty = Empty
    maxsize: Any

    def evict(self) -> None:
        """Drops as many as it takes."""
        self._evict(range=count)

    def _evict(self, limit: int = 100, range: Any = range) -> None:
        for _ in range(limit):
            if self._evictcount <= self.maxsize:
                return
            try:
                self._pop_to_evict()
            except self.Empty:
                return

    def _pop_to_evict(self) -> Any:
        raise NotImplementedError

    @property
    def _evictcount(self) -> int:
        raise NotImplementedError


class Messagebuffer(Evictable):
    """A queue that drops its oldest when it is full."""

    def __init__(self, maxsize: int | None, iterable: Any = None, deque: Any = deque) -> None:
        self.maxsize = maxsize
        self.data = deque(iterable or [])

    def put(self, item: Any) -> None:
        self.data.append(item)
        if self.maxsize:
            self._evict()

    def extend(self, it: Iterable[Any]) -> None:
        self.data.extend(it)
        if self.maxsize:
            self._evict()

    def take(self, *default: Any) -> Any:
        """The oldest; when there is none the default, or Empty."""
        try:
            return self.data.popleft()
        except IndexError:
            if default:
                return default[0]
            raise self.Empty from None

    def _pop_to_evict(self) -> Any:
        return self.take()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)}/{self.maxsize}>"

    def __iter__(self) -> Iterator[Any]:
        while self.data:
            yield self.data.popleft()

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: Any) -> bool:
        return item in self.data

    def __reversed__(self) -> Any:
        return reversed(self.data)

    def __getitem__(self, index: Any) -> Any:
        return self.data[index]

    @property
    def _evictcount(self) -> int:
        return len(self)


Sequence.register(Messagebuffer)


class BufferMap(OrderedDict, Evictable):
    """A buffer for each key, with a limit for each and for all of them."""

    Buffer = Messagebuffer
    maxsize: Any = None
    total = 0
    bufmaxsize: Any = None

    def __init__(self, maxsize: int | None, iterable: Any = None, bufmaxsize: int | None = 1000) -> None:
        super().__init__()
        self.maxsize = maxsize
        self.bufmaxsize = bufmaxsize
        for key, items in dict(iterable or ()).items():
            self._get_or_create_buffer(key).extend(items)
        self.total = sum(len(buffer) for buffer in self.values())
        if self.maxsize:
            self.evict()

    def put(self, key: Any, item: Any) -> None:
        buffer = self._get_or_create_buffer(key)
        before = len(buffer)
        buffer.put(item)
        self.total += len(buffer) - before
        self.move_to_end(key)
        if self.maxsize:
            self._evict()

    def extend(self, key: Any, it: Iterable[Any]) -> None:
        buffer = self._get_or_create_buffer(key)
        before = len(buffer)
        buffer.extend(it)
        self.total += len(buffer) - before
        if self.maxsize:
            self._evict()

    def take(self, key: Any, *default: Any) -> Any:
        """The oldest for this key; when there is none the default, or Empty."""
        try:
            item = self[key].take()
        except (KeyError, self.Empty):
            if default:
                return default[0]
            raise self.Empty from None
        self.total -= 1
        self.move_to_end(key)
        return item

    def _get_or_create_buffer(self, key: Any) -> Messagebuffer:
        try:
            return self[key]  # type: ignore[no-any-return] # of the kind made below
        except KeyError:
            buffer = self[key] = self._new_buffer()
            return buffer

    def _new_buffer(self) -> Messagebuffer:
        return self.Buffer(maxsize=self.bufmaxsize)

    def _LRUpop(self, *default: Any) -> Any:
        return self[self._LRUkey()].take(*default)

    def _pop_to_evict(self) -> None:
        """Drops one, of the key that was used longest ago."""
        while self:
            key = self._LRUkey()
            buffer = self[key]
            try:
                buffer.take()
            except self.Empty:
                self.pop(key)
                continue
            self.total -= 1
            if len(buffer):
                self.move_to_end(key)
            else:
                self.pop(key)
            return

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.total}/{self.maxsize}>"

    @property
    def _evictcount(self) -> int:
        return self.total

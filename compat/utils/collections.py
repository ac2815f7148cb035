"""Mappings, sets and buffers that Celery and packages are built with."""

# ruff: noqa: PERF203, TRY004 - maps are asked one after another; a set looks into its like; errors are Celery's

from __future__ import annotations

import time
from collections import OrderedDict as _OrderedDict
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSet, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain, count
from queue import Empty
from typing import Any

from .functional import first, uniq
from .text import match_case

__all__ = (
    "AttributeDict",
    "AttributeDictMixin",
    "BufferMap",
    "ChainMap",
    "ConfigurationView",
    "DictAttribute",
    "Evictable",
    "LimitedSet",
    "Messagebuffer",
    "OrderedDict",
    "force_mapping",
    "lpmerge",
)  # fmt: skip


def force_mapping(m: Any) -> Any:
    """A mapping as it is; the attributes of any other object as a mapping. Django's settings read themselves so."""
    return m if isinstance(m, Mapping) else DictAttribute(m)


def lpmerge(L: Any, R: Mapping[Any, Any]) -> Any:
    """Puts into the left what the right has and is not None."""
    for key, value in R.items():
        if value is not None:
            L[key] = value
    return L


class OrderedDict(_OrderedDict):  # type: ignore[type-arg] # any keys, any values
    """A dict that knows which key was used longest ago."""

    def _LRUkey(self) -> Any:
        return next(iter(self.keys()))


class AttributeDictMixin:
    """Makes the items of a mapping attributes."""

    def __getattr__(self, k: str) -> Any:
        try:
            return self[k]  # type: ignore[index] # the mapping that it is mixed into
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {k!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


class AttributeDict(dict, AttributeDictMixin):  # type: ignore[type-arg] # as above
    """A dict whose items are attributes."""


class DictAttribute:
    """The attributes of an object as a mapping."""

    obj: Any = None

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def setdefault(self, key: str, default: Any = None) -> None:
        if key not in self:
            self[key] = default

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __contains__(self, key: str) -> bool:
        return hasattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self.obj))

    iterkeys = keys = __iter__

    def items(self) -> Iterator[tuple[str, Any]]:
        for key in self:
            yield key, getattr(self.obj, key)

    iteritems = items

    def values(self) -> Iterator[Any]:
        for key in self:
            yield getattr(self.obj, key)

    itervalues = values


MutableMapping.register(DictAttribute)


class ChainMap(MutableMapping):  # type: ignore[type-arg] # as above
    """Several mappings as one: the first that has the key answers, and the first of all takes what is set."""

    key_t: Any = None
    changes: Any = None
    defaults: Any = None
    maps: Any = None
    _observers: Any = ()

    def __init__(self, *maps: Any, **kwargs: Any) -> None:
        held = list(maps or [{}])
        # Subclasses turn attributes into items: these are true attributes.
        self.__dict__.update(key_t=kwargs.get("key_t"), maps=held, changes=held[0], defaults=held[1:], _observers=[])

    def add_defaults(self, d: Any) -> None:
        """Adds a mapping that is asked after the changes and before all others."""
        d = force_mapping(d)
        self.defaults.insert(0, d)
        self.maps.insert(1, d)

    def _key(self, key: Any) -> Any:
        return self.key_t(key) if self.key_t is not None else key

    def pop(self, key: Any, *default: Any) -> Any:
        try:
            return self.maps[0].pop(self._key(key), *default)
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def __missing__(self, key: Any) -> Any:
        raise KeyError(key)

    def __getitem__(self, key: Any) -> Any:
        wanted = self._key(key)
        for mapping in self.maps:
            try:
                return mapping[wanted]
            except KeyError:
                pass
        return self.__missing__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.changes[self._key(key)] = value

    def __delitem__(self, key: Any) -> None:
        try:
            del self.changes[self._key(key)]
        except KeyError:
            raise KeyError(f"Key not found in first mapping: {key!r}") from None

    def clear(self) -> None:
        self.changes.clear()

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __len__(self) -> int:
        return len(set().union(*self.maps))

    def __iter__(self) -> Any:
        return self.keys()

    def __contains__(self, key: Any) -> bool:
        wanted = self._key(key)
        return any(wanted in mapping for mapping in self.maps)

    def __bool__(self) -> bool:
        return any(self.maps)

    def setdefault(self, key: Any, default: Any = None) -> None:
        if key not in self:
            self[key] = default

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Sets many; whoever is bound is told."""
        if args:
            args = (dict(*args),)  # a generator of pairs can be read once
        result = self.changes.update(*args, **kwargs)
        for callback in self._observers:
            callback(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({', '.join(map(repr, self.maps))})"

    @classmethod
    def fromkeys(cls, iterable: Iterable[Any], *args: Any) -> Any:
        """One with a single mapping of these keys."""
        return cls(dict.fromkeys(iterable, *args))

    def copy(self) -> Any:
        """One that shares the defaults, and not the changes."""
        return self.__class__(self.maps[0].copy(), *self.maps[1:])

    def __copy__(self) -> Any:
        return self.copy()

    def keys(self) -> Any:
        return uniq(chain(*(mapping.keys() for mapping in reversed(self.maps))))

    def items(self) -> Any:
        return ((key, self[key]) for key in self)

    def values(self) -> Any:
        return (self[key] for key in self)

    iterkeys = keys
    iteritems = items
    itervalues = values

    def bind_to(self, callback: Callable[..., Any]) -> None:
        """Has it called with what `update` is called with."""
        self._observers.append(callback)


class ConfigurationView(ChainMap, AttributeDictMixin):
    """Changes over defaults, with attributes, and with keys that may carry a prefix."""

    prefix: Any
    _keys: Any

    def __init__(self, changes: Any, defaults: Any = None, keys: Any = None, prefix: str | None = None) -> None:
        super().__init__(changes, *([] if defaults is None else defaults))
        self.__dict__.update(prefix=prefix.rstrip("_") + "_" if prefix else prefix, _keys=keys)

    def copy(self) -> Any:
        copied = self.__class__(self.changes.copy(), self.defaults, self._keys, self.prefix)
        copied.__dict__["key_t"] = self.key_t
        return copied

    def _to_keys(self, key: str) -> tuple[str, ...]:
        prefix = self.prefix
        keys: tuple[str, ...] = (key,)
        if prefix:
            full = key if key.startswith(prefix) else prefix + key
            keys = (match_case(full, prefix), key)
        return keys + (tuple(f(key) for f in self._keys) if self._keys else ())

    def __getitem__(self, key: str) -> Any:
        keys = self._to_keys(key)
        for mapping in self.maps:
            for wanted in keys:
                try:
                    return mapping[self._key(wanted)]
                except KeyError:
                    pass
        try:
            return self.__missing__(key)
        except KeyError:
            if self.prefix and len(keys) > 1:
                raise KeyError(f"Key not found: {keys[1]!r} (with prefix: {keys[0]!r})") from None
            raise

    def __setitem__(self, key: str, value: Any) -> None:
        self.changes[self._key(key)] = value

    def first(self, *keys: str) -> Any:
        """The first of these that is not None."""
        return first(None, (self.get(key) for key in keys))

    def clear(self) -> None:
        """Forgets the changes; defaults stay."""
        self.changes.clear()

    def __contains__(self, key: Any) -> bool:
        contains = super().__contains__
        return any(contains(wanted) for wanted in self._to_keys(key))

    def swap_with(self, other: ConfigurationView) -> None:
        """Becomes what the other is."""
        theirs = other.__dict__
        names = ("changes", "defaults", "key_t", "prefix", "_keys")
        self.__dict__.update({name: theirs[name] for name in names})
        self.__dict__["maps"] = [theirs["changes"], *theirs["defaults"]]


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

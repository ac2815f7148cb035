"""Mappings, sets and buffers that Celery and packages are built with.

Law: every app is configured with the mappings. The sets and buffers are loaded when they are asked for.
"""

# ruff: noqa: PERF203 - maps are asked one after another

from __future__ import annotations

import sys
from collections import OrderedDict as _OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from itertools import chain

from ...protocol.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bounded import BufferMap, Evictable, LimitedSet, Messagebuffer

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

_BOUNDED = frozenset({"BufferMap", "Evictable", "LimitedSet", "Messagebuffer"})


def __getattr__(name: str) -> Any:
    if name not in _BOUNDED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import bounded

    return globals().setdefault(name, getattr(bounded, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_BOUNDED})


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
        from .functional import uniq

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
            keys = (full.upper() if prefix.isupper() else full.lower(), key)
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
        values = (self.get(key) for key in keys)
        if "vine" not in sys.modules:
            return next((value for value in values if value is not None), None)
        from .functional import first  # some may be promises of vine's

        return first(None, values)

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

"""Small tools for objects: bunches, contexts, attributes that are items."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection
from functools import reduce
from typing import Any

__all__ = ("Bunch", "FallbackContext", "getitem_property", "mro_lookup")


class Bunch:
    """An object with these attributes."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


def mro_lookup(
    cls: type, attr: str, stop: Collection[type] | None = None, monkey_patched: Collection[str] | None = None
) -> type | None:
    """The first class in the order of resolution that defines the attribute.

    The search ends at a class of `stop`, unless the attribute there was put in by a module that `monkey_patched`
    does not name.
    """
    for node in cls.mro():
        if node in (stop or ()):
            origin = getattr(node.__dict__.get(attr), "__module__", None)
            patched = attr in node.__dict__ and origin is not None and origin not in (monkey_patched or ())
            return node if patched else None
        if attr in node.__dict__:
            return node
    return None


class FallbackContext:
    """The object that was given, left open; or the one that the fallback makes, closed in the end."""

    def __init__(self, provided: Any, fallback: Callable[..., Any], *fb_args: Any, **fb_kwargs: Any) -> None:
        self.provided = provided
        self.fallback = fallback
        self.fb_args = fb_args
        self.fb_kwargs = fb_kwargs
        self._context: Any = None

    def __enter__(self) -> Any:
        if self.provided is not None:
            return self.provided
        context = self.fallback(*self.fb_args, **self.fb_kwargs)
        value = context.__enter__()
        self._context = context
        return value

    def __exit__(self, *exc_info: object) -> Any:
        if self._context is not None:
            return self._context.__exit__(*exc_info)
        return None

    __class_getitem__: Any = classmethod(types.GenericAlias)


class getitem_property:
    """An attribute that is an item of the object, or of what lies at a dotted path in it."""

    def __init__(self, keypath: str, doc: str | None = None) -> None:
        path, _, self.key = keypath.rpartition(".")
        self.path = path.split(".") if path else None
        self.__doc__ = doc

    def _path(self, obj: Any) -> Any:
        return reduce(lambda found, key: found[key], self.path, obj) if self.path else obj

    def __get__(self, obj: Any, type: Any = None) -> Any:
        return type if obj is None else self._path(obj).get(self.key)

    def __set__(self, obj: Any, value: Any) -> None:
        self._path(obj)[self.key] = value

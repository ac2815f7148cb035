"""What packages import from `celery.utils` itself.

Law: importing it loads nothing: it lies on the way to each of its modules.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property as _cached_property
from importlib import import_module

from ...protocol.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from .functional import chunks as chunks
    from .functional import memoize as memoize
    from .functional import noop as noop
    from .imports import gen_task_name as gen_task_name
    from .imports import import_from_cwd as import_from_cwd
    from .imports import instantiate as instantiate
    from .imports import qualname as get_full_cls_name
    from .imports import symbol_by_name as get_cls_by_name
    from .log import LOG_LEVELS as LOG_LEVELS
    from .nodenames import nodename as nodename
    from .nodenames import nodesplit as nodesplit
    from .nodenames import worker_direct as worker_direct

__all__ = (
    "LOG_LEVELS",
    "cached_property",
    "chunks",
    "gen_task_name",
    "gen_unique_id",
    "get_cls_by_name",
    "get_full_cls_name",
    "import_from_cwd",
    "instantiate",
    "memoize",
    "nodename",
    "nodesplit",
    "noop",
    "uuid",
    "worker_direct",
)  # fmt: skip

_ORIGINS = {
    **{name: ("functional", name) for name in ("chunks", "memoize", "noop")},
    **{name: ("imports", name) for name in ("gen_task_name", "import_from_cwd", "instantiate")},
    "get_full_cls_name": ("imports", "qualname"),
    "get_cls_by_name": ("imports", "symbol_by_name"),
    "LOG_LEVELS": ("log", "LOG_LEVELS"),
    **{name: ("nodenames", name) for name in ("nodename", "nodesplit", "worker_direct")},
}
_MISSING = object()
_RANDOM_BITS = (1 << 128) - 1 & ~(0xF << 76) & ~(0x3 << 62)
_VERSION_BITS = 0x4 << 76 | 0x2 << 62


def __getattr__(name: str) -> Any:
    if name not in _ORIGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _ORIGINS[name]
    return globals().setdefault(name, getattr(import_module(f"{__name__}.{module}"), own_name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_ORIGINS})


def uuid4() -> UUID:
    """A random UUID."""
    from uuid import UUID

    return UUID(bytes=os.urandom(16), version=4)


def uuid(_uuid: Callable[[], Any] = uuid4) -> str:
    """A new id for a task."""
    if _uuid is not uuid4:
        return str(_uuid())
    value = int.from_bytes(os.urandom(16), "big") & _RANDOM_BITS | _VERSION_BITS
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


gen_unique_id = uuid


class cached_property(_cached_property):  # type: ignore[type-arg] # of any value
    """A property computed once; it can be set, and deleted to be computed again."""

    def __init__(self, fget: Any = None, fset: Any = None, fdel: Any = None) -> None:
        super().__init__(fget)
        self.__set = fset
        self.__del = fdel
        if self.attrname is None:
            self.attrname = getattr(fget, "__name__", None)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        try:
            return instance.__dict__[self.attrname]
        except KeyError:
            return super().__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        if self.__set is not None:
            value = self.__set(instance, value)
        instance.__dict__[self.attrname] = value

    def __delete__(self, instance: Any) -> None:
        value = instance.__dict__.pop(self.attrname, _MISSING)
        if self.__del is not None and value is not _MISSING:
            self.__del(instance, value)

    def setter(self, fset: Any) -> cached_property:
        """The same property, with what is done when it is set."""
        return self.__class__(self.func, fset, self.__del)

    def deleter(self, fdel: Any) -> cached_property:
        """The same property, with what is done when it is deleted."""
        return self.__class__(self.func, self.__set, fdel)

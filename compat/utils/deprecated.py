"""Warnings for what is going to be removed."""

from __future__ import annotations

import warnings
from collections import abc
from functools import wraps
from typing import Any

from ..exceptions import CDeprecationWarning, CPendingDeprecationWarning

__all__ = ("Callable", "Property", "warn")

PENDING_DEPRECATION_FMT = (
    "{description} is scheduled for deprecation in version {deprecation} and removal in version v{removal}. "
    "{alternative}"
)
DEPRECATION_FMT = "{description} is deprecated and scheduled for removal in version {removal}. {alternative}"


def warn(
    description: str | None = None,
    deprecation: str | None = None,
    removal: str | None = None,
    alternative: str | None = None,
    stacklevel: int = 2,
) -> None:
    """Warns that it is deprecated, or that it will be when a version for that is given."""
    words = {
        "description": description,
        "deprecation": deprecation,
        "removal": removal,
        "alternative": alternative or "",
    }
    warning: Warning
    if deprecation is not None:
        warning = CPendingDeprecationWarning(PENDING_DEPRECATION_FMT.format(**words).strip())
    else:
        warning = CDeprecationWarning(DEPRECATION_FMT.format(**words).strip())
    warnings.warn(warning, stacklevel=stacklevel)


def Callable(
    deprecation: str | None = None,
    removal: str | None = None,
    alternative: str | None = None,
    description: str | None = None,
) -> Any:
    """A decorator: the function warns when it is called."""

    def decorate(fun: abc.Callable[..., Any]) -> Any:
        @wraps(fun)
        def call(*args: Any, **kwargs: Any) -> Any:
            from .imports import qualname

            warn(description or qualname(fun), deprecation, removal, alternative, stacklevel=3)
            return fun(*args, **kwargs)

        return call

    return decorate


def Property(
    deprecation: str | None = None,
    removal: str | None = None,
    alternative: str | None = None,
    description: str | None = None,
) -> Any:
    """A decorator: a property that warns when it is used."""

    def decorate(fun: abc.Callable[..., Any]) -> Any:
        return _deprecated_property(
            fun,
            deprecation=deprecation,
            removal=removal,
            alternative=alternative,
            description=description or fun.__name__,
        )

    return decorate


class _deprecated_property:
    def __init__(self, fget: Any = None, fset: Any = None, fdel: Any = None, doc: Any = None, **depreinfo: Any) -> None:
        self.__get = fget
        self.__set = fset
        self.__del = fdel
        self.__name__, self.__module__, self.__doc__ = fget.__name__, fget.__module__, fget.__doc__
        self.depreinfo = {"stacklevel": 3, **depreinfo}

    def __get__(self, obj: Any, type: Any = None) -> Any:
        if obj is None:
            return self
        warn(**self.depreinfo)
        return self.__get(obj)

    def __set__(self, obj: Any, value: Any) -> None:
        if self.__set is None:
            raise AttributeError("cannot set attribute")
        warn(**self.depreinfo)
        self.__set(obj, value)

    def __delete__(self, obj: Any) -> None:
        if self.__del is None:
            raise AttributeError("cannot delete attribute")
        warn(**self.depreinfo)
        self.__del(obj)

    def setter(self, fset: Any) -> _deprecated_property:
        return self.__class__(self.__get, fset, self.__del, **self.depreinfo)

    def deleter(self, fdel: Any) -> _deprecated_property:
        return self.__class__(self.__get, self.__set, fdel, **self.depreinfo)

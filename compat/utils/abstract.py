"""What counts as a task and as a signature, whichever class it is of."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from typing import Any

_Type = type

__all__ = ("CallableSignature", "CallableTask")


class _AbstractClass(metaclass=ABCMeta):  # noqa: B024 - what is abstract is up to those below
    __required_attributes__: frozenset[str] = frozenset()

    @classmethod
    def _subclasshook_using(cls, parent: _Type, C: _Type) -> Any:
        has_all = all(any(name in above.__dict__ for above in C.__mro__) for name in cls.__required_attributes__)
        return (cls is parent and has_all) or NotImplemented

    @classmethod
    def register(cls, other: _Type) -> _Type:
        """Counts the class as one, and returns it: a decorator."""
        ABCMeta.register(cls, other)
        return other


class CallableTask(_AbstractClass, Callable):  # type: ignore[misc,type-arg] # the ABC, not the type
    """What can be sent, and run here."""

    __required_attributes__ = frozenset({"delay", "apply_async", "apply"})

    @abstractmethod
    def delay(self, *args: Any, **kwargs: Any) -> Any: ...

    @abstractmethod
    def apply_async(self, *args: Any, **kwargs: Any) -> Any: ...

    @abstractmethod
    def apply(self, *args: Any, **kwargs: Any) -> Any: ...

    @classmethod
    def __subclasshook__(cls, C: _Type) -> Any:
        return cls._subclasshook_using(CallableTask, C)


class CallableSignature(CallableTask):
    """A task with its arguments and options."""

    __required_attributes__ = frozenset({"clone", "freeze", "set", "link", "link_error", "__or__"})

    @property
    @abstractmethod
    def name(self) -> Any: ...

    @property
    @abstractmethod
    def type(self) -> Any: ...

    @property
    @abstractmethod
    def app(self) -> Any: ...

    @property
    @abstractmethod
    def id(self) -> Any: ...

    @property
    @abstractmethod
    def task(self) -> Any: ...

    @property
    @abstractmethod
    def args(self) -> Any: ...

    @property
    @abstractmethod
    def kwargs(self) -> Any: ...

    @property
    @abstractmethod
    def options(self) -> Any: ...

    @property
    @abstractmethod
    def subtask_type(self) -> Any: ...

    @property
    @abstractmethod
    def chord_size(self) -> Any: ...

    @property
    @abstractmethod
    def immutable(self) -> Any: ...

    @abstractmethod
    def clone(self, args: Any = None, kwargs: Any = None) -> Any: ...

    @abstractmethod
    def freeze(
        self, id: Any = None, group_id: Any = None, chord: Any = None, root_id: Any = None, group_index: Any = None
    ) -> Any: ...

    @abstractmethod
    def set(self, immutable: Any = None, **options: Any) -> Any: ...

    @abstractmethod
    def link(self, callback: Any) -> Any: ...

    @abstractmethod
    def link_error(self, errback: Any) -> Any: ...

    @abstractmethod
    def __or__(self, other: Any) -> Any: ...

    @abstractmethod
    def __invert__(self) -> Any: ...

    @classmethod
    def __subclasshook__(cls, C: _Type) -> Any:
        return cls._subclasshook_using(CallableSignature, C)

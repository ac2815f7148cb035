"""The names of `typing`, for modules that a program loads in order to send a task.

Law: type checkers see `typing` itself, and this file costs next to nothing.

Why: `typing` takes 3 ms of CPU to import, and 0.1 to 0.4 ms more for each class that is made with it: it compiles every
annotation of a named tuple. Annotations are texts here and nobody evaluates them, so a name that stands for nothing
will do; a named tuple has to be one, and a protocol that is asked for at runtime has to answer.
"""

# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN204, PLC0414 - type checkers see what is handed on, and nothing of the rest

from __future__ import annotations

TYPE_CHECKING = False  # type checkers go by the name

if TYPE_CHECKING:
    from typing import Any as Any
    from typing import ClassVar as ClassVar
    from typing import Concatenate as Concatenate
    from typing import Final as Final
    from typing import Generic as Generic
    from typing import Literal as Literal
    from typing import NamedTuple as NamedTuple
    from typing import NoReturn as NoReturn
    from typing import ParamSpec as ParamSpec
    from typing import Protocol as Protocol
    from typing import TypeAlias as TypeAlias
    from typing import TypeVar as TypeVar
    from typing import cast as cast
    from typing import overload as overload
    from typing import runtime_checkable as runtime_checkable
else:
    from collections import namedtuple
    from types import GenericAlias

    class Any:
        """Stands for any type."""

    class Generic:
        """Of whatever."""

        __class_getitem__ = classmethod(GenericAlias)

    TypeAlias = NoReturn = Final = Any
    ClassVar = Concatenate = Literal = Generic

    class TypeVar:
        """A name, and what it may stand for is the type checker's affair."""

        def __init__(self, name, *_constraints, **_told):
            self.__name__ = name

    ParamSpec = TypeVar

    class _Shape(type):
        def __instancecheck__(cls, value):
            asked = cls.__dict__.get("__asked__")
            if asked is None:
                return super().__instancecheck__(value)
            return all(hasattr(value, name) for name in asked)

    class Protocol(metaclass=_Shape):
        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)

    def runtime_checkable(cls):
        cls.__asked__ = [name for name in vars(cls) if not name.startswith("_")]
        return cls

    class _Named(type):
        def __new__(cls, name, bases, space):
            if not bases:
                return super().__new__(cls, name, bases, space)
            fields = [*space.pop("__annotations__")]
            defaults = [space.pop(field) for field in fields if field in space]
            made = namedtuple(name, fields, defaults=defaults, module=space.pop("__module__"))  # noqa: PYI024 - the other one is what this spares
            for own, value in space.items():
                setattr(made, own, value)
            return made

    class NamedTuple(metaclass=_Named):
        """Fields by name, with defaults or without, and methods."""

    def cast(_kind, value):
        return value

    def overload(function):
        return function

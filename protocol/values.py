"""Dataclasses that cost an import next to nothing: `dataclass`, `field` and `replace` as the standard library has them.

Law: type checkers see the standard library's, and whoever asks `dataclasses` about a value of ours gets its answers
(`fields`, `replace`, `asdict`, `is_dataclass`). Only what this package uses is here: fields with defaults, frozen or
not, with slots or without, equal by value or not, `__post_init__`; no inheritance.

Why: the standard library compiles seven functions for each class when it is defined, 0.7 ms of CPU, and brings
`inspect`, 5 ms. A program that sends one task defines sixty such classes and makes objects of twenty. Here the one
function whose speed matters, `__init__`, is compiled when some objects have been made; the others never are.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from .hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - what type checkers call handed on
    from dataclasses import field as field  # noqa: PLC0414 - the same
    from dataclasses import replace as replace  # noqa: PLC0414 - the same

_MISSING: Any = object()
_SLOWLY = 8  # objects of a class that are made without a compiled `__init__`, which takes as long as twenty of them


class _Field:
    """A field, and what `field` was told of it; most are told nothing but a default."""

    default_factory = _MISSING
    init = repr = compare = True

    def __init__(self, name: str, default: Any) -> None:
        self.name = name
        self.default = default


def _field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    init: bool = True,
    repr: bool = True,  # noqa: A002 - dataclasses' own word
    compare: bool = True,
) -> Any:
    told = _Field("", default)
    told.default_factory, told.init, told.repr, told.compare = default_factory, init, repr, compare
    return told


def _dataclass(cls: Any = None, *, frozen: bool = False, slots: bool = False, eq: bool = True) -> Any:
    def made(cls: Any) -> Any:
        return _made(cls, frozen, slots, eq)

    return made if cls is None else made(cls)


def _replace(obj: Any, /, **changes: Any) -> Any:
    """A copy with other values in some fields."""
    for each in type(obj).__value_fields__:
        if not each.init:
            if each.name in changes:
                raise ValueError(f"{each.name} is not for the caller to set")
        elif each.name not in changes:
            changes[each.name] = getattr(obj, each.name)
    return type(obj)(**changes)


def _made(cls: Any, frozen: bool, slots: bool, eq: bool) -> Any:
    space = dict(cls.__dict__)
    fields = tuple(_fields(space, cls.__annotations__))
    names = tuple(each.name for each in fields)
    own = {
        "__value_fields__": fields,
        "__dataclass_fields__": _Described(frozen, slots),
        "__match_args__": tuple(each.name for each in fields if each.init),
        "__repr__": _repr,
    }
    if eq:
        own |= {
            "__eq__": _eq,
            "__value_key__": _key_of([each.name for each in fields if each.compare]),
            "__hash__": _hash if frozen else None,
        }
    if frozen:
        own |= {"__setattr__": _refuse, "__delattr__": _refuse}
    if slots:
        own["__slots__"] = names
        if frozen:
            own |= {"__getstate__": _getstate, "__setstate__": _setstate}
    added = {name: value for name, value in own.items() if space.get(name) is None}
    if slots:
        for name in (*names, "__dict__", "__weakref__"):
            space.pop(name, None)
        made = type(cls)(cls.__name__, cls.__bases__, {**space, **added})
        made.__qualname__ = cls.__qualname__
    else:
        made = cls
        for name, value in added.items():
            setattr(made, name, value)
        for each in fields:
            if each.default is _MISSING and each.name in space:
                delattr(made, each.name)
            elif each.default is not _MISSING:
                setattr(made, each.name, each.default)
    made.__init__ = _starting(made, frozen, slots)
    return made


def _fields(space: dict[str, Any], annotations: dict[str, Any]) -> Any:
    for name, kind in annotations.items():
        if kind.startswith(("ClassVar", "typing.ClassVar")):  # a text, as all annotations here
            continue
        told = space.get(name, _MISSING)
        if type(told) is _Field:
            told.name = name
        else:
            told = _Field(name, told)
        yield told


def _starting(made: Any, frozen: bool, slots: bool) -> Callable[..., None]:
    left = _SLOWLY

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal left
        if left and _filled(self, args, kwargs):
            left -= 1
            return
        made.__init__ = _compiled(made, frozen, slots)
        made.__init__(self, *args, **kwargs)

    return start


def _filled(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """The slow way. False, and nothing done: these are not the arguments, for the compiled one to say why."""
    asked = type(self).__match_args__
    given = dict(zip(asked, args, strict=False))
    if len(args) > len(asked) or given.keys() & kwargs.keys() or not kwargs.keys() <= {*asked}:
        return False
    given |= kwargs
    for each in self.__value_fields__:
        if each.name in given or (each.default is _MISSING and not each.init and each.default_factory is _MISSING):
            continue
        if each.default_factory is not _MISSING:
            given[each.name] = each.default_factory()
        elif each.default is not _MISSING:
            given[each.name] = each.default
        else:
            return False
    for name, value in given.items():
        object.__setattr__(self, name, value)
    if hasattr(self, "__post_init__"):
        self.__post_init__()
    return True


def _compiled(made: Any, frozen: bool, slots: bool) -> Any:
    """The `__init__` that one would write."""
    known: dict[str, Any] = {"_missing": _MISSING, "_object_set": object.__setattr__}
    asked, lines = ["self"], []
    for each in made.__value_fields__:
        name, value = each.name, each.name
        if each.default_factory is not _MISSING:
            known[f"_make_{name}"] = each.default_factory
            value = f"_make_{name}()"
            if each.init:
                asked.append(f"{name}=_missing")
                value += f" if {name} is _missing else {name}"
        elif each.default is not _MISSING:
            known[f"_default_{name}"] = each.default
            asked.append(f"{name}=_default_{name}")
        elif each.init:
            asked.append(name)
        else:
            continue  # `__post_init__` sets it
        if not frozen:
            lines.append(f" self.{name} = {value}")
        elif slots:
            known[f"_set_{name}"] = made.__dict__[name].__set__
            lines.append(f" _set_{name}(self, {value})")
        else:
            lines.append(f" _object_set(self, {name!r}, {value})")
    if hasattr(made, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(asked)}):\n" + "\n".join(lines or [" pass"]), known)  # noqa: S102 - of our own fields' names
    found = known["__init__"]
    found.__qualname__ = f"{made.__qualname__}.__init__"
    return found


# --- what every such class has


def _key_of(names: list[str]) -> Any:
    return staticmethod(attrgetter(*names) if names else lambda _: ())


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    key = self.__value_key__
    return key(self) == key(other)


def _hash(self: Any) -> int:
    return hash(self.__value_key__(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in self.__value_fields__ if each.repr)
    return f"{type(self).__qualname__}({shown})"


def _refuse(self: Any, name: str, *_value: Any) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be changed")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in self.__value_fields__]


def _setstate(self: Any, state: list[Any]) -> None:
    for each, value in zip(self.__value_fields__, state, strict=True):
        object.__setattr__(self, each.name, value)


class _Described:
    """`__dataclass_fields__`, made when somebody asks: the standard library's words for the same fields."""

    __slots__ = ("_frozen", "_known", "_slots")

    def __init__(self, frozen: bool, slots: bool) -> None:
        self._frozen = frozen
        self._slots = slots
        self._known: dict[str, Any] | None = None

    def __get__(self, _value: Any, owner: Any) -> dict[str, Any]:
        if self._known is None:
            self._known = self._described(owner)
        return self._known

    def _described(self, owner: Any) -> dict[str, Any]:
        from dataclasses import field, fields, make_dataclass

        told = [
            (
                each.name,
                owner.__annotations__[each.name],
                field(
                    init=each.init,
                    repr=each.repr,
                    compare=each.compare,
                    **({} if each.default is _MISSING else {"default": each.default}),
                    **({} if each.default_factory is _MISSING else {"default_factory": each.default_factory}),
                ),
            )
            for each in owner.__value_fields__
        ]
        return {each.name: each for each in fields(make_dataclass(owner.__name__, told))}


globals().update(dataclass=_dataclass, field=_field, replace=_replace)  # what type checkers see stands at the top

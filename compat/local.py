"""Objects that stand for others: `current_app` is whatever app is current; a task is made when it is first used.

Law: loads nothing, for everything else stands on it.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterator
from types import GenericAlias

from ..protocol.hints import Any

__all__ = ("PromiseProxy", "Proxy", "class_property", "maybe_evaluate", "try_import")


def try_import(module: str, default: Any = None) -> Any:
    """The module, or the default when there is none."""
    from .utils.imports import import_module

    try:
        return import_module(module)
    except ImportError:
        return default


class _OfTheObject(str):
    """A text on the class, and what the object has instead on an instance."""

    __slots__ = ("attribute",)
    attribute: str

    def __new__(cls, text: str, attribute: str) -> _OfTheObject:  # noqa: PYI034 - nobody subclasses it
        made = super().__new__(cls, text)
        made.attribute = attribute
        return made

    def __get__(self, obj: Any, cls: Any = None) -> Any:
        if obj is None:
            return str(self)
        if self.attribute in (own := object.__getattribute__(obj, "_Proxy__own")):
            return own[self.attribute]
        return getattr(obj._get_current_object(), self.attribute)


class Proxy:
    """Stands for the object that a function returns, asked anew at every use."""

    __slots__ = ("__args", "__dict__", "__kwargs", "__local", "__own")

    __module__ = _OfTheObject(__name__, "__module__")
    __doc__ = _OfTheObject(__doc__ or "", "__doc__")

    def __init__(
        self, local: Callable[..., Any], args: Any = None, kwargs: Any = None, name: Any = None, __doc__: Any = None
    ) -> None:
        keep = object.__setattr__
        keep(self, "_Proxy__local", local)
        keep(self, "_Proxy__args", args or ())
        keep(self, "_Proxy__kwargs", kwargs or {})
        own = {}
        if name is not None:
            own["__name__"] = own["__qualname__"] = name
        if __doc__ is not None:
            own["__doc__"] = __doc__
        keep(self, "_Proxy__own", own)

    def _get_current_object(self) -> Any:
        """The object itself."""
        get = object.__getattribute__
        local = get(self, "_Proxy__local")
        if hasattr(local, "__release_local__"):  # werkzeug's kind of local
            try:
                return getattr(local, self.__name__)
            except AttributeError:
                raise RuntimeError(f"no object bound to {self.__name__}") from None
        return local(*get(self, "_Proxy__args"), **get(self, "_Proxy__kwargs"))

    def _get_class(self) -> Any:
        return self._get_current_object().__class__

    @property  # type: ignore[misc] # it is the object's
    def __class__(self) -> Any:
        return self._get_class()

    @property
    def __name__(self) -> str:
        own = object.__getattribute__(self, "_Proxy__own")
        return own["__name__"] if "__name__" in own else self._get_current_object().__name__  # type: ignore[no-any-return] # whatever it has

    @property
    def __dict__(self) -> Any:  # type: ignore[override] # it is the object's
        try:
            return self._get_current_object().__dict__
        except RuntimeError:
            raise AttributeError("__dict__") from None

    def __repr__(self) -> str:
        try:
            return repr(self._get_current_object())
        except RuntimeError:
            return f"<{type(self).__name__} unbound>"

    def __bool__(self) -> bool:
        try:
            return bool(self._get_current_object())
        except RuntimeError:
            return False

    def __dir__(self) -> list[str]:
        try:
            return dir(self._get_current_object())
        except RuntimeError:
            return []

    def __getattr__(self, name: str) -> Any:
        if name == "__members__":
            return dir(self._get_current_object())
        if name == "__qualname__" and name in (own := object.__getattribute__(self, "_Proxy__own")):
            return own[name]
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __call__(self, *a: Any, **kw: Any) -> Any:
        return self._get_current_object()(*a, **kw)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._get_current_object()[key]

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get_current_object())

    def __contains__(self, item: Any) -> bool:
        return item in self._get_current_object()

    def __len__(self) -> int:
        return len(self._get_current_object())

    def __eq__(self, other: object) -> Any:
        return self._get_current_object() == other

    def __ne__(self, other: object) -> Any:
        return self._get_current_object() != other

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __enter__(self) -> Any:
        return self._get_current_object().__enter__()

    def __exit__(self, *a: object, **kw: Any) -> Any:
        return self._get_current_object().__exit__(*a, **kw)

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._get_current_object().__reduce_ex__(protocol)


def _forward(function: Callable[..., Any]) -> Any:
    def call(self: Proxy, *others: Any) -> Any:
        return function(self._get_current_object(), *others)

    return call


_FORWARDED: dict[str, Callable[..., Any]] = {
    **{
        f"__{name}__": getattr(operator, f"__{name}__")
        for name in (
            *("lt", "le", "gt", "ge", "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "lshift"),
            *("rshift", "and", "or", "xor", "neg", "pos", "abs", "invert", "index"),
        )
    },
    "__pow__": pow,
    "__divmod__": divmod,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__reversed__": reversed,
}
for _name, _function in _FORWARDED.items():
    setattr(Proxy, _name, _forward(_function))


class PromiseProxy(Proxy):
    __slots__ = ("__pending__", "__weakref__", "_promised")

    __doc__ = _OfTheObject("Stands for the object that a function returns, asked once.", "__doc__")

    def _get_current_object(self) -> Any:
        try:
            return _promised(self)
        except AttributeError:
            return self.__evaluate__()

    # What tasks are called by, without a step of Python. Where the object is not there yet, `__getattr__` is next.
    delay = property(operator.attrgetter("_promised.delay"))
    apply_async = property(operator.attrgetter("_promised.apply_async"))
    s = property(operator.attrgetter("_promised.s"))

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            return Proxy.__getattr__(self, name)
        try:
            found = _promised(self)  # tasks are promises until they are asked for, and called through them ever after
        except AttributeError:
            found = self.__evaluate__()
        return getattr(found, name)

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls the function once the object is there."""
        if self.__evaluated__():
            return fun(*args, **kwargs)
        try:
            pending = object.__getattribute__(self, "__pending__")
        except AttributeError:
            pending = deque()
            object.__setattr__(self, "__pending__", pending)
        pending.append((fun, args, kwargs))
        return None

    def __evaluated__(self) -> bool:
        """Whether the object is there."""
        try:
            object.__getattribute__(self, "_promised")
        except AttributeError:
            return False
        return True

    def __maybe_evaluate__(self) -> Any:
        return self._get_current_object()

    def __evaluate__(self) -> Any:
        promised = Proxy._get_current_object(self)
        object.__setattr__(self, "_promised", promised)
        for used in ("_Proxy__local", "_Proxy__args", "_Proxy__kwargs"):
            try:
                object.__delattr__(self, used)
            except AttributeError:  # noqa: PERF203 - there are three
                continue  # another thread was here
        try:
            pending = object.__getattribute__(self, "__pending__")
        except AttributeError:
            return promised
        object.__delattr__(self, "__pending__")
        while pending:
            fun, args, kwargs = pending.popleft()
            fun(*args, **kwargs)
        return promised


_promised: Callable[[PromiseProxy], Any] = PromiseProxy._promised.__get__  # type: ignore[attr-defined]  # a slot


def maybe_evaluate(obj: Any) -> Any:
    """The object that a promise stands for; anything else is itself."""
    try:
        return obj.__maybe_evaluate__()
    except AttributeError:
        return obj


def getappattr(path: str) -> Any:
    """What lies at this dotted path in the current app."""
    from ._state import get_current_app

    return operator.attrgetter(path)(get_current_app())


class class_property:
    """A property of the class as well as of its instances."""

    def __init__(self, getter: Any, setter: Any = None) -> None:
        self.__get = getter if isinstance(getter, classmethod) else classmethod(getter)
        self.__set = setter if setter is None or isinstance(setter, classmethod) else classmethod(setter)
        function = self.__get.__func__
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__

    __class_getitem__: Any = classmethod(GenericAlias)

    def __get__(self, obj: Any, type: Any = None) -> Any:
        return self.__get.__get__(obj, obj.__class__ if type is None else type)()

    def __set__(self, obj: Any, value: Any) -> Any:
        if self.__set is None:
            raise AttributeError(f"{self.__name__} cannot be set")
        return self.__set.__get__(obj, obj.__class__)(value)

    def setter(self, setter: Any) -> class_property:
        """The same property, that can be set."""
        return self.__class__(self.__get, setter)


def reclassmethod(method: Any) -> Any:
    """The function, as a method of the class."""
    return classmethod(method)

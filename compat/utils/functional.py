"""Small functions and containers that Celery and packages import from here."""

from __future__ import annotations

import operator
import sys
import threading
from collections import OrderedDict, UserDict, UserList
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import islice, tee, zip_longest
from typing import Any

from .heads import FUNHEAD_TEMPLATE, head_from_fun  # noqa: F401 - both are Celery's names

__all__ = (
    "LRUCache",
    "chunks",
    "dictfilter",
    "first",
    "firstmethod",
    "fun_accepts_kwargs",
    "head_from_fun",
    "is_list",
    "lazy",
    "mattrgetter",
    "maybe",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "regen",
    "uniq",
)  # fmt: skip

KEYWORD_MARK = object()

_VARKEYWORDS = 0x08  # inspect.CO_VARKEYWORDS, without the five milliseconds of importing inspect


class DummyContext:
    """A context that does nothing."""

    def __enter__(self) -> DummyContext:  # noqa: PYI034 - nobody subclasses it
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class LRUCache(UserDict):  # type: ignore[type-arg] # any keys, any values
    """A mapping that forgets what was used longest ago when it is full."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.mutex = threading.RLock()
        self.data: OrderedDict[Any, Any] = OrderedDict()

    def __getitem__(self, key: Any) -> Any:
        with self.mutex:
            value = self.data[key]
            self.data.move_to_end(key)
            return value

    def __setitem__(self, key: Any, value: Any) -> None:
        with self.mutex:
            self.data[key] = value
            self.data.move_to_end(key)
            self._shrink()

    def update(self, *args: Any, **kwargs: Any) -> None:
        with self.mutex:
            self.data.update(*args, **kwargs)
            self._shrink()

    def _shrink(self) -> None:
        while self.limit and len(self.data) > self.limit:
            self.data.popitem(last=False)

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
        with self.mutex:
            return self.data.popitem(last)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def keys(self) -> Any:
        with self.mutex:
            return self.data.keys()

    def values(self) -> Any:
        with self.mutex:
            return iter(list(self.data.values()))

    def items(self) -> Any:
        with self.mutex:
            return iter(list(self.data.items()))

    iterkeys = keys
    itervalues = values
    iteritems = items

    def incr(self, key: Any, delta: int = 1) -> int:
        with self.mutex:
            value = int(self.data.pop(key)) + delta
            self[key] = str(value)
            return value

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "mutex"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.mutex = threading.RLock()


def memoize(maxsize: int | None = None, keyfun: Any = None, Cache: Any = LRUCache) -> Any:
    """A decorator that remembers what a function returned."""

    def decorate(fun: Callable[..., Any]) -> Any:
        mutex = threading.Lock()
        cache = Cache(limit=maxsize)

        @wraps(fun)
        def call(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (*args, KEYWORD_MARK, *sorted(kwargs.items()))
            try:
                with mutex:
                    value = cache[key]
            except KeyError:
                value = fun(*args, **kwargs)
                remembering.misses += 1
                with mutex:
                    cache[key] = value
            else:
                remembering.hits += 1
            return value

        def clear() -> None:
            cache.clear()
            remembering.hits = remembering.misses = 0

        remembering: Any = call
        remembering.hits = remembering.misses = 0
        remembering.clear = clear
        remembering.original_func = fun
        return remembering

    return decorate


class lazy:  # noqa: PLW1641 - Celery's has no hash either
    """A call that is made when its value is needed, each time anew."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._fun = fun
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> Any:
        return self.evaluate()

    def evaluate(self) -> Any:
        return self._fun(*self._args, **self._kwargs)

    def __str__(self) -> str:
        return str(self())

    def __repr__(self) -> str:
        return repr(self())

    def __eq__(self, rhs: object) -> bool:
        return bool(self() == rhs)

    def __ne__(self, rhs: object) -> bool:
        return bool(self() != rhs)

    def __deepcopy__(self, memo: dict[int, Any]) -> lazy:
        memo[id(self)] = self
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self._fun,), {"_args": self._args, "_kwargs": self._kwargs}


class mlazy(lazy):
    """A call that is made once, when its value is first needed."""

    evaluated = False
    _value: Any = None

    def evaluate(self) -> Any:
        if not self.evaluated:
            self._value = super().evaluate()
            self.evaluated = True
        return self._value


def maybe_evaluate(value: Any) -> Any:
    """The value, called for when it is lazy (kombu's lazy included)."""
    if isinstance(value, lazy):
        return value.evaluate()
    kombu = sys.modules.get("kombu.utils.functional")
    if kombu is not None and isinstance(value, kombu.lazy):
        return value.evaluate()
    return value


def is_list(obj: Any, scalars: Any = (Mapping, str), iters: Any = (Iterable,)) -> bool:
    """Whether it can be iterated and is neither a mapping nor a text."""
    return isinstance(obj, iters) and not isinstance(obj, scalars or ())


def maybe_list(obj: Any, scalars: Any = (Mapping, str)) -> Any:
    """A list of one when it is not a list; None stays None."""
    return obj if obj is None or is_list(obj, scalars) else [obj]


def dictfilter(d: Any = None, **kw: Any) -> dict[Any, Any]:
    """The items that are not None."""
    items = kw if d is None else (dict(d, **kw) if kw else d)
    return {key: value for key, value in items.items() if value is not None}


def noop(*args: Any, **kwargs: Any) -> None:
    """Does nothing with any arguments."""


def pass1(arg: Any, *args: Any, **kwargs: Any) -> Any:
    """The first argument."""
    return arg


def evaluate_promises(it: Iterable[Any]) -> Iterator[Any]:
    """The values, vine's promises called for theirs."""
    vine = sys.modules.get("vine")  # nobody has made a promise before it was loaded
    for value in it:
        yield value() if vine is not None and isinstance(value, vine.promise) else value


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """The first value that the predicate accepts; without one, the first that is not None."""
    for value in evaluate_promises(it):
        if (value is not None) if predicate is None else predicate(value):
            return value
    return None


def firstmethod(method: str, on_call: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function that asks each of several objects, and returns the first answer that is not None."""

    def ask(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for entry in it:
            asked = getattr(maybe_evaluate(entry), method, None)
            if asked is None:
                continue
            reply = on_call(asked, *args, **kwargs) if on_call else asked(*args, **kwargs)
            if reply is not None:
                return reply
        return None

    return ask


def chunks(it: Iterator[Any], n: int) -> Iterator[list[Any]]:
    """Lists of n items each; `it` must be an iterator."""
    for item in it:
        yield [item, *islice(it, n - 1)]


def padlist(container: Any, size: int, default: Any = None) -> list[Any]:
    """A list of exactly this size, cut or filled up."""
    return list(container)[:size] + [default] * (size - len(container))


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """A function that reads these attributes into a dict, None where there is none."""
    return lambda obj: {attr: getattr(obj, attr, None) for attr in attrs}


def uniq(it: Iterable[Any]) -> Iterator[Any]:
    """Each value once, in order."""
    seen: set[Any] = set()
    for value in it:
        if value not in seen:
            seen.add(value)
            yield value


def lookahead(it: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Each item with the one after it; the last with None."""
    here, ahead = tee(it)
    next(ahead, None)
    return zip_longest(here, ahead)


def regen(it: Any) -> Any:
    """Something that can be iterated again and again; a generator is read as far as it is asked for."""
    if isinstance(it, (list, tuple)):
        return it
    return _regen(it)


class _regen(UserList, list):  # type: ignore[type-arg,misc] # two kinds of list
    """A list that is read from an iterator when it is needed; also a `list` to isinstance and to serializers."""

    def __init__(self, it: Iterable[Any]) -> None:
        self.__it = iter(it)
        self.__read: list[Any] = []
        self.__done = False

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.data,)

    def map(self, func: Callable[[Any], Any]) -> None:
        """Applies a function to what was read and to what is still to come."""
        self.__read = [func(item) for item in self.__read]
        self.__it = map(func, self.__it)

    def __length_hint__(self) -> int:
        return len(self.__read) + operator.length_hint(self.__it)

    def __pull(self) -> bool:
        """Reads one item more; says whether there was one."""
        if self.__done:
            return False
        try:
            self.__read.append(next(self.__it))
        except StopIteration:
            self.__done = True
        return not self.__done

    def __iter__(self) -> Iterator[Any]:
        index = 0
        # One item ahead: when the last one is handed out, it is known to be the last.
        while index < len(self.__read) or self.__pull():
            if index + 1 >= len(self.__read):
                try:
                    self.__pull()
                except Exception:
                    yield self.__read[index]  # what came before the error is still handed out
                    raise
            yield self.__read[index]
            index += 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) or (index := operator.index(index)) < 0:
            return self.data[index]
        while len(self.__read) <= index and self.__pull():
            pass
        return self.__read[index]

    def __bool__(self) -> bool:
        return bool(self.__read) or self.__pull()

    @property
    def data(self) -> list[Any]:  # type: ignore[override] # an attribute there
        while self.__pull():
            pass
        return self.__read

    def __repr__(self) -> str:
        shown = ", ".join(repr(item) for item in self.__read)
        return f"<{self.__class__.__name__}: [{shown}{'' if self.__done else '...'}]>"


def arity_greater(fun: Callable[..., Any], n: int) -> Any:
    """Whether it takes more than n positional arguments."""
    import inspect

    spec = inspect.getfullargspec(fun)
    return spec.varargs or len(spec.args) > n


def fun_takes_argument(name: str, fun: Callable[..., Any], position: int | None = None) -> Any:
    """Whether it takes an argument of this name, or at this position."""
    import inspect

    spec = inspect.getfullargspec(fun)
    return spec.varkw or spec.varargs or (len(spec.args) >= position if position else name in spec.args)


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Whether it takes keyword arguments of any name."""
    code = getattr(fun, "__code__", None)
    if code is not None:
        return bool(code.co_flags & _VARKEYWORDS)
    import inspect

    return any(found.kind is found.VAR_KEYWORD for found in inspect.signature(fun).parameters.values())


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """`typ(val)`, and None for None."""
    return typ(val) if val is not None else val


def seq_concat_item(seq: Any, item: Any) -> Any:
    """A copy of the sequence with one item more."""
    return (*seq, item) if isinstance(seq, tuple) else seq + [item]  # noqa: RUF005 - other sequences keep their kind


def seq_concat_seq(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Both sequences as one, of the kind of the longer one."""
    kind: Any = type(max([a, b], key=len))
    left = a if isinstance(a, kind) else kind(a)
    right = b if isinstance(b, kind) else kind(b)
    return left + right


def is_numeric_value(value: Any) -> bool:
    """Whether it is an int or a float, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)

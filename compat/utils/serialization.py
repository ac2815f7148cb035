"""Exceptions and other values in a form that can be written down."""

from __future__ import annotations

import datetime  # noqa: ICN001 - the module's own name
import numbers
import pickle
import sys
from base64 import b64decode as base64decode
from base64 import b64encode as base64encode
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any, NoReturn

__all__ = (
    "UnpickleableExceptionWrapper",
    "create_exception_cls",
    "find_pickleable_exception",
    "get_pickleable_etype",
    "get_pickleable_exception",
    "get_pickled_exception",
    "strtobool",
    "subclass_exception",
)  # fmt: skip

unwanted_base_classes = (Exception, BaseException, object)

STRTOBOOL_DEFAULT_TABLE = {
    **dict.fromkeys(("true", "yes", "1", "on"), True),
    **dict.fromkeys(("false", "no", "0", "off"), False),
}


def subclass_exception(name: str, parent: type, module: str) -> Any:
    """A new exception class."""
    return type(name, (parent,), {"__module__": module})


def create_exception_cls(name: str, module: str, parent: type | None = None) -> Any:
    """A new exception class, for one that cannot be found here."""
    return subclass_exception(name, parent or Exception, module)


def itermro(cls: type, stop: Iterable[type]) -> Iterator[type]:
    """The classes above this one, up to those."""
    return takewhile(lambda above: above not in stop, cls.__mro__)


def find_pickleable_exception(
    exc: BaseException, loads: Callable[[bytes], Any] = pickle.loads, dumps: Callable[[Any], bytes] = pickle.dumps
) -> Any:
    """The same arguments in the nearest class above that can be pickled; None when there is none but Exception."""
    for above in itermro(exc.__class__, unwanted_base_classes):
        try:
            found = above(*getattr(exc, "args", ()))
            loads(dumps(found))
        except Exception:  # noqa: BLE001, S112 - a user's exception may raise anything
            continue
        return found
    return None


def ensure_serializable(items: Iterable[Any], encoder: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Each of them as it is, or its repr when the encoder refuses it."""
    return tuple(item if _encodes(item, encoder) else _safe_repr(item) for item in items)


def _encodes(item: Any, encoder: Callable[[Any], Any]) -> bool:
    try:
        encoder(item)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _round_trip(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - what we have just written ourselves


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - as above
        return f"<Unrepresentable: {type(value)!r}: {error!r}>"


class UnpickleableExceptionWrapper(Exception):
    """What is left of an exception that cannot be pickled: where it was defined, its name, its arguments, its text."""

    __module__ = "celery.utils.serialization"  # stock Celery reads these pickles

    exc_module: Any = None
    exc_cls_name: Any = None
    exc_args: Any = None

    def __init__(self, exc_module: str, exc_cls_name: str, exc_args: Iterable[Any], text: str | None = None) -> None:
        safe_args = ensure_serializable(exc_args, _round_trip)
        self.exc_module = exc_module
        self.exc_cls_name = exc_cls_name
        self.exc_args = safe_args
        self.text = text
        super().__init__(exc_module, exc_cls_name, safe_args, text)

    def restore(self) -> BaseException:
        """An exception of a class of the same name."""
        return create_exception_cls(self.exc_cls_name, self.exc_module)(*self.exc_args)  # type: ignore[no-any-return] # of any name

    def __str__(self) -> str:
        return self.text or f"{self.exc_module}.{self.exc_cls_name}{self.exc_args}"

    @classmethod
    def from_exception(cls, exc: BaseException) -> UnpickleableExceptionWrapper:
        """The wrapper of this exception, with its traceback."""
        kind = exc.__class__
        made = cls(kind.__module__, kind.__name__, getattr(exc, "args", ()), _safe_repr(exc))
        return made.with_traceback(exc.__traceback__)


def get_pickleable_exception(exc: BaseException) -> BaseException:
    """The exception, or what can be pickled in its place."""
    if _encodes(exc, _round_trip):
        return exc
    return find_pickleable_exception(exc) or UnpickleableExceptionWrapper.from_exception(exc)


def get_pickleable_etype(
    cls: Any, loads: Callable[[bytes], Any] = pickle.loads, dumps: Callable[[Any], bytes] = pickle.dumps
) -> Any:
    """The class, or Exception when it cannot be pickled."""
    return cls if _encodes(cls, lambda value: loads(dumps(value))) else Exception


def get_pickled_exception(exc: Any) -> Any:
    """What `get_pickleable_exception` was given, as far as it can be told."""
    return exc.restore() if isinstance(exc, UnpickleableExceptionWrapper) else exc


def b64encode(s: bytes | str) -> str:
    """base64, as a text."""
    return base64encode(s.encode() if isinstance(s, str) else s).decode()


def b64decode(s: bytes | str) -> bytes:
    """What a base64 text stands for."""
    return base64decode(s.encode() if isinstance(s, str) else s)


def strtobool(term: Any, table: dict[str, bool] | None = None) -> Any:
    """True or false, whichever word was used for it; what is no text is left alone."""
    if not isinstance(term, str):
        return term
    try:
        return (STRTOBOOL_DEFAULT_TABLE if table is None else table)[term.lower()]
    except KeyError:
        raise TypeError(f"Cannot coerce {term!r} to type bool") from None


def _datetime_to_json(dt: Any) -> str:
    """ECMA-262's form: milliseconds, and Z for UTC."""
    text: str = dt.isoformat()
    if isinstance(dt, datetime.datetime):
        if dt.microsecond:
            text = text[:23] + text[26:]
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    if isinstance(dt, datetime.time) and dt.microsecond:
        return text[:12]
    return text


def jsonify(
    obj: Any,
    builtin_types: Any = (numbers.Real, str),
    key: Any = None,
    keyfilter: Callable[[Any], Any] | None = None,
    unknown_type_filter: Callable[[Any], Any] | None = None,
) -> Any:
    """The value with nothing in it but what JSON has; others go through the filter, or are refused."""

    def inner(value: Any, key: Any = key) -> Any:
        return jsonify(value, builtin_types, key, keyfilter, unknown_type_filter)

    kombu = sys.modules.get("kombu.abstract")  # no queue or exchange exists before it was loaded
    if kombu is not None and isinstance(obj, kombu.Object):
        obj = obj.as_dict(recurse=True)
    if obj is None or isinstance(obj, builtin_types):
        return obj
    if isinstance(obj, (tuple, list)):
        return [inner(value) for value in obj]
    if isinstance(obj, dict):
        return {name: inner(value, name) for name, value in obj.items() if not keyfilter or keyfilter(name)}
    if isinstance(obj, (datetime.date, datetime.time)):
        return _datetime_to_json(obj)
    if isinstance(obj, datetime.timedelta):
        return str(obj)
    if unknown_type_filter is None:
        raise ValueError(f"Unsupported type: {type(obj)!r} {obj!r} (parent: {key})")
    return unknown_type_filter(obj)


def raise_with_context(exc: BaseException) -> NoReturn:
    """Raises it, from the exception that is being handled."""
    current = sys.exc_info()[1]
    if current is exc:
        raise exc
    raise exc from current

"""Exceptions on their way into a result and out of it, and what a result that cannot be read raises.

Law: reading runs nothing but the constructor of an exception class that is loaded already, and imports nothing that a
message names. What Celery calls `celery.x` is our own module here, whoever else goes by that name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from ...protocol.errors import BadMessage, Refused, shown
from ...protocol.wire import failure
from ...protocol.wire.failure import Failure, NotAnException
from .. import exceptions
from .base import EXCEPTION_ABLE_CODECS

_OURS = __name__.partition(".compat.")[0] + ".compat"
_BILLIARD = ("SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError", "Terminated")
# Ours, the one by dependency, and imported late only to save time.
_TRUSTED = ("kombu.exceptions", "celery.utils.serialization")


class _Loaded(Mapping[str, ModuleType]):
    """The modules that are loaded, Celery's names standing for ours."""

    def __getitem__(self, name: str) -> ModuleType:
        if name == "celery" or name.startswith("celery."):
            if name in _TRUSTED:
                import_module(_OURS + name[len("celery") :])
            ours = sys.modules.get(_OURS + name[len("celery") :])
            if ours is not None:
                return ours
        if name == "billiard.exceptions":
            return _billiard()
        if name in _TRUSTED and name not in sys.modules:
            import_module(name)
        return sys.modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(sys.modules))

    def __len__(self) -> int:
        return len(sys.modules)


def _billiard() -> ModuleType:
    loaded = sys.modules.get("billiard.exceptions")
    if loaded is not None:
        return loaded
    stand_in = ModuleType("billiard.exceptions")
    for name in _BILLIARD:
        setattr(stand_in, name, getattr(exceptions, name))
    return stand_in


LOADED = _Loaded()


def rebuilt(kept: Failure) -> BaseException:
    """The exception, of the class that raised it where that is loaded."""
    try:
        return failure.rebuild(kept, LOADED)
    except NotAnException:
        named = kept.exc_type if kept.exc_module is None else f"{kept.exc_module}.{kept.exc_type}"
        raise exceptions.SecurityError(
            f"Expected an exception class, got {named} with payload {list(kept.args)}"
        ) from None


def to_python(value: Any, serializer: str) -> BaseException | None:
    """The exception that a stored value tells of; None of nothing."""
    if isinstance(value, BaseException):
        return _unpickled(value) if serializer in EXCEPTION_ABLE_CODECS else value
    if not value:
        return None
    if isinstance(value, Failure):
        return rebuilt(value)
    if not isinstance(value, dict):
        try:
            value = dict(value)
        except (TypeError, ValueError):
            raise TypeError(
                "If the stored exception isn't an instance of BaseException, it must be a dictionary.\n"
                f"Instead got: {value}"
            ) from None
    if "exc_type" not in value:
        raise ValueError("Exception information must include the exception type")
    return rebuilt(failure.parse(value))


def _unpickled(exc: BaseException) -> BaseException:
    from ..utils.serialization import get_pickled_exception

    found: BaseException = get_pickled_exception(exc)
    return found


def prepared(exc: BaseException, serializer: str, encode: Callable[[Any], object]) -> Any:
    """The exception as it is stored: itself in a pickle, else its class and its arguments."""
    if serializer in EXCEPTION_ABLE_CODECS:
        from ..utils.serialization import get_pickleable_exception

        return get_pickleable_exception(exc)
    kind = type(exc)
    args = getattr(exc, "args", ())
    return {
        "exc_type": kind.__qualname__,
        "exc_message": tuple(_writable(arg, encode) for arg in (args if isinstance(args, tuple) else (args,))),
        "exc_module": kind.__module__,
    }


def _writable(value: Any, encode: Callable[[Any], object]) -> Any:
    try:
        encode(value)
    except Exception:  # noqa: BLE001 - a serializer says no in many ways
        try:
            return repr(value)
        except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
            return f"<Unrepresentable {type(value).__qualname__}>"
    return value


def unreadable(task_id: str, bad: BadMessage, stored: bytes | None = None) -> Exception:
    """That what is stored for this task cannot be read: of kombu's classes, which Celery lets through."""
    from kombu.exceptions import ContentDisallowed, DecodeError

    begins = f"; it begins {shown(stored)}" if stored is not None and "it begins" not in str(bad) else ""
    kind = ContentDisallowed if isinstance(bad, Refused) else DecodeError
    found: Exception = kind(f"the result of task {task_id} cannot be read: {bad}{begins}")
    return found

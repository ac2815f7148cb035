"""Exceptions as results carry them: `{"exc_type": ..., "exc_message": [...], "exc_module": ...}`.

Law: reading never imports and never runs code that the message names, save the constructor of a class that is
an exception and was loaded already. Whatever a failed task left behind reads as some `Failure`: that it failed
is known from the state, and a reader that learns it in poor words is better off than one that crashes.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import getattr_static
from types import ModuleType
from typing import Any

from ..errors import BadMessage, shown
from ..values import dataclass

_BUILTINS = "builtins"
_UNNAMED = "celery.backends.base"  # where a class lives whose message names no module
_UNKNOWN = "celery.exceptions"  # where it lives when the module it names is not loaded, or lacks it
_LONGEST_NAME = 200
_DEEPEST_NAME = 20


class NotAnException(BadMessage):
    """The message names something that is loaded and is no exception class. It was not called."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception taken apart: the qualified name of its class, its arguments, and the module of its class."""

    exc_type: str
    args: tuple[Any, ...] = ()
    exc_module: str | None = _BUILTINS

    def build(self) -> dict[str, Any]:
        return {"exc_type": self.exc_type, "exc_message": list(self.args), "exc_module": self.exc_module}

    def __str__(self) -> str:
        return f"{self.exc_type}({', '.join(map(_safe_repr, self.args))})"


def parse(value: Any) -> Failure:
    """The failure that a stored value tells of. Total: celery 3.1's texts and other people's objects read as well."""
    if isinstance(value, Failure):
        return value
    if isinstance(value, BaseException):  # what an accepted pickle holds
        return Failure(type(value).__qualname__, _args_of(value), type(value).__module__)
    if not isinstance(value, dict):
        return Failure("Exception", (value,))
    name, module = value.get("exc_type"), value.get("exc_module")
    if not isinstance(name, str) or not name:
        name, module = "Exception", _BUILTINS
        args = value.get("exc_message", value)
    else:
        args = value.get("exc_message", ())
    if not isinstance(args, (list, tuple)):
        args = (args,)
    return Failure(name, tuple(args), module if isinstance(module, str) else None)


# --- from a live exception


def of(exc: BaseException, encode: Callable[[Any], object]) -> Failure:
    """This exception as a failure. Arguments that `encode` (the serializer) cannot write become their repr.

    An exception that does not survive pickling gives way to the nearest of its classes that does, and failing
    that to a record of itself: so does Celery, whichever serializer is in use, because its pools pickle.
    """
    kept = _picklable(exc)
    if kept is None:
        return _wrapped(exc, encode)
    kind = type(kept)
    return Failure(kind.__qualname__, _writable(_args_of(kept), encode), kind.__module__)


def _picklable(exc: BaseException) -> BaseException | None:
    if _survives_pickle(exc):
        return exc
    for kind in type(exc).__mro__:
        if kind in (Exception, BaseException, object):
            return None
        try:
            nearest = kind(*_args_of(exc))
        except Exception:  # noqa: BLE001, S112 - a user's constructor may raise anything; then the next class
            continue
        if isinstance(nearest, BaseException) and _survives_pickle(nearest):
            return nearest
    return None  # pragma: no cover - every exception class meets BaseException on its way up


def _survives_pickle(value: object) -> bool:
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever a user's __reduce__ or constructor raises
        return False
    return True


def _wrapped(exc: BaseException, encode: Callable[[Any], object]) -> Failure:
    kind = type(exc)
    args = [arg if _survives_pickle(arg) else _safe_repr(arg) for arg in _args_of(exc)]
    record = (kind.__module__, kind.__name__, args, _safe_repr(exc))
    return Failure("UnpickleableExceptionWrapper", _writable(record, encode), "celery.utils.serialization")


def _writable(args: tuple[Any, ...], encode: Callable[[Any], object]) -> tuple[Any, ...]:
    return tuple(arg if _can_write(arg, encode) else _safe_repr(arg) for arg in args)


def _can_write(value: Any, encode: Callable[[Any], object]) -> bool:
    try:
        encode(value)
    except Exception:  # noqa: BLE001 - a serializer says no in many ways
        return False
    return True


def _args_of(exc: BaseException) -> tuple[Any, ...]:
    args = getattr(exc, "args", ())
    return args if isinstance(args, tuple) else ()


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<Unrepresentable {type(value).__qualname__}>"


# --- back to an exception


def resolve(failure: Failure, modules: Mapping[str, ModuleType]) -> type[BaseException]:
    """The class of a failure among the modules that are loaded, or a class made for it.

    Raises `NotAnException` for anything else that goes by that name, a function for instance.
    """
    if failure.exc_module is None:
        return _made(_clean(failure.exc_type), _UNNAMED)
    found = _look_up(modules.get(failure.exc_module), failure.exc_type)
    if found is None:
        return _made(_clean(failure.exc_type), _UNKNOWN)
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    named = shown(f"{failure.exc_module}.{failure.exc_type}")
    raise NotAnException("result", f"expected the name of an exception class, got {named}", field="exc_type")


def rebuild(failure: Failure, modules: Mapping[str, ModuleType]) -> BaseException:
    """The exception itself. When its constructor refuses the arguments, a plain Exception that names both."""
    kind = resolve(failure, modules)
    try:
        exc = kind(*failure.args)
    except Exception:  # noqa: BLE001 - a user's constructor may raise anything
        exc = None
    return exc if isinstance(exc, BaseException) else Exception(f"{kind}({_safe_repr(list(failure.args))})")


def _look_up(place: Any, qualname: str) -> Any:
    """What a dotted name stands for, without running a module's or a metaclass' own attribute hooks."""
    if len(qualname) > _LONGEST_NAME or qualname.count(".") > _DEEPEST_NAME:
        return None
    for name in qualname.split("."):
        if isinstance(place, ModuleType):
            place = vars(place).get(name)
        elif isinstance(place, type):
            place = getattr_static(place, name, None)
        else:
            return None
    return place


def _clean(name: str) -> str:
    return re.sub(r"[^\w.<>]", "_", name[:_LONGEST_NAME])


@lru_cache(maxsize=512)
def _made(name: str, module: str) -> type[BaseException]:
    return type(name, (Exception,), {"__module__": module})


# --- what Celery's own failures look like


def revoked(reason: str) -> Failure:
    """Reason: revoked, expired or terminated."""
    return Failure("TaskRevokedError", (reason,), "celery.exceptions")


def rejected(reason: Any, requeue: bool) -> Failure:
    return Failure("Reject", (reason, requeue), "celery.exceptions")


def not_registered(name: str) -> Failure:
    return Failure("NotRegistered", (name,), "celery.exceptions")


def max_retries(name: str, task_id: str, args: str, kwargs: str) -> Failure:
    """Retries ran out and no exception was given. `args` and `kwargs` are reprs."""
    text = f"Can't retry {name}[{task_id}] args:{args} kwargs:{kwargs}"
    return Failure("MaxRetriesExceededError", (text,), "celery.exceptions")


def unencodable(cause: BaseException) -> Failure:
    """The return value cannot be written by the result serializer, which said so with `cause`."""
    return Failure("EncodeError", (_safe_repr(cause),), "kombu.exceptions")


def time_limit(seconds: float) -> Failure:
    return Failure("TimeLimitExceeded", (seconds,), "billiard.exceptions")


def soft_time_limit() -> Failure:
    return Failure("SoftTimeLimitExceeded", (), "billiard.exceptions")


def lost_text(why: str, job: int) -> str:
    """What who waits for a task is told, and the log, when the process that ran it is gone. `why` is of a signal, as
    `signal 9 (SIGKILL)`, or anything else, as `exitcode 3`.
    """
    return f"Worker exited prematurely: {why}{f' Job: {job}' if why.startswith('signal ') else ''}."


def worker_lost(why: str, job: int) -> Failure:
    return Failure("WorkerLostError", (lost_text(why, job),), "billiard.exceptions")


def chord_error(text: str) -> Failure:
    return Failure("ChordError", (text,), "celery.exceptions")


def dependency_failed(task_id: str, exc: str) -> Failure:
    """A member of a chord's header failed; `exc` is the repr of its exception."""
    return chord_error(f"Dependency {task_id} raised {exc}")


def callback_failed(exc: str) -> Failure:
    """The body of a chord could not be sent."""
    return chord_error(f"Callback error: {exc}")


def join_failed(exc: str) -> Failure:
    """The members of a chord could not be collected."""
    return chord_error(f"Join error: {exc}")


def group_lost(group_id: str) -> Failure:
    return chord_error(f"GroupResult {group_id} no longer exists")


KNOWN: Mapping[str, Callable[..., Failure]] = {
    "revoked": revoked,
    "rejected": rejected,
    "not registered": not_registered,
    "max retries": max_retries,
    "unencodable": unencodable,
    "time limit": time_limit,
    "soft time limit": soft_time_limit,
    "worker lost": worker_lost,
    "dependency failed": dependency_failed,
    "callback failed": callback_failed,
    "join failed": join_failed,
    "group lost": group_lost,
}

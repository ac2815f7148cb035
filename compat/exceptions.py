"""Celery's errors and warnings, under Celery's module name so that pickles and `exc_module` agree with stock Celery.

Law: importing this file imports no other package. Errors that belong to others (kombu's OperationalError, billiard's
time limits, click's exception) are fetched when they are first asked for, so that they are the very same classes.
"""

from __future__ import annotations

import sys
from types import TracebackType

from ..protocol.hints import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from datetime import datetime

    from click import ClickException
    from kombu.exceptions import OperationalError

    class SoftTimeLimitExceeded(Exception): ...

    class TimeLimitExceeded(Exception): ...

    class WorkerLostError(Exception): ...

    class Terminated(Exception): ...

    class CeleryCommandException(ClickException):
        def __init__(self, message: str, exit_code: int) -> None: ...


__all__ = (
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "CeleryCommandException",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "DuplicateNodenameWarning",
    "DuplicateTaskNameWarning",
    "FixupWarning",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotConfigured",
    "NotRegistered",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SecurityError",
    "SecurityWarning",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
    "reraise",
)  # fmt: skip

UNREGISTERED_FMT = "Task of kind {0} never registered, please make sure it's imported."

_OURS = __name__
__name__ = "celery.exceptions"


def reraise(tp: Any, value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raises `value` again, with this traceback when it has another."""
    if value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


class CeleryWarning(UserWarning):
    """What Celery warns of."""


class AlwaysEagerIgnored(CeleryWarning):
    """`send_task` goes to the broker although `task_always_eager` is set."""


class DuplicateNodenameWarning(CeleryWarning):
    """Two workers answer to one name."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Two functions are registered as tasks under one name."""


class FixupWarning(CeleryWarning):
    """What is done for a framework does not fit it."""


class NotConfigured(CeleryWarning):
    """No configuration module was found."""


class SecurityWarning(CeleryWarning):
    """Something makes this installation unsafe."""


class CeleryError(Exception):
    """What Celery raises."""


class TaskPredicate(CeleryError):
    """What a task raises to say how it ends, other than by success or failure."""


class Retry(TaskPredicate):
    """The task runs again later."""

    message: str | None = None
    exc: BaseException | None = None
    when: float | datetime | None = None

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.excs: str | None
        if isinstance(exc, str):
            self.exc, self.excs = None, exc
        elif exc:
            self.exc, self.excs = _portable(exc), _safe_repr(exc)
        else:
            self.exc, self.excs = None, None
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(message, exc, when, **kwargs)

    def humanize(self) -> str:
        """When it runs again, in words."""
        if isinstance(self.when, (int, float)):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.message, self.exc, self.when)


RetryTaskError = Retry


class Ignore(TaskPredicate):
    """The task ends, and its state is left as it is."""


class Reject(TaskPredicate):
    """The message is given back to the broker."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class ImproperlyConfigured(CeleryError):
    """The configuration cannot work."""


class SecurityError(CeleryError):
    """Content was not trusted, or could not be signed."""


class TaskError(CeleryError):
    """Something is wrong with a task."""


class QueueNotFound(KeyError, TaskError):
    """The task is routed to a queue that `task_queues` does not name."""


class IncompleteStream(TaskError):
    """A stream of data ended too soon."""


class NotRegistered(KeyError, TaskError):
    """Nothing is registered under this task name."""

    def __repr__(self) -> str:
        return UNREGISTERED_FMT.format(self)


class AlreadyRegistered(TaskError):
    """The task name is taken."""


class TimeoutError(TaskError):
    """The answer did not come in time."""


class MaxRetriesExceededError(TaskError):
    """The task was tried as often as it may."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args = kwargs.pop("task_args", [])
        self.task_kwargs = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked, so there is no result."""


class InvalidTaskError(TaskError):
    """The message cannot be a task."""


class ChordError(TaskError):
    """A task in the header of a chord failed."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Something will be deprecated."""


class CDeprecationWarning(DeprecationWarning):
    """Something is deprecated."""


class WorkerTerminate(SystemExit):
    """The worker is to stop at once."""


SystemTerminate = WorkerTerminate


class WorkerShutdown(SystemExit):
    """The worker is to finish what runs, and stop."""


class BackendError(Exception):
    """The result store could not be read or written."""


class BackendGetMetaError(BackendError):
    """A result could not be read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_id = kwargs.get("task_id", "")

    def __repr__(self) -> str:
        return f"{super().__repr__()} task_id:{self.task_id}"


class BackendStoreError(BackendError):
    """A result could not be written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state = kwargs.get("state", "")
        self.task_id = kwargs.get("task_id", "")

    def __repr__(self) -> str:
        return f"{super().__repr__()} state:{self.state} task_id:{self.task_id}"


__name__ = _OURS


def _portable(exc: BaseException) -> BaseException:
    from .utils.serialization import get_pickleable_exception

    return get_pickleable_exception(exc)


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a user's repr may raise anything
        return _safe_str(value)


def _safe_str(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - and so may a user's str
        return f"<Unrepresentable: {type(error)!r}: {error!r}>"


def _from_kombu(name: str) -> Any:
    from kombu import exceptions

    return getattr(exceptions, name)


def _from_billiard(name: str) -> Any:
    """billiard's own class where it is installed: `except` clauses of users and pools then mean the same."""
    from .alias import billiard_exceptions

    return getattr(billiard_exceptions(), name)


def _command_exception(name: str) -> Any:
    from click import ClickException

    def init(self: Any, message: str, exit_code: int) -> None:
        ClickException.__init__(self, message=message)
        self.exit_code = exit_code

    body = {"__init__": init, "__module__": "celery.exceptions", "__doc__": "A command failed, with this exit code."}
    return type(name, (ClickException,), body)


_FOREIGN = {
    "OperationalError": _from_kombu,
    "SoftTimeLimitExceeded": _from_billiard,
    "TimeLimitExceeded": _from_billiard,
    "WorkerLostError": _from_billiard,
    "Terminated": _from_billiard,
    "CeleryCommandException": _command_exception,
}
if not TYPE_CHECKING:  # a checker is to know the names above, and no others

    def __getattr__(name: str) -> Any:
        try:
            fetch = _FOREIGN[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        return sys.modules[__name__].__dict__.setdefault(name, fetch(name))

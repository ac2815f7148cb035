"""Celery's app: the class `Celery`, its configuration, tasks and what they need."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from ...protocol.hints import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload
from .. import _state
from .._state import disable_trace, enable_trace, pop_current_task, push_current_task
from ..local import Proxy
from .base import Celery
from .utils import AppPickler

if TYPE_CHECKING:
    from .decorators import BoundDecorator, Decorator
    from .task import Task

__all__ = (
    "AppPickler",
    "Celery",
    "app_or_default",
    "bugreport",
    "default_app",
    "disable_trace",
    "enable_trace",
    "pop_current_task",
    "push_current_task",
    "shared_task",
)

P = ParamSpec("P")
R = TypeVar("R")

#: The default app, whichever that is when it is used.
default_app: Any = Proxy(lambda: _state.default_app)


def app_or_default(app: Any = None) -> Any:
    """The app given, or the current one."""
    return _state.app_or_default(app)


def bugreport(app: Any = None) -> str:
    """What a bug report should tell."""
    return (app or _state.get_current_app()).bugreport()  # type: ignore[no-any-return]  # an app is Any to its tasks


# As for `Celery.task`.
@overload
def shared_task(fun: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
@overload
def shared_task(fun: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(*, bind: Literal[True], **kwargs: Any) -> BoundDecorator: ...
@overload
def shared_task(*, bind: Literal[False] = False, **kwargs: Any) -> Decorator: ...
def shared_task(*args: Any, **kwargs: Any) -> Any:
    """Make a task that every app has, those that are made later too. Using it uses the current app's."""

    def create_shared_task(**options: Any) -> Callable[[Any], Any]:
        def decorate(fun: Any) -> Any:
            if type(fun) is Proxy:
                raise TypeError("@shared_task was applied to a function that is a shared task already: use it once.")
            name = options.get("name")
            _state.connect_on_app_finalize(lambda app: app._task_from_fun(fun, **options))
            for app in list(_state._get_active_apps()):
                if app.finalized:
                    with app._finalize_mutex:
                        app._task_from_fun(fun, **options)

            def task_of_current_app() -> Any:
                app = _state.get_current_app()
                return app.tasks[name or app.gen_task_name(fun.__name__, fun.__module__)]

            return Proxy(task_of_current_app)

        return decorate

    if len(args) == 1 and callable(args[0]):
        return create_shared_task(**kwargs)(args[0])
    return create_shared_task(*args, **kwargs)

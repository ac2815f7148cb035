"""Making tasks: of functions, for `@app.task`, and of classes, for `app.register_task`.

Law: an app that is asked for the same name twice has one task of it, and says so where the functions are two.
"""

from __future__ import annotations

import sys
import warnings

from ...protocol.hints import TYPE_CHECKING, Any, TypeAlias
from ..utils.imports import qualname

if TYPE_CHECKING:
    from .base import Celery

Models: TypeAlias = "tuple[bool, dict[str, Any] | None, dict[str, Any] | None] | None"


def task_of(app: Celery, fun: Any, name: str, base: Any, bind: bool, models: Models, options: dict[str, Any]) -> Any:
    """The task of this name, which is made of `fun` if there is none yet."""
    with app._finalize_mutex:  # two threads may use it for the first time
        task = app._tasks.get(name)
        if task is None:
            return _new_task(app, fun, name, base, bind, models, options)
    # A module that is imported twice gives the same function: that is no collision.
    existing = getattr(task, "_decorated_fun", None)
    if existing is not None and existing is not fun:
        told = "The new one is not registered: calls reach the other."
        _warn_of_duplicate(app, name, qualname(existing), qualname(fun), told)
    return task


def _new_task(app: Celery, fun: Any, name: str, base: Any, bind: bool, models: Models, options: dict[str, Any]) -> Any:
    decorated, dump = fun, None
    if models is not None:
        from .pydantic import wrap

        fun, dump = wrap(app, fun, name, *models, bind)
    run = fun if bind else staticmethod(fun)
    attributes = {
        "app": app,
        "name": name,
        "run": run,
        "_decorated": True,
        "_dump_pydantic_arguments": None if dump is None else staticmethod(dump),
        "__doc__": fun.__doc__,
        "__module__": fun.__module__,
        "__annotations__": _annotations(fun),
        "__header__": app.type_checker(fun, bound=bind),
        "__wrapped__": run,
        "_decorated_fun": staticmethod(decorated),
        **options,
    }
    task = type(fun.__name__, (base or app.Task,), attributes)()
    task.__qualname__ = getattr(fun, "__qualname__", fun.__name__)
    app._tasks[name] = task
    task.bind(app)
    _add_autoretry(task, options)
    return task


def registered(app: Celery, task: Any, options: dict[str, Any]) -> Any:
    """The task, in the place of any other of its name."""
    existing = app.tasks.get(task.name)
    if existing is not None and existing is not task:
        told = "The new one has taken the place of the other."
        _warn_of_duplicate(app, task.name, _named(existing), _named(task), told)
    _add_autoretry(task, options)
    app.tasks[task.name] = task
    task._app = app
    task.bind(app)
    return task


def _add_autoretry(task: Any, options: dict[str, Any]) -> None:
    if options.get("autoretry_for") or getattr(task, "autoretry_for", None):
        from .autoretry import add_autoretry_behaviour

        add_autoretry_behaviour(task, **options)


def _named(task: Any) -> str:
    return qualname(getattr(task, "_decorated_fun", None) or type(task))


def _warn_of_duplicate(app: Celery, name: str, existing: str, new: str, consequence: str) -> None:
    if name in app._duplicate_task_names_warned:  # one mistake, one line
        return
    app._duplicate_task_names_warned.add(name)
    from ..exceptions import DuplicateTaskNameWarning

    text = (
        f"Two tasks have the name {name!r}: {existing} and {new}. {consequence} "
        "Give one of them another name: @task(name=...), or rename the function."
    )
    warnings.warn(DuplicateTaskNameWarning(text), stacklevel=_stacklevel())


def _stacklevel() -> int:
    """How far up is the first frame that is not of this house: registering may be immediate or deferred."""
    frame: Any = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("celery", "celeriac"):
        frame, level = frame.f_back, level + 1
    return level


def _annotations(fun: Any) -> Any:
    """A function's annotations, unevaluated where evaluating fails (Python 3.14 evaluates late)."""
    try:
        return fun.__annotations__
    except NameError:
        import annotationlib  # type: ignore[import-not-found,unused-ignore]  # there when this happens

        return annotationlib.get_annotations(fun, format=annotationlib.Format.STRING)

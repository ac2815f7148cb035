"""The tasks of an app by name."""

from __future__ import annotations

from importlib import import_module

from ...protocol.hints import Any
from .._state import get_current_app
from ..exceptions import InvalidTaskError, NotRegistered

__all__ = ("TaskRegistry",)


class TaskRegistry(dict[str, Any]):
    """A dict of task instances; a name that is not in it is `NotRegistered`, a KeyError."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> Any:
        raise self.NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task, or an instance of a class of tasks, under its own name."""
        if task.name is None:
            raise InvalidTaskError(f"Task class {type(task).__name__!r} must specify .name attribute")
        task = task() if isinstance(task, type) else task
        if getattr(task, "autoretry_for", None):
            from .autoretry import add_autoretry_behaviour

            add_autoretry_behaviour(task)
        self[task.name] = task

    def unregister(self, name: Any) -> None:
        """Remove a task, given itself or its name."""
        try:
            self.pop(getattr(name, "name", name))
        except KeyError:
            raise self.NotRegistered(name) from None

    def regular(self) -> dict[str, Any]:
        return self.filter_types("regular")

    def periodic(self) -> dict[str, Any]:
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> dict[str, Any]:
        return {name: task for name, task in self.items() if getattr(task, "type", "regular") == type}


def _unpickle_task(name: str) -> Any:
    return get_current_app().tasks[name]


def _unpickle_task_v2(name: str, module: str | None = None) -> Any:
    """A task by its name; importing its module registers it."""
    if module:
        import_module(module)
    return get_current_app().tasks[name]


# What is pickled under Celery's names is found by stock workers too.
_unpickle_task.__module__ = _unpickle_task_v2.__module__ = "celery.app.registry"

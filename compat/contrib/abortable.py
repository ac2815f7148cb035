"""Tasks that whoever sent them can ask to stop: they look, from time to time, whether they have been asked."""

from __future__ import annotations

from typing import Any

from ..app.task import Task
from ..result import AsyncResult

__all__ = ("AbortableAsyncResult", "AbortableTask")

ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult):  # type: ignore[misc,type-arg,unused-ignore] # of whatever the task returns
    """The result of such a task."""

    def is_aborted(self) -> bool:
        """Whether it was asked to stop."""
        return bool(self.state == ABORTED)

    def abort(self) -> Any:
        """Asks it to stop. When it does, and whether, is up to the task."""
        return self.backend.store_result(self.id, result=None, state=ABORTED, traceback=None)


class AbortableTask(Task):  # type: ignore[misc,type-arg,unused-ignore] # of whatever it takes and returns
    """The base class of such tasks."""

    abstract = True

    def AsyncResult(self, task_id: str) -> Any:  # type: ignore[override,unused-ignore] # Celery narrows it here
        """The result of the run with this id."""
        return AbortableAsyncResult(task_id, backend=self.backend)

    def is_aborted(self, **kwargs: Any) -> bool:
        """Whether this run was asked to stop. Asks the result store: not too often."""
        result = self.AsyncResult(kwargs.get("task_id", self.request.id))
        return isinstance(result, AbortableAsyncResult) and result.is_aborted()

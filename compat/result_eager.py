"""The result of a task that was run here and now. Its name is `celery.result`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import result as one  # whoever replaces what is in there is asked
from . import states
from .exceptions import TaskRevokedError
from .result import AsyncResult, R


class EagerResult(AsyncResult[R]):
    """The result of a task that was run here and now."""

    def __init__(self, id: str, ret_value: Any, state: str, traceback: Any = None, name: str | None = None) -> None:
        self.id = id
        self._result = ret_value
        self._state = state
        self._traceback = traceback
        self._name = name

    @property
    def on_ready(self) -> Any:
        if self._promise is None:
            from vine import promise  # type: ignore[import-untyped, unused-ignore]  # an untyped library

            self._promise = promise()
            self._promise(self)
        return self._promise

    @on_ready.setter
    def on_ready(self, made: Any) -> None:
        self._promise = made

    def then(self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None, weak: bool = False) -> Any:
        return self.on_ready.then(callback, on_error)

    @property
    def _cache(self) -> Any:
        return {
            "task_id": self.id,
            "result": self._result,
            "status": self._state,
            "traceback": self._traceback,
            "name": self._name,
        }

    def _get_task_meta(self) -> Any:
        return self._cache

    def __reduce_args__(self) -> tuple[Any, ...]:
        return self.id, self._result, self._state, self._traceback, self._name

    def __copy__(self) -> EagerResult[R]:
        return self.__class__(*self.__reduce_args__())

    def ready(self) -> bool:
        return True

    def get(  # type: ignore[override]  # Celery's own parameters
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        **kwargs: Any,
    ) -> R:
        """What the task returned, or raise what it raised; without `propagate`, return that."""
        if disable_sync_subtasks:
            one.assert_will_not_block()
        if self.successful():
            return self._result  # type: ignore[no-any-return]  # whatever the task returned
        if self.state in states.PROPAGATE_STATES:
            if propagate:
                raise self._result if isinstance(self._result, Exception) else Exception(self._result)
            return self._result  # type: ignore[no-any-return]  # whatever the task returned
        return None  # type: ignore[return-value]  # ignored, rejected or to be retried

    wait = get  # type: ignore[assignment]  # Celery's own parameters

    async def aget(  # type: ignore[override]  # Celery's own parameters
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = False,
        **kwargs: Any,
    ) -> R:
        return self.get(timeout, propagate, disable_sync_subtasks)

    def forget(self) -> None:
        """There is nothing to forget."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """It has run already: from now on it only says that it was revoked."""
        self._state = states.REVOKED
        self._result = TaskRevokedError("revoked")
        self._traceback = None

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    @property
    def result(self) -> Any:
        return self._result

    @property
    def state(self) -> Any:
        return self._state

    status = state

    @property
    def traceback(self) -> Any:
        return self._traceback

    @property
    def supports_native_join(self) -> bool:
        return False


EagerResult.__module__ = "celery.result"  # a pickle of one is read by stock Celery too

"""The pool of threads by Celery's name. A pool of somebody's own that extends it has an executor."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from . import native
from .base import apply_target

__all__ = ("TaskPool",)


class ApplyResult:
    """A call in a thread."""

    def __init__(self, future: Any) -> None:
        self.f = future
        self.get = future.result

    def wait(self, timeout: float | None = None) -> None:
        from concurrent.futures import wait

        wait([self.f], timeout)


class TaskPool(native.TaskPool):
    """`worker.pools`: threads."""

    kind = "threads"
    body_can_be_buffer = True
    signal_safe = False

    @cached_property
    def executor(self) -> Any:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(max_workers=self.limit)

    def on_start(self) -> None:
        if self.core is not None:
            super().on_start()

    def on_stop(self) -> None:
        if self.core is not None:
            super().on_stop()
        elif "executor" in vars(self):
            self.executor.shutdown(cancel_futures=True)

    def on_terminate(self) -> None:
        if self.core is not None:
            super().on_terminate()

    def on_apply(  # type: ignore[override]  # the options are passed on
        self,
        target: Any,
        args: Any = None,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        **options: Any,
    ) -> Any:
        if self.core is not None:
            return super().on_apply(target, args, kwargs, callback, accept_callback, **options)
        return ApplyResult(self.executor.submit(apply_target, target, args, kwargs, callback, accept_callback))

    def _get_info(self) -> dict[str, Any]:
        info = super()._get_info()
        info.update({"max-concurrency": self.limit, "threads": self.limit})
        return info

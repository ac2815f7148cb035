"""`BasePool`: what a pool of somebody's own extends. `apply_target`: how such a pool runs what it is given."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..exceptions import WorkerLostError, WorkerShutdown, WorkerTerminate
from ..utils.saferepr import saferepr

__all__ = ("BasePool", "apply_target")

logger = logging.getLogger("celery.pool")


def apply_target(
    target: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callback: Callable[[Any], Any] | None = None,
    accept_callback: Callable[[int, float], Any] | None = None,
    pid: int | None = None,
    getpid: Callable[[], int] = os.getpid,
    propagate: Any = (),
    monotonic: Callable[[], float] = time.monotonic,
    **_: Any,
) -> None:
    """Call it here and now. What leaves without being an error of the task is a lost worker."""
    if accept_callback:
        accept_callback(pid or getpid(), monotonic())
    try:
        ret = target(*args, **kwargs or {})
    except (Exception, WorkerShutdown, WorkerTerminate):
        raise
    except propagate:
        raise
    except BaseException as exc:  # noqa: BLE001 - SystemExit, KeyboardInterrupt of a task
        from ...worker.einfo import ExceptionInfo

        try:
            raise WorkerLostError(repr(exc)) from exc  # noqa: TRY301 - for its traceback
        except WorkerLostError:
            result: Any = ExceptionInfo()
    else:
        result = ret
    if callback:
        callback(result)


class _LazyTimer:
    """`BasePool.Timer`: kombu is imported when it is asked for."""

    def __get__(self, pool: Any, owner: Any = None) -> Any:
        from ..utils.timer2 import Timer

        return Timer


class BasePool:
    """Where a worker has its tasks run."""

    RUN, CLOSE, TERMINATE = 0x1, 0x2, 0x3

    Timer: Any = _LazyTimer()
    signal_safe = True
    is_green = False
    uses_semaphore = False
    task_join_will_block = True
    body_can_be_buffer = False

    _state: int | None = None
    _pool: Any = None
    _does_debug = True

    def __init__(
        self,
        limit: Any = None,
        putlocks: bool = True,
        forking_enable: bool = True,
        callbacks_propagate: Any = (),
        app: Any = None,
        **options: Any,
    ) -> None:
        self.limit = limit
        self.putlocks = putlocks
        self.options = options
        self.forking_enable = forking_enable
        self.callbacks_propagate = callbacks_propagate
        self.app = app

    # --- what a pool says of itself

    def on_start(self) -> None: ...

    def did_start_ok(self) -> bool:
        return True

    def flush(self) -> None: ...

    def on_stop(self) -> None: ...

    def register_with_event_loop(self, loop: Any) -> None: ...

    def on_apply(self, *args: Any, **kwargs: Any) -> Any: ...

    def on_terminate(self) -> None: ...

    def on_soft_timeout(self, job: Any) -> None: ...

    def on_hard_timeout(self, job: Any) -> None: ...

    def maintain_pool(self, *args: Any, **kwargs: Any) -> None: ...

    def on_close(self) -> None: ...

    def terminate_job(self, pid: int, signal: Any = None) -> Any:
        raise NotImplementedError(f"{type(self)} does not implement kill_job")

    def restart(self) -> Any:
        raise NotImplementedError(f"{type(self)} does not implement restart")

    # --- its life

    def start(self) -> None:
        self._does_debug = logger.isEnabledFor(logging.DEBUG)
        self.on_start()
        self._state = self.RUN

    def stop(self) -> None:
        self.on_stop()
        self._state = self.TERMINATE

    def terminate(self) -> None:
        self._state = self.TERMINATE
        self.on_terminate()

    def close(self) -> None:
        self._state = self.CLOSE
        self.on_close()

    def apply_async(self, target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Have this called in the pool."""
        kwargs, args = kwargs or {}, args or []
        if self._does_debug:
            logger.debug("TaskPool: Apply %s (args:%s kwargs:%s)", target, saferepr(args), saferepr(kwargs))
        return self.on_apply(
            target,
            args,
            kwargs,
            waitforslot=self.putlocks,
            callbacks_propagate=self.callbacks_propagate,
            **options,
        )

    # --- what it is

    def _get_info(self) -> dict[str, Any]:
        kind = type(self)
        return {"implementation": f"{kind.__module__}:{kind.__name__}", "max-concurrency": self.limit}

    @property
    def info(self) -> dict[str, Any]:
        return self._get_info()

    @property
    def active(self) -> bool:
        return self._state == self.RUN

    @property
    def num_processes(self) -> Any:
        return self.limit


def __getattr__(name: str) -> Any:
    if name == "ExceptionInfo":
        from ...worker.einfo import ExceptionInfo

        return ExceptionInfo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

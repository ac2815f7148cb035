"""The worker's own pools by Celery's names: what packages reach as `worker.pool` and `consumer.pool`.

Law: these run nothing themselves; the worker's pool does (`worker.pools`). Functions that a package hands to
`apply_async` are run there as guests (`worker.guests`), and its callbacks are called in the worker's thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from ...protocol.rules.outcome import Fate, Report
from ...protocol.wire.failure import lost_text
from ...worker.pools.base import Begun, Job, Lost
from . import calls
from .base import BasePool

log = logging.getLogger("celery.pool")


class TaskPool(BasePool):
    """`kind` is the name of the worker's own pool. `core` is the worker, once there is one."""

    kind = "prefork"
    core: Any = None
    hosting: Job | None = None
    said: list[Fate] | None = None
    """The delivery that is being handed over, and what its request says about its message."""

    def bind(self, core: Any) -> None:
        self.core = core

    # --- its life: the worker's

    def on_start(self) -> None:
        self.core.begin()

    def on_stop(self) -> None:
        self.core.finish()

    def on_terminate(self) -> None:
        self.core.finish()

    def restart(self) -> None:
        self.core.pool.restart()

    def grow(self, n: int = 1) -> None:
        self.core.resize(self.core.pool.size + n)

    def shrink(self, n: int = 1) -> None:
        self.core.resize(max(self.core.pool.size - n, 0))

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """End what runs in this process."""
        from ..platforms import signals

        if "kill" not in self.core.pool.can:
            super().terminate_job(pid, signal)
        number = signals.signum(signal or "SIGTERM")
        for member in self.core.pool.members():
            if member["pid"] == pid and member.get("running") is not None:
                self.core.pool.kill(member["running"], number)

    # --- what others run here

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        error_callback: Any = None,
        timeout_callback: Any = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        correlation_id: str | None = None,
        **options: Any,
    ) -> Applied:
        core = self.core
        message = calls.message(target, tuple(args or ()), dict(kwargs or {}), apart="processes" in core.pool.can)
        applied = Applied(self, callback, accept_callback, error_callback, timeout_callback)
        applied.said = self.said if self.said is not None else []
        told = self.hosting or Job(0, calls.NAME, correlation_id or "", message)
        job = told._replace(task=calls.NAME, message=message, soft=soft_timeout, hard=timeout)
        applied.number = core.consumer.invite(job, applied)
        core.loop.bell.ring()
        return applied

    # --- what it is

    @property
    def num_processes(self) -> Any:
        return self.limit if self.core is None else self.core.pool.size

    def _get_info(self) -> dict[str, Any]:
        if self.core is None:
            return super()._get_info()
        from ...worker.control import ask

        kind = type(self)
        return {**ask._pool(self.core), "implementation": f"celery.{kind.__module__.partition('compat.')[2]}:TaskPool"}


class Applied:
    """A function in the pool, for who wants to wait for it or to end it. `worker.guests.Host`."""

    number = 0

    def __init__(self, pool: TaskPool, callback: Any, accepted: Any, error: Any, timeout: Any) -> None:
        self._pool = pool
        self._callback = callback
        self._accepted = accepted
        self._error = error
        self._timeout = timeout
        self._outcome: tuple[bool, Any] | None = None
        self.said: list[Fate] = []

    def begun(self, begun: Begun) -> None:
        _call(self._accepted, begun.pid or os.getpid(), begun.at)

    def overdue(self, seconds: float) -> None:
        _call(self._timeout, soft=True, timeout=seconds)

    def ended(self, report: Report) -> Fate:
        good, value = self._outcome = calls.outcome(report)
        _call(self._callback if good else self._error, value)
        return self.said[-1] if self.said else Fate.DONE if good else Fate.FAILED

    def lost(self, lost: Lost) -> Fate:
        from ...worker.einfo import ExceptionInfo
        from ..exceptions import TimeLimitExceeded, WorkerLostError

        if lost.limit is not None:
            _call(self._timeout, soft=False, timeout=lost.limit)
        try:
            if lost.limit is not None:
                raise TimeLimitExceeded(lost.limit)  # noqa: TRY301 - for its traceback
            raise WorkerLostError(lost_text(lost.why, lost.number))  # noqa: TRY301 - for its traceback
        except Exception as exc:  # noqa: BLE001 - raised for its traceback
            self._outcome = (False, exc)
            if lost.limit is None or self._timeout is None:
                _call(self._error, ExceptionInfo())
        return self.said[-1] if self.said else Fate.FAILED

    # --- as Celery's pools return it

    def ready(self) -> bool:
        return self._outcome is not None

    def successful(self) -> bool:
        return self._outcome is not None and self._outcome[0]

    def terminate(self, signum: int) -> None:
        self._pool.core.pool.kill(self.number, signum)


def _call(callback: Any, *args: Any, **kwargs: Any) -> None:
    if callback is None:
        return
    try:
        callback(*args, **kwargs)
    except Exception as exc:
        log.exception("Pool callback raised exception: %r", exc)  # noqa: TRY401 - people grep for it

"""Waiting for what workers do: results, states, silence."""

from __future__ import annotations

import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

from ... import states
from ...exceptions import TimeoutError
from ...result import ResultSet
from ...utils.text import truncate
from ...utils.time import humanize_seconds as _humanize_seconds

E_STILL_WAITING = "Still waiting for {0}.  Trying again {when}: {exc!r}"

humanize_seconds = partial(_humanize_seconds, microseconds=True)


class Sentinel(Exception):
    """What is waited for has not happened yet."""


class ManagerMixin:
    """What a manager can do, for a class with an app."""

    app: Any

    def _init_manager(
        self, block_timeout: float = 30 * 60.0, no_join: bool = False, stdout: Any = None, stderr: Any = None
    ) -> None:
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.connerrors = self.app.connection().recoverable_connection_errors
        self.block_timeout = block_timeout
        self.no_join = no_join

    def remark(self, s: str, sep: str = "-") -> None:
        """Prints a line."""
        print(f"{sep}{s}", file=self.stdout)

    def warn(self, s: str) -> None:
        """Prints a line where errors go."""
        self.stderr.write(s + "\n")

    def missing_results(self, r: Iterable[Any]) -> list[Any]:
        """The ids of results that have not come."""
        return [result.id for result in r if result.id not in result.backend._cache]  # as stock asks

    def wait_for(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        errback: Callable[..., Any] | None = None,
        max_retries: int = 10,
        interval_start: float = 0.1,
        interval_step: float = 0.5,
        interval_max: float = 5.0,
        emit_warning: bool = False,
        **options: Any,
    ) -> Any:
        """Calls the function until it raises none of these; that often at most."""

        def on_error(exc: Exception, intervals: Iterator[float], retries: int) -> float:
            interval = next(intervals)
            if emit_warning:
                self.warn(E_STILL_WAITING.format(desc, when=humanize_seconds(interval, "in", " "), exc=exc))
            if errback:
                errback(exc, interval, retries)
            return interval

        return self.retry_over_time(
            fun,
            catch,
            args=args,
            kwargs=kwargs or {},
            errback=on_error,
            max_retries=max_retries,
            interval_start=interval_start,
            interval_step=interval_step,
            **options,
        )

    def ensure_not_for_a_while(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        max_retries: int = 20,
        interval_start: float = 0.1,
        interval_step: float = 0.02,
        interval_max: float = 1.0,
        emit_warning: bool = False,
        **options: Any,
    ) -> Any:
        """Waits for what should not happen, and raises when it does."""
        try:
            self.wait_for(
                fun,
                catch,
                desc=desc,
                max_retries=max_retries,
                interval_start=interval_start,
                interval_step=interval_step,
                interval_max=interval_max,
                emit_warning=emit_warning,
            )
        except catch:
            return
        raise AssertionError(f"Should not have happened: {desc}")

    def retry_over_time(self, *args: Any, **kwargs: Any) -> Any:
        """kombu's loop."""
        from kombu.utils.functional import retry_over_time

        return retry_over_time(*args, **kwargs)

    def join(self, r: Any, propagate: bool = False, max_retries: int = 10, **kwargs: Any) -> Any:
        """The values of the results, however long they take."""
        if self.no_join:
            return None
        if not isinstance(r, ResultSet):
            r = self.app.ResultSet([r])
        received: list[Any] = []

        def on_result(task_id: str, value: Any) -> None:
            received.append(task_id)

        for _ in range(max_retries) if max_retries else count(0):
            received.clear()
            try:
                return r.get(callback=on_result, propagate=propagate, **kwargs)
            except (socket.timeout, TimeoutError) as exc:  # noqa: UP041 - Celery's TimeoutError is a class of its own
                waiting_for = truncate(", ".join(self.missing_results(r)))
                self.remark(f"Still waiting for {len(r) - len(received)}/{len(r)}: [{waiting_for}]: {exc!r}", "!")
            except self.connerrors as exc:
                self.remark(f"join: connection lost: {exc!r}", "!")
        raise AssertionError("Test failed: Missing task results")

    def inspect(self, timeout: float = 3.0) -> Any:
        """Remote control that asks."""
        return self.app.control.inspect(timeout=timeout)

    def query_tasks(self, ids: Iterable[str], timeout: float = 0.5) -> Iterator[Any]:
        """What each worker knows of these tasks."""
        yield from (self.inspect(timeout).query_task(*ids) or {}).items()

    def query_task_states(self, ids: Iterable[str], timeout: float = 0.5) -> Any:
        """The ids by what workers do with them."""
        found = defaultdict(set)
        for _, reply in self.query_tasks(ids, timeout=timeout):
            for task_id, (state, _) in reply.items():
                found[state].add(task_id)
        return found

    def assert_accepted(
        self, ids: Iterable[str], interval: float = 0.5, desc: str = "waiting for tasks to be accepted", **policy: Any
    ) -> Any:
        return self.assert_task_worker_state(self.is_accepted, ids, interval=interval, desc=desc, **policy)

    def assert_received(
        self, ids: Iterable[str], interval: float = 0.5, desc: str = "waiting for tasks to be received", **policy: Any
    ) -> Any:
        return self.assert_task_worker_state(self.is_received, ids, interval=interval, desc=desc, **policy)

    def assert_result_tasks_in_progress_or_completed(
        self,
        async_results: Any,
        interval: float = 0.5,
        desc: str = "waiting for tasks to be started or completed",
        **policy: Any,
    ) -> Any:
        check = self.is_result_task_in_progress
        return self.assert_task_state_from_result(check, async_results, interval=interval, desc=desc, **policy)

    def assert_task_state_from_result(
        self, fun: Callable[..., Any], results: Any, interval: float = 0.5, **policy: Any
    ) -> Any:
        return self.wait_for(partial(self.true_or_raise, fun, results, timeout=interval), (Sentinel,), **policy)

    @staticmethod
    def is_result_task_in_progress(results: Iterable[Any], **kwargs: Any) -> bool:
        """Whether all of them have begun."""
        return all(result.state in {states.STARTED, states.SUCCESS} for result in results)

    def assert_task_worker_state(self, fun: Callable[..., Any], ids: Any, interval: float = 0.5, **policy: Any) -> Any:
        return self.wait_for(partial(self.true_or_raise, fun, ids, timeout=interval), (Sentinel,), **policy)

    def is_received(self, ids: Iterable[str], **kwargs: Any) -> bool:
        return self._ids_matches_state(["reserved", "active", "ready"], ids, **kwargs)

    def is_accepted(self, ids: Iterable[str], **kwargs: Any) -> bool:
        return self._ids_matches_state(["active", "ready"], ids, **kwargs)

    def _ids_matches_state(self, expected_states: Sequence[str], ids: Iterable[str], timeout: float = 0.5) -> bool:
        found = self.query_task_states(ids, timeout=timeout)
        return all(any(task_id in found[state] for state in expected_states) for task_id in ids)

    def true_or_raise(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the function returns; Sentinel for nothing."""
        result = fun(*args, **kwargs)
        if not result:
            raise Sentinel
        return result

    def wait_until_idle(self) -> None:
        """Empties the queues, and waits until no worker works."""
        from kombu.exceptions import ContentDisallowed

        control = self.app.control
        with self.app.connection() as connection:
            while control.purge(connection=connection):
                pass
            inspect = control.inspect()
            inspect.connection = connection
            while True:
                try:
                    busy = sum(len(tasks) for tasks in (inspect.active() or {}).values())
                except ContentDisallowed:
                    return
                if not busy:
                    return
                time.sleep(0.05)


class Manager(ManagerMixin):
    """Waits for what workers of this app do."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        self.app = app
        self._init_manager(**kwargs)

"""Backends that tell, as packages subclass them: a consumer that drains events, and a mixin that waits by it.

Law: celeriac's own backends wait by their stores (`stored.py`); this is for those that bring a consumer of their own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .. import result as kinds
from .. import states
from ..exceptions import TimeoutError

__all__ = ("AsyncBackendMixin", "BaseResultConsumer", "Drainer", "register_drainer")

drainers: dict[str, type[Drainer]] = {}


def register_drainer(name: str) -> Callable[[type[Drainer]], type[Drainer]]:
    """Have this class drain in processes of that kind: "default", "gevent", "eventlet"."""

    def register(kind: type[Drainer]) -> type[Drainer]:
        drainers[name] = kind
        return kind

    return register


@register_drainer("default")
class Drainer:
    """Has a consumer take events until a promise is kept."""

    def __init__(self, result_consumer: Any) -> None:
        self.result_consumer = result_consumer

    def start(self) -> None:
        """Before the first wait."""

    def stop(self) -> None:
        """After the last."""

    def drain_events_until(
        self, p: Any, timeout: float | None = None, interval: float = 1, on_interval: Any = None, wait: Any = None
    ) -> Iterator[None]:
        wait = wait or self.result_consumer.drain_events
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = interval if end is None else min(interval, end - time.monotonic())
            if end is not None and left <= 0 and timeout != 0:
                raise TimeoutError("The operation timed out.")
            try:
                yield self.wait_for(p, wait, timeout=max(0.0, left))
            except OSError as problem:
                if not isinstance(problem, _timeouts()):
                    raise
            if on_interval:
                on_interval()
            if p.ready:
                return
            if timeout == 0:
                raise TimeoutError("The operation timed out.")

    def wait_for(self, p: Any, wait: Any, timeout: float | None = None) -> Any:
        return wait(timeout=timeout)


def _timeouts() -> tuple[type[BaseException], ...]:
    import socket

    return (socket.timeout,)


class BaseResultConsumer:
    """Takes results as they come, and gives each to who waits for it."""

    def __init__(self, backend: Any, app: Any, accept: Any, pending_results: Any, pending_messages: Any) -> None:
        self.backend = backend
        self.app = app
        self.accept = accept
        self._pending_results = pending_results
        self._pending_messages = pending_messages
        self.on_message: Any = None
        self.buckets: dict[str, Any] = {}
        self.drainer = drainers["default"](self)

    # --- the subclass' own

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Leave."""

    def drain_events(self, timeout: float | None = None) -> Any:
        raise NotImplementedError

    def consume_from(self, task_id: str) -> Any:
        raise NotImplementedError

    def cancel_for(self, task_id: str) -> Any:
        raise NotImplementedError

    # --- waiting

    def on_after_fork(self) -> None:
        """Forget what a child must not touch."""
        self.buckets.clear()
        self.on_message = None

    def drain_events_until(self, p: Any, timeout: float | None = None, on_interval: Any = None) -> Iterator[Any]:
        return self.drainer.drain_events_until(p, timeout=timeout, on_interval=on_interval)

    def _wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        on_interval: Any = None,
        on_message: Any = None,
        **kwargs: Any,
    ) -> Iterator[None]:
        self.on_wait_for_pending(result, timeout=timeout, **kwargs)
        before, self.on_message = self.on_message, on_message
        try:
            for _ in self.drain_events_until(result.on_ready, timeout=timeout, on_interval=on_interval):
                yield
        finally:
            self.on_message = before

    def on_wait_for_pending(self, result: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Before somebody waits."""

    def on_out_of_band_result(self, message: Any) -> None:
        self.on_state_change(message.payload, message)

    def _get_pending_result(self, task_id: str) -> Any:
        for table in self._pending_results:
            found = table.get(task_id)
            if found is not None:
                return found
        raise KeyError(task_id)

    def on_state_change(self, meta: Any, message: Any) -> None:
        """A state has come: for whom it is, and who listens to all."""
        if self.on_message:
            self.on_message(meta)
        if meta["status"] not in states.READY_STATES:
            return
        task_id = meta["task_id"]
        try:
            result = self._get_pending_result(task_id)
        except KeyError:
            self._pending_messages[task_id] = meta
        else:
            result._maybe_set_cache(meta)
            bucket = self.buckets.pop(task_id, None)
            if bucket is not None:
                bucket.append(result)

    def reconnect_on_error(self) -> Any:
        """A context in which a lost connection is made anew; here nothing is known of connections."""
        from contextlib import nullcontext

        return nullcontext()


class AsyncBackendMixin:
    """Waiting by `result_consumer`."""

    if TYPE_CHECKING:
        result_consumer: Any
        _pending_results: Any
        _pending_messages: Any
        _ensure_not_eager: Callable[[], None]

    def add_pending_result(self, result: Any, weak: bool = False, start_drainer: bool = True) -> Any:
        if start_drainer:
            self.result_consumer.drainer.start()
        meta = self._pending_messages.pop(result.id, None)
        if meta is not None:
            result._maybe_set_cache(meta)
            return result
        table = self._pending_results.weak if weak else self._pending_results.concrete
        if result.id not in table:
            table[result.id] = result
            result._pending = True
            self.result_consumer.consume_from(result.id)
        return result

    def add_pending_results(self, results: Iterable[Any], weak: bool = False) -> list[Any]:
        self.result_consumer.drainer.start()
        return [self.add_pending_result(result, weak=weak, start_drainer=False) for result in results]

    def remove_pending_result(self, result: Any) -> Any:
        for table in self._pending_results:
            table.pop(result.id, None)
        result._pending = False
        self.on_result_fulfilled(result)
        return result

    def on_result_fulfilled(self, result: Any) -> None:
        self.result_consumer.cancel_for(result.id)

    def wait_for_pending(self, result: Any, callback: Any = None, propagate: bool = True, **kwargs: Any) -> Any:
        self._ensure_not_eager()
        for _ in self.result_consumer._wait_for_pending(result, **kwargs):
            pass
        return result.maybe_throw(callback=callback, propagate=propagate)

    def iter_native(self, result: Any, no_ack: bool = True, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        self._ensure_not_eager()
        results = result.results
        if not results:
            return
        bucket: deque[Any] = deque()
        for node in results:
            if not hasattr(node, "_cache") or isinstance(node, kinds.ResultSet) or node._cache:
                bucket.append(node)
            else:
                self.result_consumer.buckets[node.id] = bucket
        for _ in self.result_consumer._wait_for_pending(result, no_ack=no_ack, **kwargs):
            while bucket:
                yield _pair(bucket.popleft())
        while bucket:
            yield _pair(bucket.popleft())

    @property
    def is_async(self) -> bool:
        return True


def _pair(node: Any) -> tuple[str, Any]:
    return node.id, node.children if isinstance(node, kinds.ResultSet) else node._cache  # type: ignore[attr-defined]  # only groups have them

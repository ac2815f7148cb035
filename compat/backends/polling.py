"""Result backends that do not tell: who waits for a result looks again and again. Their names are `backends.base`'s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .. import result as kinds
from .. import states
from ..exceptions import ImproperlyConfigured, TimeoutError
from .base import Backend


class SyncBackendMixin:
    """Waiting for a store that does not tell: by looking again and again."""

    if TYPE_CHECKING:
        get_task_meta: Callable[..., Any]
        get_many: Callable[..., Any]
        _ensure_not_eager: Callable[[], None]

    def iter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
    ) -> Iterator[tuple[str, Any]]:
        self._ensure_not_eager()
        task_ids = set()
        for each in result.results or ():
            if isinstance(each, kinds.ResultSet):
                yield each.id, each.results  # type: ignore[attr-defined]  # a set within a set is a group
            else:
                task_ids.add(each.id)
        if task_ids:
            yield from self.get_many(
                task_ids,
                timeout=timeout,
                interval=interval,
                no_ack=no_ack,
                on_message=on_message,
                on_interval=on_interval,
            )

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        callback: Any = None,
        propagate: bool = True,
    ) -> Any:
        self._ensure_not_eager()
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        meta = self.wait_for(result.id, timeout=timeout, interval=interval, on_interval=on_interval, no_ack=no_ack)
        if not meta:
            return None
        result._maybe_set_cache(meta)
        return result.maybe_throw(propagate=propagate, callback=callback)

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Any = None,
    ) -> Any:
        """The document of a task once it has ended; `TimeoutError` when the time is over."""
        self._ensure_not_eager()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            meta = self.get_task_meta(task_id)
            if meta["status"] in states.READY_STATES:
                return meta
            if on_interval:
                on_interval()
            left = interval if end is None else end - time.monotonic()
            if end is not None and left <= 0:
                raise TimeoutError("The operation timed out.")
            time.sleep(min(interval, left))

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:
        return result

    def remove_pending_result(self, result: Any) -> Any:
        return result

    @property
    def is_async(self) -> bool:
        return False


class BaseBackend(Backend, SyncBackendMixin):
    """The base of backends that do not tell."""


BaseDictBackend = BaseBackend

# Packages and pickles know them by the module that has always had them.
SyncBackendMixin.__module__ = BaseBackend.__module__ = Backend.__module__

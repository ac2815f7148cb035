"""Several results: a set of them, and the results of a group. Their names are `celery.result`'s.

Law: a set's barrier is made when it is first used. Waiting for many at once is the backend's affair.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from . import result as one  # whoever replaces what is in there is asked
from . import states
from ._state import current_app
from .exceptions import ImproperlyConfigured
from .result import ResultBase


class ResultSet(ResultBase):
    """Several results, in order."""

    _app: Any = None
    _barrier: Any = None
    _promise: Any = None

    #: The results in the set.
    results: Any = None

    def __init__(self, results: list[Any], app: Any = None, ready_barrier: Any = None, **kwargs: Any) -> None:
        self._app = app
        self.results = results
        if ready_barrier is not None:
            self._set_ready_barrier(ready_barrier)

    # --- promises

    def _set_ready_barrier(self, ready_barrier: Any) -> None:
        from weakref import proxy

        from vine import promise  # type: ignore[import-untyped, unused-ignore]  # an untyped library

        self._promise = promise(args=(proxy(self),))
        self._barrier = ready_barrier
        if ready_barrier:
            ready_barrier.then(promise(self._on_ready, weak=True))

    def _made(self) -> None:
        if self._promise is None:
            from vine import barrier

            self._set_ready_barrier(barrier(self.results))

    @property
    def on_ready(self) -> Any:
        """The promise that all are ready."""
        self._made()
        return self._promise

    @on_ready.setter
    def on_ready(self, made: Any) -> None:
        self._promise = made

    @property
    def _on_full(self) -> Any:
        self._made()
        return self._barrier

    @_on_full.setter
    def _on_full(self, made: Any) -> None:
        self._barrier = made

    def _on_ready(self) -> None:
        self.on_ready()

    def then(self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None, weak: bool = False) -> Any:
        """Have `callback(self)` called when all are ready."""
        return self.on_ready.then(callback, on_error)

    # --- as a set

    def add(self, result: Any) -> None:
        """One more, unless it is in already."""
        if result in self.results:
            return
        if not hasattr(result, "then"):
            raise AttributeError(f"{result!r} is no result: it has no 'then'")
        self.results.append(result)
        full = self._barrier
        if not full:
            return
        if not full.p.ready:
            full.add(result)
            return
        from vine import barrier

        self._set_ready_barrier(barrier())
        self._barrier.add(result)
        self._barrier.finalize()

    def remove(self, result: Any) -> None:
        """Take this one out; `KeyError` if it is not in."""
        if isinstance(result, str):
            result = self.app.AsyncResult(result)
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Take this one out if it is in."""
        if isinstance(result, str):
            result = self.app.AsyncResult(result)
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Those of these that are not in already."""
        self.results.extend(result for result in results if result not in self.results)

    def clear(self) -> None:
        self.results[:] = []  # whoever holds the list sees it

    # --- asking

    def successful(self) -> bool:
        """All of them succeeded."""
        return all(result.successful() for result in self.results)

    def failed(self) -> bool:
        """One of them failed."""
        return any(result.failed() for result in self.results)

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> None:
        """Raise what the first of them that failed raised."""
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def _throw_at_once(self) -> bool:
        """`maybe_throw` with one question for all that are not known. False, and nothing done: it is to be called."""
        results = self.results
        if type(self).maybe_throw is not _maybe_throw or not all(map(_is_usual, {type(each) for each in results})):
            return False
        missing = [each for each in results if each._cache is None]
        if len(missing) > 1:
            backend = missing[0].backend
            ask = getattr(backend, "ended", None)
            if ask is None or any(each.backend is not backend for each in missing):
                return False
            found = ask([each.id for each in missing])
            if found is None:
                return False
            for each in missing:
                if each.id in found:
                    each._maybe_set_cache(found[each.id])
            results = [each for each in results if each._cache is not None]
        for each in results:
            each.maybe_throw()
        return True

    def waiting(self) -> bool:
        """One of them has not ended."""
        return not self.ready()

    def ready(self) -> bool:
        """All of them have ended."""
        return all(result.ready() for result in self.results)

    def completed_count(self) -> int:
        """How many succeeded."""
        return sum(int(result.successful()) for result in self.results)

    # --- what one does about them

    def forget(self) -> None:
        for result in self.results:
            result.forget()

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Tell all workers not to start any of these tasks."""
        self.app.control.revoke(
            [result.id for result in self.results],
            connection=connection,
            timeout=timeout,
            terminate=terminate,
            signal=signal,
            reply=wait,
        )

    # --- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> Any:
        """`join_native` where the store can wait for many at once, `join` elsewhere."""
        return (self.join_native if self.supports_native_join else self.join)(
            timeout=timeout,
            propagate=propagate,
            interval=interval,
            callback=callback,
            no_ack=no_ack,
            on_message=on_message,
            disable_sync_subtasks=disable_sync_subtasks,
            on_interval=on_interval,
        )

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """The values in order, each waited for in turn; with `callback`, it gets them, and the list is empty."""
        if disable_sync_subtasks:
            one.assert_will_not_block()
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        end = None if timeout is None else time.monotonic() + timeout
        values: list[Any] = []
        for result in self.results:
            value = result.get(
                timeout=None if end is None else max(end - time.monotonic(), 0.0),
                propagate=propagate,
                interval=interval,
                no_ack=no_ack,
                on_interval=on_interval,
                disable_sync_subtasks=disable_sync_subtasks,
            )
            if callback:
                callback(result.id, value)
            else:
                values.append(value)
        return values

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Any:
        """`(id, document)` of each as it gets ready; of a group in it, its id and its members at once."""
        if self._barrier:
            self._barrier.finalize()
        return self.backend.iter_native(
            self, timeout=timeout, interval=interval, no_ack=no_ack, on_message=on_message, on_interval=on_interval
        )

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any] | None:
        """The values in order, all waited for at once; with `callback`, it gets them as they come, and this None."""
        if disable_sync_subtasks:
            one.assert_will_not_block()
        values: dict[str, Any] = {}
        for task_id, meta in self.iter_native(timeout, interval, no_ack, on_message, on_interval):
            if isinstance(meta, list):
                value: Any = [
                    member.get(propagate=propagate, disable_sync_subtasks=disable_sync_subtasks) for member in meta
                ]
            else:
                value = meta["result"]
                if propagate and meta["status"] in states.PROPAGATE_STATES:
                    raise value
            if callback:
                callback(task_id, value)
            else:
                values[task_id] = value
        return None if callback else [values.get(result.id) for result in self.results]

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = False,
    ) -> list[Any]:
        """`get` for coroutines."""
        if disable_sync_subtasks:
            one.assert_will_not_block()
        import asyncio

        waiting = [
            asyncio.ensure_future(
                result.aget(timeout=timeout, propagate=propagate, interval=interval, on_interval=on_interval)
            )
            for result in self.results
        ]
        try:
            values = list(await asyncio.gather(*waiting))
        finally:
            for each in waiting:
                each.cancel()
        if callback is None:
            return values
        for result, value in zip(self.results, values, strict=True):
            callback(result.id, value)
        return []

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The results themselves, in the order in which they get ready."""
        from .backends.awaiting import as_they_arrive

        async for result in as_they_arrive(self.results):
            yield result

    def _iter_meta(self, **kwargs: Any) -> Iterator[Any]:
        found = self.backend.get_many({result.id for result in self.results}, max_iterations=1, **kwargs)
        return (meta for _, meta in found)

    def _failed_join_report(self) -> Iterator[Any]:
        return (
            result
            for result in self.results
            if result.backend.is_cached(result.id) and result.state in states.PROPAGATE_STATES
        )

    # --- as a value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultSet):
            return bool(other.results == self.results)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(result.id for result in self.results)}]>"

    @property
    def supports_native_join(self) -> Any:
        return self.results[0].supports_native_join if self.results else None

    @property
    def app(self) -> Any:
        if self._app is None:
            self._app = self.results[0].app if self.results else current_app._get_current_object()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        return self.app.backend if self.app else self.results[0].backend


class GroupResult(ResultSet):
    """The results of a group, under the group's id."""

    id: Any = None

    def __init__(self, id: Any = None, results: Any = None, parent: Any = None, **kwargs: Any) -> None:
        self.id = id
        self.parent = parent
        super().__init__(results, **kwargs)

    def _on_ready(self) -> None:
        self.backend.remove_pending_result(self)
        super()._on_ready()

    def save(self, backend: Any = None) -> Any:
        """Keep the ids of the members under the group's id, for `restore`."""
        return (backend or self.app.backend).save_group(self.id, self)

    def delete(self, backend: Any = None) -> None:
        """Delete what `save` kept."""
        (backend or self.app.backend).delete_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Any:
        """The group that was saved, or None."""
        own: Any = cls.app
        app = app or (current_app if isinstance(own, property) else own)
        return (backend or app.backend).restore_group(id)

    def as_tuple(self) -> Any:
        return (self.id, self.parent and self.parent.as_tuple()), [result.as_tuple() for result in self.results]

    @property
    def children(self) -> Any:
        return self.results

    def __reduce__(self) -> Any:
        return self.__class__, self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        return self.id, self.results

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    __nonzero__ = __bool__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return bool(other.id == self.id and other.results == self.results and other.parent == self.parent)
        if isinstance(other, str):
            return bool(other == self.id)
        return NotImplemented

    def __hash__(self) -> int:  # type: ignore[override]  # by its id, which does not change
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(result.id for result in self.results)}]>"


ResultSet.__module__ = GroupResult.__module__ = "celery.result"  # a pickle of one is read by stock Celery too


_maybe_throw = ResultSet.maybe_throw


def _is_usual(kind: type) -> bool:
    """Whether this is the class of a task's result, an app's own among them, and nobody says anew how one is asked."""
    known = one.AsyncResult
    return issubclass(kind, known) and all(getattr(kind, name) is getattr(known, name) for name in _ASKED)


_ASKED = ("maybe_throw", "_get_task_meta", "_maybe_set_cache", "_set_cache")

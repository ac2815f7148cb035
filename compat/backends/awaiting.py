"""Results for coroutines: a few threads wait for all that any event loop of this process awaits.

Law: no event loop is blocked, and no coroutine costs a thread. Ids that are new go to a thread of their own; when
all threads are busy, the one with the fewest ids comes back for them. What the store raises, who awaits is told.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from .. import result as kinds
from ..exceptions import TimeoutError

MOST = 8
"""So many threads wait."""

_IDLE = 5.0  # seconds after which a thread with nothing to wait for ends
_TURN = 0.05  # seconds after which a thread that listens sees what is new
_POLL = 0.5


class _Round:
    """What one thread waits for."""

    def __init__(self, ids: dict[str, None]) -> None:
        self.ids = ids
        self.over = False


class Waits:
    """All that is awaited of one backend."""

    def __init__(self, backend: Any) -> None:
        self.pid = os.getpid()
        self._backend = backend
        self._changed = threading.Condition()
        self._futures: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]]]] = {}
        self._new: dict[str, None] = {}
        self._rounds: list[_Round] = []
        self._threads = self._idle = 0

    def add(self, task_id: str) -> asyncio.Future[Any]:
        """What is found of this task once it has ended."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._changed:
            there = self._futures.setdefault(task_id, [])
            there.append((loop, future))
            if len(there) == 1:
                self._new[task_id] = None
                self._call_a_thread()
        future.add_done_callback(lambda _: self._leave(task_id, future))
        return future

    def _call_a_thread(self) -> None:
        if self._idle:
            self._changed.notify()
        elif self._threads < MOST:
            self._threads += 1
            threading.Thread(target=self._serve, name="celeriac-results", daemon=True).start()
        elif self._rounds:
            min(self._rounds, key=lambda each: len(each.ids)).over = True

    def _leave(self, task_id: str, future: asyncio.Future[Any]) -> None:
        with self._changed:
            there = [pair for pair in self._futures.get(task_id, ()) if pair[1] is not future]
            if there:
                self._futures[task_id] = there
                return
            self._futures.pop(task_id, None)
            self._new.pop(task_id, None)
            for each in self._rounds:
                if task_id in each.ids:
                    each.over = True

    # --- a thread

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                if not self._new:
                    self._changed.wait(_IDLE)
                self._idle -= 1
                if not self._new:
                    self._threads -= 1
                    return
                mine = _Round(self._new)
                self._new = {}
                self._rounds.append(mine)
            self._wait(mine)
            with self._changed:
                self._rounds.remove(mine)
                self._new.update(dict.fromkeys(each for each in mine.ids if each in self._futures))

    def _wait(self, mine: _Round) -> None:
        try:
            store = self._backend.store
            interval = _TURN if "push" in store.can else _POLL
            for task_id, found in store.wait(list(mine.ids), math.inf, interval=interval, stop=lambda: mine.over):
                mine.ids.pop(task_id, None)
                self._tell(task_id, found, None)
        except Exception as problem:  # noqa: BLE001 - whoever awaits gets it
            for task_id in list(mine.ids):
                del mine.ids[task_id]
                self._tell(task_id, None, problem)

    def _tell(self, task_id: str, found: Any, problem: BaseException | None) -> None:
        with self._changed:
            waiting = self._futures.pop(task_id, ())
        for loop, future in waiting:
            try:
                loop.call_soon_threadsafe(_settle, future, found, problem)
            except RuntimeError:  # noqa: PERF203 - that loop is closed, and nobody there awaits any more
                continue


def _settle(future: asyncio.Future[Any], found: Any, problem: BaseException | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(found)
    else:
        future.set_exception(problem)


_MAKING = threading.Lock()


def _waits(backend: Any) -> Waits:
    found: Waits | None = backend.__dict__.get("_waits")
    if found is None or found.pid != os.getpid():
        with _MAKING:
            found = backend.__dict__.get("_waits")
            if found is None or found.pid != os.getpid():
                found = backend._waits = Waits(backend)
    return found


def _tells(backend: Any) -> bool:
    return bool(getattr(backend, "waits_by_itself", False))


async def arrive(
    result: Any,
    parents: Iterable[Any],
    timeout: float | None,
    interval: float,
    on_interval: Callable[[], Any] | None,
) -> None:
    """Until the result knows what its task came to, or a parent raises what keeps it from ever running."""
    backend = result.backend
    if not _tells(backend):
        await asyncio.to_thread(
            result.get, timeout, False, interval, on_interval=on_interval, disable_sync_subtasks=False
        )
        return
    backend._ensure_not_eager()
    end = math.inf if timeout is None else time.monotonic() + timeout
    waits = _waits(backend)
    whose = {waits.add(each.id): each for each in parents if each._cache is None}
    mine = waits.add(result.id)
    whose[mine] = result
    try:
        while not mine.done():
            left = max(0.0, end - time.monotonic())
            turn = left if on_interval is None else min(interval, left)
            done, _ = await asyncio.wait(
                whose, timeout=None if turn == math.inf else turn, return_when="FIRST_COMPLETED"
            )
            for future in done - {mine}:
                parent = whose.pop(future)
                _take(backend, parent, future.result())
                parent.maybe_throw()
            if not done and time.monotonic() >= end:
                raise TimeoutError("The operation timed out.")
            if on_interval is not None:
                on_interval()
        _take(backend, result, mine.result())
    finally:
        for future in whose:
            future.cancel()


def _take(backend: Any, result: Any, found: Any) -> None:
    result._maybe_set_cache(backend._arrived(result.id, found, wanted=True))


async def as_they_arrive(results: Iterable[Any]) -> AsyncIterator[Any]:
    """Each of these when it is ready; what it came to is known to it then."""
    todo: set[asyncio.Task[Any]] = {asyncio.ensure_future(_ready(each)) for each in results}
    arrived: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    for task in todo:
        task.add_done_callback(arrived.put_nowait)
    try:
        for _ in range(len(todo)):
            yield (await arrived.get()).result()
    finally:
        for task in todo:
            task.cancel()


async def _ready(result: Any) -> Any:
    if isinstance(result, kinds.ResultSet):
        async for _ in as_they_arrive(result.results):
            pass
    elif result._cache is None:
        await arrive(result, (), None, _POLL, None)
    return result

"""A place to run the coroutine of an `async def` task in a pool that has no event loop.

Law: one loop for each thread, kept from task to task; what a task leaves behind when it is interrupted is ended. Where
greenlets share a thread it is one for all of them, ashore.
A soft limit is raised within the coroutine, whether it runs or waits, so that it can catch it. asyncio is loaded when
there is a coroutine: it costs a worker 50 ms of CPU and 3 MB.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import TYPE_CHECKING, Any

from . import limit

if TYPE_CHECKING:
    import asyncio


class Waiting:
    """A coroutine that a thread waits for. Whoever is to interrupt it may be another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, started: Coroutine[Any, Any, Any]) -> None:
        self.loop = loop
        self.injected: BaseException | None = None
        self.task: asyncio.Task[Any] = loop.create_task(self._open(started))

    async def _open(self, started: Coroutine[Any, Any, Any]) -> Any:
        return await self._through(started)

    @coroutine
    def _through(self, started: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """`await started`, where what was injected arrives in place of the cancelling that woke it."""
        import asyncio

        step, given = started.send, None
        while True:
            try:
                waits_for = step(given)
            except StopIteration as end:
                return end.value
            try:
                step, given = started.send, (yield waits_for)
            except asyncio.CancelledError as cancelled:
                injected, self.injected = self.injected, None
                step, given = started.throw, injected or cancelled
            except BaseException as exc:  # noqa: BLE001 - whatever is thrown in goes to the coroutine
                step, given = started.throw, exc

    def interrupt(self, exc: BaseException) -> bool:
        """Raise this where it waits. False: it runs, so raise it in its thread."""
        import asyncio

        if asyncio.current_task(self.loop) is self.task:
            return False
        self.injected = exc
        self.loop.call_soon_threadsafe(self.task.cancel)
        return True


class Loops(threading.local):
    """One private event loop for each thread that ran a coroutine in a pool that has none. It is kept."""

    loop: asyncio.AbstractEventLoop | None = None
    waiting: Waiting | None = None
    pid: int = 0
    ashore: Any = None
    """An `Ashore` where greenlets run: set on the class, by their pool."""

    def wait(self, started: Coroutine[Any, Any, Any]) -> Any:
        if self.ashore is not None:
            return self.ashore.wait(started)
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return _elsewhere(started)
        if self.loop is None or self.loop.is_closed() or self.pid != os.getpid():
            self.loop, self.pid = asyncio.new_event_loop(), os.getpid()
        waiting = self.waiting = Waiting(self.loop, started)
        limit.reached(waiting.interrupt)
        task = waiting.task
        try:
            return self.loop.run_until_complete(task)
        except BaseException:
            # A signal in the loop's own code: the task must not go on beside the next one.
            if not task.done():
                task.cancel()
                self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise
        finally:
            limit.reached(None)
            self.waiting = None

    def interrupt(self, exc: BaseException) -> bool:
        """Raise this in the coroutine that waits here. False: none does, so raise it where you are."""
        return self.waiting is not None and self.waiting.interrupt(exc)

    def close(self) -> None:
        loop, self.loop = self.loop, None
        if loop is not None and not loop.is_closed() and self.pid == os.getpid():
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def _elsewhere(started: Coroutine[Any, Any, Any]) -> Any:
    """A task that is called eagerly within a running loop: in a thread of its own, with the caller's context."""
    import asyncio

    context = copy_context()
    box: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            box.append((asyncio.run(started), None))
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that waits
            box.append((None, exc))

    thread = threading.Thread(target=context.run, args=(run,))
    thread.start()
    thread.join()
    value, exc = box[0]
    if exc is not None:
        raise exc
    return value


LOOPS = Loops()

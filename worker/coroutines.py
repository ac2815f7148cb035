"""A place to run the coroutine of an `async def` task in a pool that has no event loop.

Law: one loop for each thread, kept from task to task; what a task leaves behind when it is interrupted is ended.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any


class Loops(threading.local):
    """One private event loop for each thread that ran a coroutine in a pool that has none. It is kept."""

    loop: asyncio.AbstractEventLoop | None = None
    pid: int = 0

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return _elsewhere(coroutine)
        if self.loop is None or self.loop.is_closed() or self.pid != os.getpid():
            self.loop, self.pid = asyncio.new_event_loop(), os.getpid()
        task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        except BaseException:
            # A time limit, or a signal: it must not go on beside the next task.
            if not task.done():
                task.cancel()
                self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise

    def close(self) -> None:
        loop, self.loop = self.loop, None
        if loop is not None and not loop.is_closed() and self.pid == os.getpid():
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def _elsewhere(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """A task that is called eagerly within a running loop: in a thread of its own, with the caller's context."""
    context = copy_context()
    box: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            box.append((asyncio.run(coroutine), None))
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

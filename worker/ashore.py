"""Where greenlets have their coroutines run: one event loop in one real thread.

Greenlets share a thread, and a thread runs one event loop at a time, whose coroutines any code in it would find itself
within. So a greenlet hands its coroutine over and waits, on a socket, as it waits for everything.

Law: what is thrown into a greenlet that waits here goes to its coroutine, which may catch it; what says that the
greenlet is given up ends both.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from .coroutines import Waiting

if TYPE_CHECKING:
    import asyncio

_LONG = 3600.0

Start = Callable[[Callable[..., Any], tuple[Any, ...]], Any]


def _keep(loop: asyncio.AbstractEventLoop) -> None:
    """gevent takes a loop that waits for no moment for one that waits in vain, and ends it."""
    loop.call_later(_LONG, _keep, loop)


async def _the_end_of_others() -> None:
    import asyncio

    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


class _Handed:
    """A coroutine that was handed over, and what came of it. `tell` is called when it is done."""

    waiting: Waiting | None = None
    value: Any = None
    error: BaseException | None = None
    done = False

    def __init__(self, started: Coroutine[Any, Any, Any], tell: Callable[[], Any]) -> None:
        self._started = started
        self._tell = tell

    def begin(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """In the loop's thread, as all that follows."""
        self.waiting = context.run(Waiting, loop, self._started)
        self.waiting.task.add_done_callback(self._end)

    def inject(self, exc: BaseException) -> None:
        """Raise this in it, where it waits; too late is no matter."""
        if self.waiting is not None and not self.done:
            self.waiting.interrupt(exc)

    def abandon(self, *ends: socket.socket) -> None:
        """Nobody waits any more. The ends of the line to whoever did are closed when nothing is written to it."""
        if self.waiting is None or self.done:
            _close(ends)
        else:
            self.waiting.task.add_done_callback(lambda _: _close(ends))
            self.waiting.task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        try:
            self.value = task.result()
        except BaseException as exc:  # noqa: BLE001 - raised where the greenlet waits
            self.error = exc
        self.done = True
        self._tell()


def _close(ends: tuple[socket.socket, ...]) -> None:
    for end in ends:
        end.close()


class Ashore:
    """The loop and its thread, begun with the first coroutine. `start` starts a real thread, whatever is patched."""

    def __init__(self, start: Start, given_up: tuple[type[BaseException], ...]) -> None:
        self._start = start
        self._given_up = given_up
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def wait(self, started: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns or raises."""
        import asyncio

        loop = self._running()
        with suppress(RuntimeError):
            if asyncio.get_running_loop() is loop:  # called eagerly by a coroutine over there
                return self._beside(started)
        here, there = socket.socketpair()
        try:
            handed = _Handed(started, partial(os.write, there.fileno(), b"."))
            loop.call_soon_threadsafe(handed.begin, loop, copy_context())
            while True:
                try:
                    here.recv(1)
                    break
                except self._given_up:
                    loop.call_soon_threadsafe(handed.abandon, here, there)
                    here = there = None  # type: ignore[assignment] # closed over there, when nobody writes any more
                    raise
                except BaseException as thrown:  # noqa: BLE001 - for the coroutine, which may catch it
                    loop.call_soon_threadsafe(handed.inject, thrown)
        finally:
            if here is not None:
                here.close()
                there.close()
        if handed.error is not None:
            raise handed.error
        return handed.value

    def close(self) -> None:
        """Ends the loop, and with it its thread."""
        loop, self._loop = self._loop, None
        if loop is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    def _running(self) -> asyncio.AbstractEventLoop:
        while self._loop is None or self._pid != os.getpid():
            heard, told = os.pipe()
            self._start(self._serve, (told,))
            os.read(heard, 1)
            os.close(heard)
            os.close(told)
        return self._loop

    def _serve(self, told: int) -> None:
        """The life of the thread. The loop is made in it: what waits in gevent belongs to the thread that made it."""
        import asyncio

        loop = asyncio.new_event_loop()
        self._loop, self._pid = loop, os.getpid()
        os.write(told, b".")
        try:
            _keep(loop)
            loop.run_forever()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(_the_end_of_others())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def _beside(self, started: Coroutine[Any, Any, Any]) -> Any:
        """In a real thread with a loop of its own, while the coroutine that called holds up the others."""
        import asyncio

        box: list[tuple[Any, BaseException | None]] = []
        heard, told = os.pipe()
        context = copy_context()

        def run() -> None:
            try:
                loop = asyncio.new_event_loop()
                try:
                    box.append((context.run(loop.run_until_complete, started), None))
                finally:
                    loop.close()
            except BaseException as exc:  # noqa: BLE001 - handed to the thread that waits
                box.append((None, exc))
            os.write(told, b".")

        self._start(run, ())
        os.read(heard, 1)
        os.close(heard)
        os.close(told)
        value, exc = box[0]
        if exc is not None:
            raise exc
        return value

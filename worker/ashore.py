"""Where greenlets have their coroutines run: one event loop in a greenlet of its own.

Greenlets share a thread, and a thread runs one event loop at a time. So a greenlet hands its coroutine over and waits,
on a socket, as it waits for everything. While the loop itself waits, no loop runs for whoever asks: what the others do
meanwhile is not within it.

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

Spawn = Callable[..., Any]


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
    """The loop and its greenlet, begun with the first coroutine."""

    def __init__(self, spawn: Spawn, given_up: tuple[type[BaseException], ...]) -> None:
        self._spawn = spawn
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
        """Ends the loop, and with it its greenlet."""
        loop, self._loop = self._loop, None
        if loop is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._pid != os.getpid():
            self._loop, self._pid = _new_loop(), os.getpid()
            self._spawn(self._serve, self._loop)
        return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

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
        """In a greenlet with a loop of its own, while the coroutine that called holds up the others."""
        import asyncio

        box: list[tuple[Any, BaseException | None]] = []
        here, there = socket.socketpair()
        context = copy_context()

        def run() -> None:
            loop = _new_loop()
            try:
                box.append((context.run(loop.run_until_complete, started), None))
            except BaseException as exc:  # noqa: BLE001 - handed to the greenlet that waits
                box.append((None, exc))
            finally:
                loop.close()
                there.send(b".")

        from asyncio.events import _set_running_loop

        outer = asyncio.get_running_loop()
        _set_running_loop(None)
        try:
            self._spawn(run)
            here.recv(1)
        finally:
            _set_running_loop(outer)
            _close((here, there))
        value, exc = box[0]
        if exc is not None:
            raise exc
        return value


def _new_loop() -> asyncio.AbstractEventLoop:
    """A loop that runs for nobody while it waits."""
    from asyncio import SelectorEventLoop
    from asyncio.events import _set_running_loop  # for who writes loops, as its documentation says
    from selectors import DefaultSelector

    selector: Any = DefaultSelector()  # the library's, where it has patched
    wait = selector.select

    def select(timeout: float | None = None) -> Any:
        _set_running_loop(None)
        try:
            return wait(timeout)
        finally:
            _set_running_loop(loop)

    selector.select = select
    loop = SelectorEventLoop(selector)
    return loop

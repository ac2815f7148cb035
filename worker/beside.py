"""Plain functions beside an event loop: each call in a thread, which a time limit reaches.

Law: threads are kept for the next call, and there are no more of them than there were calls at once: how many those
are is for whoever makes them. They are daemons: one that a task holds for ever does not keep the worker from leaving.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from . import limit

_AGAIN = 0.02
"""Seconds until it is tried again to reach a call that was not in the task's own code."""


class _Hand:
    """One thread."""

    def __init__(self, idle: list[_Hand]) -> None:
        self._idle = idle
        self._calls: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="task", daemon=True)
        self.thread.start()

    def do(self, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self._calls.put((call, future))

    def _work(self) -> None:
        while True:
            call, future = self._calls.get()
            value, problem = None, None
            try:
                value = call()
            except BaseException as raised:  # noqa: BLE001 - SystemExit of a task as well: it is told in the loop
                problem = raised
            self._idle.append(self)
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                future.get_loop().call_soon_threadsafe(_tell, future, value, problem)
            del call, future, value, problem


def _tell(future: asyncio.Future[Any], value: Any, problem: BaseException | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(value)
    elif not isinstance(problem, limit.GivenUp):  # of that nobody wants to hear
        future.set_exception(problem)


_idle: list[_Hand] = []


async def beside(call: Callable[[], Any]) -> Any:
    """What it returns. What `limit.strike_coroutine` raises here is raised in the call; so is being given up."""
    future = asyncio.get_running_loop().create_future()
    hand = _idle.pop() if _idle else _Hand(_idle)
    context = copy_context()
    hand.do(lambda: context.run(call), future)
    try:
        return await _watched(future, hand)
    except asyncio.CancelledError:
        limit.strike(hand.thread.ident or 0, limit.GivenUp)
        raise


async def _watched(future: asyncio.Future[Any], hand: _Hand) -> Any:
    while True:
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError as cancelled:
            error = limit.overdue_here(cancelled)
            if error is cancelled:
                raise
        while not future.done() and not limit.strike(hand.thread.ident or 0, type(error)):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(_AGAIN)

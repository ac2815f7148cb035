"""Where a time limit may strike: in a task's own code, and nowhere in the machinery around it.

Law: a thread says when it enters and leaves a task's code; whoever strikes asks that first. All of it happens under
the interpreter's lock, so an exception that was asked for is either raised inside, or taken back as the thread leaves.
Coroutines have no thread of their own: theirs goes through `interruptible`, at the await where they stand.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class GivenUp(BaseException):
    """Raised in a task that nobody waits for any more."""


_inside: set[int] = set()
_struck: dict[int, type[BaseException]] = {}
_waiting: dict[int, Callable[[BaseException], bool]] = {}
"""Threads that run a coroutine in a loop of their own, and how to raise in it where it waits."""
_given_up: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
_overdue: weakref.WeakKeyDictionary[asyncio.Task[Any], BaseException] = weakref.WeakKeyDictionary()


def enter() -> bool:
    """This thread goes on in a task's own code. Returns whether it was in one already, which calls this one."""
    ident = get_ident()
    if ident in _inside:
        return True
    _inside.add(ident)
    return False


def leave(outer: bool) -> None:
    """It is back, with what `enter` gave. What was to strike it and has not yet is raised here, and ends here.

    It is not taken back by `PyThreadState_SetAsyncExc(ident, NULL)`: CPython 3.11 then looks for it for ever, in all
    threads, and under a tracer gets no further.
    """
    if outer:
        return
    try:
        ident = get_ident()
        _inside.discard(ident)
        if ident not in _struck:
            return
        _pass()
    except BaseException as late:
        if type(late) is not _struck.get(get_ident()):
            raise
    _inside.discard(get_ident())
    _struck.pop(get_ident(), None)


def _pass() -> None:
    """A call: there the interpreter looks for what is to be raised."""


def within() -> bool:
    """Whether this thread runs a task's own code."""
    return get_ident() in _inside


def strike(ident: int, error: type[BaseException]) -> bool:
    """Raise it in that thread as soon as it runs again. False: it does not run a task's own code now.

    A thread that waits inside a system call hears of it when the call returns, a coroutine at once.
    """
    if ident not in _inside:
        return False
    reach = _waiting.get(ident)
    if reach is not None and reach(error()):
        return True
    import ctypes

    _struck[ident] = error
    return bool(ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error)))


def strike_here(error: BaseException) -> None:
    """The same from a signal, in this thread."""
    reach = _waiting.get(get_ident())
    if reach is None or not reach(error):
        raise error


def reached(by: Callable[[BaseException], bool] | None) -> None:
    """This thread runs a coroutine that can be reached so; None: no more."""
    if by is None:
        _waiting.pop(get_ident(), None)
    else:
        _waiting[get_ident()] = by


def strike_coroutine(task: asyncio.Task[Any], error: BaseException) -> None:
    """Raise it where the `interruptible` coroutine that this asyncio task runs waits. For the loop's own thread."""
    _overdue[task] = error
    task.cancel()


def give_up_coroutine(task: asyncio.Task[Any]) -> None:
    """Cancel it: nobody waits for it any more."""
    _given_up.add(task)
    task.cancel()


def own_cancelling(exc: BaseException) -> Exception | None:
    """What a task comes to that lets a cancelling out which is its own doing: an awaited task that it has cancelled.

    None: it is no cancelling, or the pool's, which has given the task up. It is told as another exception, since
    whoever asks for the result and was raised a CancelledError would take itself for cancelled.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(exc, asyncio.CancelledError):
        return None
    if _given_up:
        with suppress(RuntimeError):  # no loop runs here
            if asyncio.current_task() in _given_up:
                return None
    told = RuntimeError(f"the task was cancelled from within: asyncio.{exc!r}").with_traceback(exc.__traceback__)
    told.__cause__ = exc
    return told


def overdue_here(cancelled: BaseException) -> BaseException:
    """What was to strike the asyncio task that runs here and was cancelled for it; else what it was given."""
    import asyncio

    task = asyncio.current_task()
    if task is None:
        return cancelled
    error = _overdue.pop(task, cancelled)
    if error is not cancelled and hasattr(task, "uncancel"):
        task.uncancel()
    return error


class interruptible:  # noqa: N801 - it is used as a verb: await interruptible(coroutine)
    """Awaits a coroutine in which `strike_coroutine` raises its error instead of a cancellation."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        import asyncio  # 50 ms of CPU at the start of a worker that may never see a coroutine

        coroutine, send = self._coroutine, None
        error: BaseException | None = None
        while True:
            try:
                waited = coroutine.send(send) if error is None else coroutine.throw(error)
            except StopIteration as ended:
                return ended.value
            error = None
            try:
                send = yield waited
            except asyncio.CancelledError as cancelled:
                error = overdue_here(cancelled)
            except BaseException as thrown:  # noqa: BLE001 - whatever it is, it is the coroutine's
                error = thrown

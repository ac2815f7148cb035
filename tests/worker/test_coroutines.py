"""The private loop of a thread: coroutines one after another, and a limit that reaches them wherever they are."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.worker import limit
from celeriac.worker.coroutines import Loops


class Overdue(Exception):
    pass


@pytest.fixture
def loops() -> Iterator[Loops]:
    made = Loops()
    yield made
    made.close()


@pytest.fixture
def alarm(loops: Loops) -> Iterator[None]:
    def ring(*_: Any) -> None:
        exc = Overdue("late")
        if not loops.interrupt(exc):
            raise exc

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_loop_is_kept(loops: Loops) -> None:
    async def work(value: Any) -> Any:
        await asyncio.sleep(0)
        return value, asyncio.get_running_loop()

    (first, one), (second, two) = loops.wait(work(1)), loops.wait(work(2))
    assert (first, second) == (1, 2)
    assert one is two
    assert not loops.interrupt(Overdue())


def test_exceptions_and_cancelling_pass(loops: Loops) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    async def times_out() -> str:
        try:
            await asyncio.wait_for(asyncio.sleep(9), 0.01)
        except asyncio.TimeoutError:
            return "timed out"
        return "no"

    async def meets_a_failed_future() -> str:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, ValueError("f"))
        try:
            await future
        except ValueError as exc:
            return str(exc)
        return "no"

    with pytest.raises(KeyError, match="x"):
        loops.wait(fails())
    assert loops.wait(times_out()) == "timed out"
    assert loops.wait(meets_a_failed_future()) == "f"


@pytest.mark.usefixtures("alarm")
def test_a_limit_reaches_a_coroutine_that_waits(loops: Loops) -> None:
    async def waits() -> str:
        try:
            await asyncio.sleep(9)
        except Overdue as exc:
            await asyncio.sleep(0)
            return f"caught {exc}"
        return "no"

    assert loops.wait(waits()) == "caught late"


@pytest.mark.usefixtures("alarm")
def test_a_limit_reaches_a_coroutine_that_computes(loops: Loops) -> None:
    async def computes() -> str:
        try:
            end = time.monotonic() + 9
            while time.monotonic() < end:
                pass
        except Overdue as exc:
            return f"caught {exc}"
        return "no"

    assert loops.wait(computes()) == "caught late"


@pytest.mark.usefixtures("alarm")
def test_a_limit_that_is_not_caught_ends_it(loops: Loops) -> None:
    async def waits() -> None:
        await asyncio.sleep(9)

    with pytest.raises(Overdue):
        loops.wait(waits())

    async def next_one() -> int:
        await asyncio.sleep(0)
        return 1

    assert loops.wait(next_one()) == 1


def test_what_is_raised_in_the_loop_itself_leaves_no_task_behind(loops: Loops) -> None:
    ended = []

    async def waits() -> None:
        asyncio.get_running_loop().call_soon(interrupt)
        try:
            await asyncio.sleep(9)
        finally:
            ended.append(True)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loops.wait(waits())
    assert ended == [True]


def test_a_limit_from_another_thread_is_raised_where_the_coroutine_waits(loops: Loops) -> None:
    """And at once: it is not the thread, which waits in the system, that has to hear of it."""
    ident, inside = threading.get_ident(), threading.Event()

    async def work() -> str:
        inside.set()
        try:
            await asyncio.sleep(60)  # until it is interrupted: how long that took is looked at
        except Overdue:
            return "caught"
        return "slept"

    def strike() -> None:
        assert inside.wait(20)
        while not limit.strike(ident, Overdue):
            time.sleep(0.01)  # not waiting yet

    other = threading.Thread(target=strike)
    began, outer = time.monotonic(), limit.enter()
    other.start()
    try:
        assert loops.wait(work()) == "caught"
    finally:
        limit.leave(outer)
        other.join(20)
    assert time.monotonic() - began < 30
    assert loops.wait(asyncio.sleep(0, "next")) == "next"

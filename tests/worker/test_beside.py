"""Plain functions beside an event loop: in threads that are kept, and that a limit reaches."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from celeriac.worker import limit
from celeriac.worker.beside import beside


class Late(Exception):
    pass


def within(call: Any) -> Any:
    outer = limit.enter()
    try:
        return call()
    finally:
        limit.leave(outer)


def busy(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)
    return "done"


def test_threads_are_kept_and_as_many_as_there_are_calls() -> None:
    together = threading.Barrier(50)

    def call() -> str:
        together.wait(20)
        return threading.current_thread().name

    async def main() -> list[int]:
        return [len(await asyncio.gather(*(beside(call) for _ in range(50)))) for _ in range(2)]

    before = threading.active_count()
    assert asyncio.run(main()) == [50, 50]
    assert threading.active_count() - before <= 50


def test_what_it_raises_is_raised() -> None:
    async def main() -> None:
        for raised in (KeyError("x"), SystemExit(3)):

            def call(raised: BaseException = raised) -> None:
                raise raised

            with pytest.raises(type(raised)):
                await beside(call)

    asyncio.run(main())


def test_a_limit_reaches_it_as_soon_as_it_is_in_its_own_code() -> None:
    entered = threading.Event()

    def call() -> str:
        entered.set()
        time.sleep(0.1)  # not in its own code yet
        try:
            return str(within(lambda: busy(20)))
        except Late:
            return "late"

    async def main() -> Any:
        task = asyncio.create_task(beside(call))
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 10)
        limit.strike_coroutine(task, Late())
        return await task

    began = time.monotonic()
    assert asyncio.run(main()) == "late"
    assert time.monotonic() - began < 10


def test_one_that_is_given_up_ends_and_its_thread_is_kept() -> None:
    over = threading.Event()

    def call() -> None:
        try:
            within(lambda: busy(20))
        finally:
            over.set()

    async def main() -> None:
        task = asyncio.create_task(beside(call))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.get_running_loop().run_in_executor(None, over.wait, 10)
        assert await beside(lambda: "next") == "next"

    asyncio.run(main())

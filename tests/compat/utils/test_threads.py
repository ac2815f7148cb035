"""What is pushed on a stack is seen by its thread and its coroutine, and by nobody else."""

from __future__ import annotations

import asyncio
import threading

import pytest

from celeriac.compat.utils.threads import Local, LocalManager, LocalStack, bgThread


def test_a_stack() -> None:
    stack = LocalStack()
    assert (stack.top, stack.pop(), len(stack)) == (None, None, 0)
    stack.push(1)
    assert stack.push(2) == [1, 2]
    assert (stack.top, stack.stack, len(stack), stack() + 1) == (2, [1, 2], 2, 3)
    assert (stack.pop(), stack.pop(), stack.pop()) == (2, 1, None)
    with pytest.raises(RuntimeError, match="unbound"):
        stack()._get_current_object()


def test_threads_see_their_own() -> None:
    stack, local, seen = LocalStack(), Local(), []
    stack.push("here")
    local.name = "here"

    def look() -> None:
        seen.append((stack.top, getattr(local, "name", None)))
        stack.push("there")

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(None, None)]
    assert stack.top == "here"
    LocalManager([stack, local]).cleanup()
    assert stack.top is None
    with pytest.raises(AttributeError):
        local.name  # noqa: B018 - asking is the test


def test_coroutines_see_their_own_and_their_starters() -> None:
    stack = LocalStack()

    async def task(name: str) -> list[str]:
        stack.push(name)
        await asyncio.sleep(0)
        return stack.stack

    async def main() -> list[list[str]]:
        stack.push("starter")
        return await asyncio.gather(task("a"), task("b"))

    assert asyncio.run(main()) == [["starter", "a"], ["starter", "b"]]
    assert stack.top is None


def test_a_background_thread_runs_until_it_is_stopped() -> None:
    ran = threading.Event()

    class Body(bgThread):
        def body(self) -> None:
            ran.set()

    thread = Body()
    thread.start()
    assert ran.wait(5)
    thread.stop()
    assert not thread.is_alive()
    assert thread.name == "Body"

"""Run by test_greenlets.py in a process of its own: coroutines of greenlets, and what is thrown at them. Prints JSON."""

from __future__ import annotations

import sys

LIBRARY = sys.argv[1]
if LIBRARY == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    import eventlet

    eventlet.monkey_patch()

import asyncio  # noqa: E402 - after the library has patched
import json  # noqa: E402 - as above
from collections.abc import Callable  # noqa: E402 - as above
from contextvars import ContextVar, copy_context  # noqa: E402 - as above
from typing import Any  # noqa: E402 - as above

from celeriac.worker.ashore import Ashore  # noqa: E402 - as above
from celeriac.worker.coroutines import LOOPS, Loops  # noqa: E402 - as above
from celeriac.worker.limit import GivenUp  # noqa: E402 - as above
from celeriac.worker.pools.greenlets import LIBRARIES  # noqa: E402 - as above

made = LIBRARIES[LIBRARY]()
Loops.ashore = Ashore(made.spawn, (GivenUp, made.exit))
number: ContextVar[int] = ContextVar("number", default=0)
events: list[str] = []
here: list[int] = []


class Soft(Exception):
    pass


def outcome(work: Callable[[], Any], strike: BaseException | None = None) -> Any:
    """What it comes to in a greenlet, which this is thrown into once its coroutine waits."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append(work())
        except BaseException as exc:  # the answer
            box.append(type(exc).__name__)

    greenlet = made.spawn(run)
    if strike is not None:
        while "waits" not in events:
            made.sleep(0.01)
        made.throw(greenlet, strike)
    while not box:
        made.sleep(0.01)
    return box[0]


async def meets(expected: int) -> int:
    """Returns once all ten are here at one time."""
    here.append(expected)
    while len(here) < 10:  # noqa: ASYNC110 - an Event is of one loop, and it is to be seen that they share one
        await asyncio.sleep(0.01)
    assert number.get() == expected
    return expected


def many() -> list[int]:
    done: list[int] = []

    def run(given: int) -> None:
        number.set(given)
        done.append(LOOPS.wait(meets(given)))

    for given in range(10):
        made.spawn(copy_context().run, run, given)
    while len(done) < 10:
        made.sleep(0.01)
    return sorted(done)


async def fails() -> None:
    raise KeyError("k")


async def waits(catch: bool = False) -> str:
    events.append("waits")
    try:
        await asyncio.sleep(
            30
        )  # until it is interrupted: left alone it would end with None, and not with what is expected
    except Soft:
        if not catch:
            raise
        await asyncio.sleep(0.01)
        return "caught"
    finally:
        events.append("ended")
    return "waited"


async def calls_another() -> Any:
    return LOOPS.wait(plain())


async def plain() -> int:
    await asyncio.sleep(0)
    return 5


async def asks_threads() -> list[int]:
    """As name lookups of asyncio do."""
    return [await asyncio.to_thread(sum, [given, 1]) for given in range(5)]


def loop_here() -> str:
    events.clear()
    made.spawn(LOOPS.wait, waits())
    while "waits" not in events:
        made.sleep(0.01)
    asyncio.get_running_loop()
    return "a loop runs in the greenlets' own thread"


def struck(error: BaseException, catch: bool = False) -> list[Any]:
    events.clear()
    got = outcome(lambda: LOOPS.wait(waits(catch)), error)
    while "ended" not in events:
        made.sleep(0.01)
    return [got, *events]


answer = {
    "together": many(),
    "fails": outcome(lambda: LOOPS.wait(fails())),
    "soft": struck(Soft()),
    "caught": struck(Soft(), catch=True),
    "given up": struck(GivenUp()),
    "within": outcome(lambda: LOOPS.wait(calls_another())),
    "here": outcome(loop_here),
    "threads": outcome(lambda: LOOPS.wait(asks_threads())),
}
loop = Loops.ashore._loop
Loops.ashore.close()
while not loop.is_closed():
    made.sleep(0.01)
answer["left"] = events.count("ended")
print(json.dumps(answer))

"""Calls that are wrong, one a line: a type checker must object to each line that ends in `# wrong`, and to no other."""

from __future__ import annotations

from typing import Any

from celeriac.compat.app import Celery, shared_task

app = Celery("typed")


@app.task
def add(x: int, y: int = 2) -> int:
    return x + y


@app.task(bind=True)
def bound(self: Any, text: str, *, loud: bool = False) -> str:
    return text


@app.task
async def coroutine(x: int) -> bytes:
    return b""


@shared_task
def shared(x: str) -> str:
    return x


add.delay()  # wrong
add.delay("1")  # wrong
add.delay(1, 2, 3)  # wrong
add.delay(1, z=2)  # wrong
add(1, "2")  # wrong
add.run()  # wrong
add.si("1")  # wrong
bound.delay()  # wrong
bound.delay(None, "text")  # wrong
bound.delay("text", True)  # wrong
coroutine.delay("3")  # wrong
shared.delay(3)  # wrong
text: str = add.delay(1).get()  # wrong
count: str = add.s(1).delay(2).get()  # wrong
shout: int = (add.s(1) | bound.s()).apply_async().get()  # wrong
number: int = coroutine.apply((1,)).get()  # wrong


async def awaiting() -> None:
    await add.adelay("1")  # wrong
    await bound.adelay(loud="yes")  # wrong


def right() -> None:
    add.delay(1)
    bound.delay("text", loud=True)

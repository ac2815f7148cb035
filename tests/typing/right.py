"""Calls that are right: a type checker has nothing to say, and knows what comes out of them."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from celeriac.compat.app import Celery, shared_task
from celeriac.compat.app.task import Task
from celeriac.compat.canvas import Signature
from celeriac.compat.result import AsyncResult

app = Celery("typed")


@app.task
def add(x: int, y: int = 2) -> int:
    return x + y


@app.task(bind=True, max_retries=3)
def bound(self: Task[..., Any], text: str, *, loud: bool = False) -> str:
    self.retry(countdown=3)
    return text.upper() if loud else text


@app.task(rate_limit="1/s", autoretry_for=(OSError,))
def options(x: float) -> list[float]:
    return [x]


@app.task
async def coroutine(x: int) -> bytes:
    return b"x" * x


@app.task(bind=True)
async def bound_coroutine(self: Any, x: int) -> None: ...


@app.task(bind=True)
def with_keywords(self: Any, /, x: int, **rest: Any) -> int:
    return x


@shared_task
def shared(x: str) -> str:
    return x


@shared_task(bind=True, name="own")
def shared_bound(self: Any, x: str) -> int:
    return len(x)


class Base(app.Task):  # type: ignore[name-defined,misc]
    def on_success(self, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None: ...


@app.task(base=Base)
def based(x: int) -> int:
    return x


class Class(Task[[int], str]):
    def run(self, x: int) -> str:
        return str(x)


assert_type(add.delay(1, 2), AsyncResult[int])
assert_type(add.delay(1), AsyncResult[int])
assert_type(add.delay(x=1, y=2), AsyncResult[int])
assert_type(add.apply_async((1, 2), countdown=3), AsyncResult[int])
assert_type(add(1, 2), int)
assert_type(add.run(1), int)
assert_type(add.apply((1,)).get(), int)
assert_type(bound.delay("a", loud=True), AsyncResult[str])
assert_type(bound("a"), str)
assert_type(options.delay(1.5), AsyncResult[list[float]])
assert_type(coroutine.delay(3), AsyncResult[bytes])
assert_type(bound_coroutine.delay(3), AsyncResult[None])
assert_type(with_keywords.delay(3, y=4), AsyncResult[int])
assert_type(shared.delay("a"), AsyncResult[str])
assert_type(shared_bound.delay("a"), AsyncResult[int])
assert_type(based.delay(1), AsyncResult[int])
assert_type(Class().delay(1), AsyncResult[str])
assert_type(add.s(1), Signature[int])  # the rest comes later
assert_type(add.s(1).delay(2), AsyncResult[int])
assert_type(add.si(1, 2).set(queue="q").apply_async(), AsyncResult[int])
assert_type(add.signature((1, 2), countdown=1)(), int)
assert_type(~add.s(1), int)
assert_type((add.s(1) | bound.s()).delay(), AsyncResult[str])
assert_type(add.s(1).clone((2,)), Signature[int])
plain: Signature = add.s(1)
assert_type(add.starmap_async([(1, 2), (3, 4)]), list[AsyncResult[int]])


async def awaiting() -> None:
    assert_type(await add.adelay(1, 2), AsyncResult[int])
    assert_type(await bound.aapply_async(("a",)), AsyncResult[str])

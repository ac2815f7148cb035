"""The bounded text of values, as argsrepr and events show them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ...protocol.wire import reprs

__all__ = ("reprstream", "saferepr")


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = 3, seen: Any = None) -> str:
    """The text of a value, not much longer than this and no more levels deep."""
    return reprs.saferepr(o, maxlen, maxlevels)


def reprstream(
    stack: deque[Any],
    seen: Any = None,
    maxlevels: int = 3,
    level: int = 0,
    isinstance: Callable[..., bool] = isinstance,
) -> Iterator[Any]:
    """The texts of what the iterators on the stack give, each with the iterator that it came from."""
    while stack:
        it = stack.popleft()
        for value in it:
            yield saferepr(value, None, max(maxlevels - level, 0)), it

"""What makes starting cheap: a program that sends one task pays for nothing that it does not use.

`logger` brings `logging` (5 ms of CPU) when something is to be said, and `uncollected` keeps the garbage collector
(5 ms) away while modules are loaded.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..protocol.hints import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from logging import Logger


def logger(name: str) -> Logger:
    """`logging.getLogger`."""
    if "logging" in sys.modules:
        return _real(name)
    return cast("Logger", _Late(name))


def _real(name: str) -> Logger:
    from logging import getLogger

    return getLogger(name)


class _Late:
    """Is asked for one method at a time."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        return getattr(_real(self._name), method)


@contextmanager
def uncollected() -> Iterator[None]:
    """While modules are loaded: what that makes stays, and collecting meanwhile looks through it all for nothing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        _age()
        gc.enable()


def _age() -> None:
    """Counts all there is as old, as it soon would be: else it is looked through at once, which takes 1 ms and more.

    Freezing and thawing does so, and takes no time. Where somebody keeps something frozen it is left to him.
    """
    if hasattr(gc, "freeze") and not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()

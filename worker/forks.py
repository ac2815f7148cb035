"""What a forked child must not share with its parent: told once, by the interpreter, in the child.

Law: nothing here is asked for on a hot path but `HERE.pid`, which is an attribute and no system call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class _Here:
    """This process."""

    __slots__ = ("pid",)

    def __init__(self) -> None:
        self.pid = os.getpid()


HERE = _Here()


def in_child(function: Callable[[], Any]) -> None:
    """Have this called in every forked child, before anything else runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


in_child(HERE.__init__)  # type: ignore[misc]  # a child begins anew

"""New ids: random UUIDs (version 4) as text, many for one question to the kernel.

Law: an id is never given twice, not in a thread beside this one and not in a forked child.
"""

from __future__ import annotations

import os
from itertools import count
from struct import Struct

from .forks import in_child

_AT_ONCE = 64
_pool: list[str] = []


def new_id() -> str:
    try:
        return _pool.pop()
    except IndexError:
        _refill()
        return new_id()


def new_tag() -> str:
    """A name that nobody else gives, for what need not be guarded against guessing: it looks like an id."""
    return f"{_tags.begin}{next(_tags.numbers):012x}"


class _Tags:
    """Of this process: the beginning is random."""

    __slots__ = ("begin", "numbers")

    def __init__(self) -> None:
        self.begin = new_id()[:24]
        self.numbers = count()


def chance() -> float:
    """Between 0 and 1, in steps of 1/65536: to keep peers from doing the same at the same time."""
    return int.from_bytes(os.urandom(2), "big") / 0x10000


def _refill() -> None:
    """All of them in a few steps of C: bits of version and variant, hexadecimal, hyphens."""
    drawn = int.from_bytes(os.urandom(16 * _AT_ONCE), "big") & _RANDOM | _FIXED
    digits = drawn.to_bytes(16 * _AT_ONCE, "big").hex().encode()
    _pool.extend(b" ".join(map(b"-".join, _GROUPS.iter_unpack(digits))).decode().split())


_GROUPS = Struct("8s4s4s4s12s")
_RANDOM = int("ffffffffffff0fff3fffffffffffffff" * _AT_ONCE, 16)
_FIXED = int("00000000000040008000000000000000" * _AT_ONCE, 16)

in_child(_pool.clear)
_tags = _Tags()
in_child(_tags.__init__)  # type: ignore[misc]  # a child begins anew

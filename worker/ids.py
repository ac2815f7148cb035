"""New ids: random UUIDs (version 4) as text, many for one question to the kernel.

Law: an id is never given twice, not in a thread beside this one and not in a forked child.
"""

from __future__ import annotations

import os
from itertools import count

from .forks import in_child

_AT_ONCE = 256
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
    """All of them in a few steps of C: the first digits of all, the second ones, and so on."""
    digits = os.urandom(16 * _AT_ONCE).hex().encode()
    text = bytearray(_FORM * _AT_ONCE)
    width = len(_FORM)
    for place, number in _PLACES:
        text[place::width] = digits[number::32]
    text[_VARIANT::width] = digits[16::32].translate(_TO_VARIANT)
    _pool.extend(text.decode().split())


_FORM = b"........-....-4...-*...-............ "
_VARIANT = _FORM.index(b"*")
# Where a random digit goes, and which of the 32 that are drawn for each id: those of version and variant are not free.
_FREE = (at for at, sign in enumerate(_FORM) if sign == ord("."))
_PLACES = tuple(zip(_FREE, (*range(12), *range(13, 16), *range(17, 32)), strict=True))
_TO_VARIANT = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)

in_child(_pool.clear)
_tags = _Tags()
in_child(_tags.__init__)  # type: ignore[misc]  # a child begins anew

"""Errors named by whose fault it is: the sender's (`BadMessage`) or the caller's (`BadCall`).

Law: nothing else leaves protocol/. A parser raises `BadMessage` alone, whatever bytes it was given.
"""

from __future__ import annotations

_SHOWN = 80
_LONGEST = 500


class ProtocolError(Exception):
    """What protocol/ raises; never raised itself."""


class BadMessage(ProtocolError, ValueError):
    """What arrived cannot be what it should be. Says what was read, which field, and why.

    >>> str(BadMessage("task message", "expected an ISO-8601 text, got 5", field="eta"))
    'task message: eta: expected an ISO-8601 text, got 5'
    """

    def __init__(self, what: str, why: str, *, field: str = "") -> None:
        if len(why) > _LONGEST:  # some reasons quote the sender
            why = f"{why[:_LONGEST]}..."
        super().__init__(what, why, field)
        self.what = what
        self.why = why
        self.field = field

    def __str__(self) -> str:
        return ": ".join(part for part in (self.what, self.field, self.why) if part)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.why, self.field)


class Refused(BadMessage):
    """The content is of a type that this reader does not accept; not one byte of it was decoded."""


class Undecodable(BadMessage):
    """The content is of an accepted type, and its bytes are not of that type."""


class BadCall(ProtocolError, ValueError):
    """The caller asked for something that cannot be put on the wire."""


def _rebuild(kind: type[BadMessage], what: str, why: str, field: str) -> BadMessage:
    return kind(what, why, field=field)


def shown(value: object) -> str:
    """A value as an error message shows it: its type, and its start. Never long, never raises on wire values."""
    kind = type(value).__name__
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if -(10**18) < value < 10**18 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, (str, bytes)):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}... ({len(value)} long)"
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return f"{kind} of {len(value)}"
    return kind

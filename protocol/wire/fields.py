"""The fields of a task message, each read by one function: a value of its type, or BadMessage naming the field.

Law: what a stock worker lives with is taken (numbers as texts, integers as floats, null for absent); what would kill
it, or poison what it stores, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..errors import BadMessage, shown
from .dates import isoformat

WHAT = "task message"
_MOST = 2**63 - 1  # what Redis, AMQP and JSON readers elsewhere can hold


def refuse(field: str, expected: str, value: Any) -> BadMessage:
    return BadMessage(WHAT, f"expected {expected}, got {shown(value)}", field=field)


def read_id(field: str, value: Any) -> str | None:
    """An id becomes part of keys and queue names, so it must be a text that can be encoded."""
    if isinstance(value, int) and not isinstance(value, bool) and -_MOST <= value <= _MOST:
        return str(value)
    if not isinstance(value, str):
        raise refuse(field, "a text", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise refuse(field, "a text of whole characters", value) from None
    return value


def read_name(field: str, value: Any) -> str:
    """What must be there: the task's name, its id."""
    text = read_id(field, value) if value is not None else None
    if not text:
        raise refuse(field, "a text that is not empty", value)
    return text


def read_label(_field: str, value: Any) -> str:
    """A text that is only shown. Whatever else was sent in its place is shown as what it is."""
    return value if isinstance(value, str) else shown(value)


def read_integer(field: str, value: Any) -> int:
    """A whole number; JavaScript and Go send 2.0 for 2, and stock workers bear with "2"."""
    if isinstance(value, str) and len(value) < len(str(_MOST)) and value.strip().lstrip("+-").isdecimal():
        value = _digits(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or not -_MOST <= value <= _MOST:
        raise refuse(field, "a whole number", value)
    return int(value)


def _digits(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def read_flag(_field: str, value: Any) -> bool:
    return bool(value)


def read_limits(field: str, value: Any) -> tuple[Any, Any]:
    """Hard and soft, in that order; anything empty is no limit."""
    if not value and not isinstance(value, (int, float)):
        return None, None
    if not isinstance(value, (list, tuple)) or len(value) != 2:  # noqa: PLR2004 - hard and soft
        raise refuse(field, "[hard, soft]", value)
    for limit in value:
        if limit is not None and not (isinstance(limit, (int, float)) and -_MOST <= limit <= _MOST):
            raise refuse(field, "seconds or null", limit)
    return value[0], value[1]


def read_stamps(field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise refuse(field, "a mapping of names to stamps", value)
    return dict(value)


def read_names(field: str, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise refuse(field, "a list of names", value)
    return list(value)


def read_date(field: str, value: Any) -> str:
    """The text as sent; a serializer or an AMQP table may also carry a date as such."""
    text = isoformat(value) if isinstance(value, (str, datetime)) else None
    if not text:
        raise refuse(field, "an ISO-8601 text", value)
    return text

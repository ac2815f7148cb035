"""Single settings as plain values, and one clear error for a value that cannot be meant.

Law: what Celery takes is taken (a number written as a text, a span of time for seconds); what it would stumble over
later is `ImproperlyConfigured` here, with the name of the setting.
"""

from __future__ import annotations

from ...protocol.hints import Any
from ...protocol.moments import timedelta
from ..exceptions import ImproperlyConfigured


def flag(conf: Any, name: str) -> bool:
    """True or false. A text is true unless it is one of those that mean no."""
    value = conf[name]
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)


_NO = frozenset(("", "0", "false", "no", "off"))


def whole(conf: Any, name: str, value: Any = None) -> int | None:
    """A whole number, 0 or more; None is none. A `value` that is given stands for the setting's."""
    value = conf[name] if value is None else value
    if value is None:
        return None
    try:
        found = int(value)
    except (TypeError, ValueError, OverflowError):
        found = -1
    if found < 0 or (isinstance(value, float) and found != value):
        raise ImproperlyConfigured(f"{name} is a whole number, 0 or more, not {value!r}")
    return found


def number(conf: Any, name: str, value: Any = None) -> float | None:
    """Seconds, 0 or more; None is none. A `value` that is given stands for the setting's."""
    value = conf[name] if value is None else value
    if value is None:
        return None
    try:
        found = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = -1.0
    if not found >= 0:
        raise ImproperlyConfigured(f"{name} is a number of seconds, 0 or more, not {value!r}")
    return float(found)

"""The classes of `datetime`, for modules that a program loads in order to send a task.

Law: they are `datetime`'s own; whoever has put others there (freezegun, say) has loaded it, and is asked.

Why: before Python 3.12 `datetime` makes all of them in Python first, 1 ms of CPU, and then takes those that are in C.
"""

# ruff: noqa: F401, PLC0414 - they are had from here

from __future__ import annotations

import sys

from .hints import TYPE_CHECKING

if TYPE_CHECKING or "datetime" in sys.modules:
    from datetime import date as date
    from datetime import datetime as datetime
    from datetime import time as time
    from datetime import timedelta as timedelta
    from datetime import timezone as timezone
    from datetime import tzinfo as tzinfo
else:
    try:
        from _datetime import date, datetime, time, timedelta, timezone, tzinfo
    except ImportError:  # a Python whose classes are not in C
        from datetime import date, datetime, time, timedelta, timezone, tzinfo

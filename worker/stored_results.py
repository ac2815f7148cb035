"""What is stored of a run: the document of a result, made of a request, for a store of ours.

Law: key for key what Celery stores. Only a backend whose methods are all our own is written to in another way than
by its methods: whoever overrides one is asked.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
from time import time_ns
from typing import Any

from ..protocol.wire import states
from ..protocol.wire.result import About, Result

_PLAIN = frozenset({int, str, float, bool, type(None), list, dict, tuple, bytes})
_ASKED = (
    *("store_result", "_store_result", "mark_as_done", "mark_as_failure", "mark_as_retry", "on_chord_part_return"),
    *("process_cleanup", "prepare_value", "encode", "_get_result_meta", "current_task_children"),
)
_OURS = "celeriac.compat.backends"
_UTC = timezone.utc


def native(backend: Any) -> Any:
    """The `Store` behind a backend whose methods are ours. None: it is somebody else's, or has been changed."""
    kind = type(backend)
    if not kind.__module__.startswith(_OURS):
        return None
    own = backend.__dict__
    for name in _ASKED:
        method = getattr(kind, name, None)
        if name in own or (method is not None and not getattr(method, "__module__", "").startswith(_OURS)):
            return None
    return backend.store


def result_of(
    app: Any,
    backend: Any,
    request: Any,
    state: str,
    value: Any,
    traceback: str | None = None,
    *,
    extended: bool = False,
    utc: bool = False,
) -> Result:
    """The result as it is stored. `utc`: that is the app's time zone."""
    if type(value) not in _PLAIN and state == states.SUCCESS:
        prepare = getattr(backend, "prepare_value", None)
        value = value if prepare is None else prepare(value)
    children = request._children  # noqa: SLF001 - the property would make a list for each
    return Result(
        request.id,
        state,
        value,
        traceback,
        [child.as_tuple() for child in children] if children else [],
        done_at(app, utc=utc) if state in states.READY else None,
        request.group or None,
        request.parent_id or None,
        about(request) if extended else None,
    )


def is_plain(request: Any, value: Any) -> bool:
    """Whether its result says no more than the value, when it was done, and its group and parent. (`result_extended`
    is the caller's to know.)"""
    return type(value) in _PLAIN and not request._children  # noqa: SLF001 - the property would make a list for each


def done_at(app: Any, *, utc: bool) -> str:
    text: str = _utc() if utc else app.now().isoformat()
    return text


def _utc() -> str:
    """`datetime.now(timezone.utc).isoformat()`, of which all but the fraction is the same for a second."""
    second, fraction = divmod(time_ns() // 1000, 1_000_000)
    return f"{_second(second)}.{fraction:06d}+00:00" if fraction else f"{_second(second)}+00:00"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, _UTC).replace(tzinfo=None).isoformat()


def is_utc(app: Any) -> bool:
    """Whether the app tells the time in UTC, by Celery's own clock."""
    return str(app.timezone) == "UTC" and "now" not in vars(app) and type(app).now.__module__.startswith("celeriac.")


def about(request: Any) -> About:
    """What `result_extended` adds."""
    stamps = request.stamps
    return About(
        getattr(request, "task", None),
        request.args,
        request.kwargs,
        request.hostname,
        request.retries,
        (request.delivery_info or {}).get("routing_key"),
        stamps or {},
        tuple(request.stamped_headers or ()) if stamps else (),
    )

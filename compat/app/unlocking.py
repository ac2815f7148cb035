"""What `celery.chord_unlock` does: look whether a chord's header is done, and send the body if it is.

Law: whatever goes wrong, the body gets an outcome. A chord that nobody looks at any more never stays pending.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger("celery.app.builtins")


def unlock(
    task: Any, group_id: str, callback: Any, interval: Any, max_retries: Any, result: Any, exchange_type: Any
) -> None:
    """One look. Raises `Retry` when the header is not done yet."""
    from ..canvas import maybe_signature
    from ..result import allow_join_result, result_from_tuple

    app = task.app
    if interval is None:
        interval = task.default_retry_delay
    header = app.GroupResult(group_id, [result_from_tuple(one, app=app) for one in result], app=app)
    callback = maybe_signature(callback, app=app)
    options = {} if exchange_type is None else {"exchange_type": exchange_type}
    _await(task, header, callback, {"countdown": interval, "max_retries": max_retries, **options})
    join = header.join_native if header.supports_native_join else header.join
    try:
        with allow_join_result():
            values = join(timeout=app.conf.result_chord_join_timeout, propagate=True)
    except BaseException as problem:
        culprit = next(iter(header._failed_join_report()), None)
        if not isinstance(problem, Exception):
            # A result may name SystemExit as its exception: that fails the chord, and ends no worker.
            culprit = next((one for one in _leaves(header) if type(one.result) is type(problem)), None)
            if culprit is None:
                raise
        reason = repr(problem) if culprit is None else f"Dependency {culprit.id} raised {problem!r}"
        _fail(app, header, callback, reason, problem)
        return
    try:
        callback.delay(values)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the body is told
        _fail(app, header, callback, f"Callback error: {problem!r}", problem)


def _leaves(header: Any) -> Iterator[Any]:
    from ..result import ResultSet

    for one in header.results:
        if isinstance(one, ResultSet):
            yield from _leaves(one)
        else:
            yield one


def _await(task: Any, header: Any, callback: Any, again: dict[str, Any]) -> None:
    """Return when the header is done, else have us called again."""
    from ..exceptions import Retry

    unreadable: Exception | None = None
    try:
        try:
            ready = header.ready()
        except Exception as problem:
            unreadable = problem
            raise task.retry(exc=problem, **again) from problem
        if not ready:
            raise task.retry(**again)  # noqa: TRY301 - retrying may fail like the rest
    except Retry:
        raise
    except Exception as problem:  # the broker refuses, or it was the last try: nobody will look again
        cause = getattr(problem, "reason", None) or problem
        reason = f"chord_unlock could not be retried: {cause!r}"
        if unreadable is not None and unreadable is not cause:
            reason += f" (after deps.ready() raised {unreadable!r})"
        _fail(task.app, header, callback, reason, cause)
        raise


def _fail(app: Any, header: Any, callback: Any, reason: str, cause: Any) -> None:
    from ..exceptions import ChordError

    _log.exception("Chord %r raised: %r", header.id, cause)
    error = ChordError(reason)
    error.__cause__ = cause if isinstance(cause, BaseException) else None
    app.backend.chord_error_from_stack(callback=callback, exc=error)

"""What is recorded of a run that did not succeed, where and in which order; Celery's TraceInfo is a door to this.

Law: `protocol.rules.outcome` says what follows, this performs it. A backend of ours is told by `store_result` and
`on_chord_part_return`; one that is somebody else's by its `mark_as_*`, and does the rest in its own way.
"""

from __future__ import annotations

import sys
from typing import Any

from ..protocol.rules import outcome as rules
from ..protocol.rules.continuing import Running
from ..protocol.rules.outcome import ChordPart, Errbacks, Fate, Outcome, Report, Store, Terms
from ..protocol.wire import states
from .einfo import ExceptionInfo, clear_frames
from .ports import App, Surroundings, Task
from .stored_results import native

LOG_RETRY = "Task %(name)s[%(id)s] retry: %(exc)s"


def running(request: Any, uuid: str | None = None) -> Running:
    """The request as the rules see it."""
    return Running(
        uuid or request.id,
        chord=request.chord,
        chain=request.chain,
        callbacks=request.callbacks,
        errbacks=request.errbacks,
    )


def record_failure(
    around: Surroundings,
    app: App,
    task: Task,
    request: Any,
    orig: BaseException,
    *,
    store_errors: bool = True,
    errbacks: bool = True,
) -> ExceptionInfo:
    """Store a failure, tell its chord, its chain and its errbacks, call the hook, send the signal."""
    exc = around.pickleable(orig)
    if exc.__traceback__ is None:
        exc.__traceback__ = sys.exc_info()[2]
    einfo = ExceptionInfo((around.pickleable_type(type(orig)), exc, exc.__traceback__))
    fail(around, app, task.backend, request, exc, einfo.traceback, store_errors=store_errors, errbacks=errbacks)
    task.on_failure(exc, request.id, request.args, request.kwargs, einfo)
    around.signals.task_failure.send(
        sender=task,
        task_id=request.id,
        exception=exc,
        args=request.args,
        kwargs=request.kwargs,
        traceback=exc.__traceback__,
        einfo=einfo,
    )
    return einfo


def fail(
    around: Surroundings,
    app: App,
    backend: Any,
    request: Any,
    exc: BaseException,
    traceback: str | None,
    *,
    store_errors: bool,
    errbacks: bool,
) -> None:
    """All that `rules.follow` says of a failure. A backend of somebody else's does it in its own way."""
    if native(backend) is None and hasattr(backend, "mark_as_failure"):
        backend.mark_as_failure(
            request.id, exc, traceback, request=request, store_result=store_errors, call_errbacks=errbacks
        )
        return
    kept = Terms(results=False, errors=store_errors)
    failed: set[str] = set()
    for effect in rules.follow(Outcome(states.FAILURE, exc), running(request), kept, errbacks=errbacks):
        if isinstance(effect, Store):
            if effect.lost is None:
                backend.store_result(request.id, exc, effect.state, traceback=traceback, request=request)
                continue
            if effect.lost.chord is not None and around.has_failed(backend, effect.task_id):
                failed.add(effect.task_id)
            about = around.lost(effect.lost)
            backend.store_result(effect.task_id, exc, effect.state, traceback=traceback, request=about)
        elif isinstance(effect, ChordPart):
            if effect.lost is None:
                backend.on_chord_part_return(request, effect.state, exc)
            elif effect.task_id not in failed:
                backend.on_chord_part_return(around.lost(effect.lost), effect.state, exc)
        elif isinstance(effect, Errbacks):
            around.call_errbacks(app, request, effect.errbacks, exc, traceback)


def complete(around: Surroundings, task: Task, request: Any, claim: Any) -> None:
    """Send the body of a chord in the name of the member that completed it."""
    around.tasks.put(task)
    task.request_stack.put(request)
    try:
        around.send_body(task.backend, request, claim)
    finally:
        around.tasks.pop()
        task.request_stack.pop()


def record_retry(
    around: Surroundings, task: Task, request: Any, reason: Any, *, store_errors: bool = True
) -> ExceptionInfo:
    """Store that it is tried again, call the hook, send the signal, log it."""
    einfo = ExceptionInfo((type(reason), reason, reason.__traceback__))
    if store_errors:
        backend = task.backend
        if native(backend) is None and hasattr(backend, "mark_as_retry"):
            backend.mark_as_retry(request.id, reason.exc, einfo.traceback, request=request)
        else:
            backend.store_result(request.id, reason.exc, states.RETRY, traceback=einfo.traceback, request=request)
    task.on_retry(reason.exc, request.id, request.args, request.kwargs, einfo)
    around.signals.task_retry.send(sender=task, request=request, reason=reason, einfo=einfo)
    shown = {"id": request.id, "name": getattr(request, "shadow", None) or task.name, "exc": str(reason)}
    around.log.info(LOG_RETRY, shown, extra={"data": shown})
    clear_frames(reason)
    return einfo


def record_refusal(around: Surroundings, app: App, task: Task, request: Any, exc: Any, einfo: ExceptionInfo) -> None:
    """A message that was refused for good: whoever waits for the task learns that it failed."""
    ignored = bool(task.ignore_result if request.ignore_result is None else request.ignore_result)
    store_errors = not ignored or bool(task.store_errors_even_if_ignored)
    fail(around, app, task.backend, request, exc, None, store_errors=store_errors, errbacks=True)
    around.signals.task_failure.send(
        sender=task,
        task_id=request.id,
        exception=exc,
        args=request.args,
        kwargs=request.kwargs,
        traceback=einfo.traceback,
        einfo=einfo,
    )


def signal_internal_error(
    around: Surroundings, task: Any, uuid: str, args: Any, kwargs: Any, request: Any, exc: BaseException
) -> None:
    signal = around.signals.task_internal_error
    if not signal.receivers:
        return
    einfo = ExceptionInfo((type(exc), exc, exc.__traceback__))
    einfo.exception = around.pickleable(einfo.exception)
    einfo.type = around.pickleable_type(einfo.type)
    signal.send(
        sender=task,
        task_id=uuid,
        args=args,
        kwargs=kwargs,
        request=request,
        exception=exc,
        traceback=exc.__traceback__,
        einfo=einfo,
    )


def report_internal_error(exc: BaseException) -> ExceptionInfo:
    """Warn, as nobody else will see it where it happened."""
    from warnings import warn

    einfo = ExceptionInfo((type(exc), exc, exc.__traceback__), internal=True)
    text = f"Exception raised outside body: {exc!r}:\n{einfo.traceback}"
    warn(RuntimeWarning(text), stacklevel=1)
    return einfo


def failed_report(exc: Any, traceback: str | None, *, internal: bool = False, runtime: float = 0.0) -> Report:
    return Report(states.FAILURE, Fate.FAILED, runtime, error=safe_repr(exc), traceback=traceback, internal=internal)


def safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return _safe_str(value)


def _safe_str(value: object) -> str:
    try:
        return str(value)
    except Exception as exc:  # noqa: BLE001 - and so may a user's __str__
        return f"<Unrepresentable {type(value)!r}: {type(exc).__name__}>"

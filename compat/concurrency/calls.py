"""A function that is called in a pool: the message that carries it there, and the report that brings its value back.

Law: it is a job like a task's, and runs by a tracer of its own. To a process it goes as a pickle between a parent and
its child; to a thread it goes by hand.
"""

from __future__ import annotations

import base64
import pickle
import sys
import traceback
from collections.abc import Callable
from itertools import count
from typing import Any

from ...protocol.rules.outcome import Report
from ...protocol.wire.message import Message

NAME = "celeriac.call"

_HERE: dict[str, Any] = {}
_keys = count()
_GOOD, _BAD = "+", "-"


def message(target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, apart: bool) -> Message:
    """`apart`: it runs in another process."""
    if apart:
        what = base64.b64encode(pickle.dumps((target, args, kwargs), pickle.HIGHEST_PROTOCOL)).decode()
    else:
        what = f"#{next(_keys)}"
        _HERE[what] = (target, args, kwargs)
    body = f'[["{what}"],{{}},{{"callbacks":null,"errbacks":null,"chain":null,"chord":null}}]'.encode()
    headers = {"task": NAME, "id": NAME, "retries": 0, "timelimit": [None, None]}
    return Message(body, "application/json", "utf-8", headers, {})


def tracer(app: Any, uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
    """What the pool's program runs for such a job."""
    from ..app.trace import fast_trace_task, trace_ok_t, trace_task_ret

    what: str = args[0]
    apart = not what.startswith("#")
    # Our own parent has written it.
    target, given, named = pickle.loads(base64.b64decode(what)) if apart else _HERE.pop(what)  # noqa: S301 - our own half of the call wrote it
    if target in (trace_task_ret, fast_trace_task):
        target, named = trace_task_ret, {**named, "app": app}  # a thread's current app may be another
    try:
        result = True, target(*given, **named)
    except Exception as exc:  # noqa: BLE001 - whatever the function raises is the caller's
        text = "".join(traceback.format_exception(*sys.exc_info()))
        result = False, (exc, text)
    return trace_ok_t(None, None, 0.0, _packed(*result) if apart else _kept(*result))


def _packed(good: bool, value: Any) -> str:
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as exc:  # noqa: BLE001 - whatever their __reduce__ raises
        good, data = False, pickle.dumps((RuntimeError(f"{type(exc).__name__}: {exc}"), ""), pickle.HIGHEST_PROTOCOL)
    return (_GOOD if good else _BAD) + base64.b64encode(data).decode()


def _kept(good: bool, value: Any) -> str:
    key = f"#{next(_keys)}"
    _HERE[key] = value
    return (_GOOD if good else _BAD) + key


def outcome(report: Report) -> tuple[bool, Any]:
    """Whether it returned, and what; or an `ExceptionInfo`."""
    text = report.result
    if not text or text[0] not in (_GOOD, _BAD):
        return False, _failure(RuntimeError(report.error or "the call did not run"), report.traceback or "")
    good, rest = text[0] == _GOOD, text[1:]
    # Our own child has written it.
    value = _HERE.pop(rest) if rest.startswith("#") else pickle.loads(base64.b64decode(rest))  # noqa: S301 - our own half of the call wrote it
    return (True, value) if good else (False, _failure(*value))


def _failure(exc: BaseException, text: str) -> Any:
    from ...worker.einfo import ExceptionInfo

    try:
        raise exc  # noqa: TRY301 - for its traceback
    except BaseException:  # noqa: BLE001 - raised for its traceback
        info = ExceptionInfo()
    if text:
        info.traceback = text
    return info

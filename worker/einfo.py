"""An exception as Celery hands it to hooks, signals and log handlers: its type, itself, its traceback as text.

Law: what is kept of a traceback can be pickled and shown by `traceback`, and holds no frame of the task's alive.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from types import CodeType, FrameType, TracebackType
from typing import Any

DEEPEST = sys.getrecursionlimit() // 8

ExcInfo = tuple[Any, Any, Any]


class _Code:
    def __init__(self, code: CodeType) -> None:
        self.co_filename = code.co_filename
        self.co_name = code.co_name
        self.co_firstlineno = code.co_firstlineno
        self.co_flags = code.co_flags
        self.co_argcount = code.co_argcount
        self.co_varnames = ()
        self.co_qualname = getattr(code, "co_qualname", code.co_name)
        self._positions = list(code.co_positions()) if hasattr(code, "co_positions") else []

    def co_positions(self) -> Any:
        return iter(self._positions)


class _Frame:
    def __init__(self, frame: FrameType) -> None:
        known = frame.f_globals
        self.f_builtins: dict[str, Any] = {}
        self.f_globals = {
            "__file__": known.get("__file__", "__main__"),
            "__name__": known.get("__name__"),
            "__loader__": None,
        }
        hidden = frame.f_locals.get("__traceback_hide__")
        self.f_locals = {} if hidden is None else {"__traceback_hide__": hidden}
        self.f_back = None
        self.f_trace = None
        self.f_code = _Code(frame.f_code)
        self.f_lineno = frame.f_lineno
        self.f_lasti = frame.f_lasti


class Traceback:
    """The frames of a traceback without what they held."""

    def __init__(self, tb: TracebackType, max_frames: int = DEEPEST) -> None:
        self.tb_frame = _Frame(tb.tb_frame)
        self.tb_lineno = tb.tb_lineno
        self.tb_lasti = tb.tb_lasti
        self.tb_next: Traceback | None = None
        last, following = self, tb.tb_next
        while following is not None and max_frames > 0:
            max_frames -= 1
            link = Traceback.__new__(Traceback)
            link.tb_frame, link.tb_lineno, link.tb_lasti = (
                _Frame(following.tb_frame),
                following.tb_lineno,
                following.tb_lasti,
            )
            link.tb_next = None
            last.tb_next = link
            last, following = link, following.tb_next


class RemoteTraceback(Exception):
    """The text of a traceback that happened elsewhere, as the cause of an exception."""

    def __init__(self, tb: str) -> None:
        super().__init__(tb)
        self.tb = tb

    def __str__(self) -> str:
        return self.tb


class ExceptionWithTraceback(Exception):
    """An exception that takes its traceback along when it is pickled."""

    def __init__(self, exc: BaseException | None, tb: str) -> None:
        self.exc = exc
        self.tb = f'\n"""\n{tb}"""'
        super().__init__()

    def __str__(self) -> str:
        return self.tb

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_exc, (self.exc, self.tb)


def rebuild_exc(exc: BaseException, tb: str) -> BaseException:
    exc.__cause__ = RemoteTraceback(tb)
    return exc


class ExceptionInfo:
    """The exception that is being handled, or the one of `exc_info`. `internal`: the worker's own fault."""

    type: Any = None
    exception: Any = None
    tb: Any = None
    traceback: Any = None
    internal = False

    def __init__(self, exc_info: ExcInfo | None = None, internal: bool = False) -> None:
        self.type, exception, tb = exc_info or sys.exc_info()
        try:
            self.tb = None if tb is None else Traceback(tb)
            self.traceback = "".join(traceback.format_exception(self.type, exception, tb))
            self.internal = internal
        finally:
            del tb
        self.exception = ExceptionWithTraceback(exception, self.traceback)

    def __str__(self) -> str:
        return str(self.traceback)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.exception!r}>"

    @property
    def exc_info(self) -> ExcInfo:
        return self.type, self.exception, self.tb


def clear_frames(exc: BaseException | None) -> None:
    """Let go of what the frames of its traceback hold: the locals of a task that failed may be large."""
    tb = exc.__traceback__ if exc is not None else None
    while tb is not None:
        with suppress(RuntimeError):  # it is still running
            tb.tb_frame.clear()
        tb = tb.tb_next

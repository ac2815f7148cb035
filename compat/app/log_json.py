"""Log lines as JSON, one object a line: for those who read logs by machine (`worker_json_logs`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .._state import get_current_task

# What a record has of its own; anything else was given as `extra`, and is told.
_USUAL = frozenset(
    (
        *("name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text"),
        *("stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName"),
        *("processName", "process", "taskName", "message", "asctime", "task_id", "task_name", "root_id", "data"),
    )
)


class JsonFormatter(logging.Formatter):
    """`time` (UTC), `level`, `logger`, `process`, `pid`, `message`; of which task and for which root, if there is one.

    A line about a task that runs elsewhere (received, succeeded) names that one: it is the record's `data`.
    """

    def __init__(self, fmt: str | None = None, use_color: bool = False, datefmt: str | None = None) -> None:
        super().__init__(None, datefmt)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.processName,
            "pid": record.process,
            "message": _message(record),
            **_task(record),
            **{name: value for name, value in record.__dict__.items() if name not in _USUAL},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=_shown, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as problem:  # noqa: BLE001  # a user's arguments may raise anything, and the line must come out
        return f"{record.msg!r} <not formatted: {problem!r}>"


def _task(record: logging.LogRecord) -> dict[str, Any]:
    told = record.__dict__.get("data")
    task = get_current_task()
    request = getattr(task, "request", None)
    if isinstance(told, Mapping) and "id" in told:
        root = told.get("root_id")
        if root is None and request is not None and request.id == told["id"]:
            root = getattr(request, "root_id", None)
        return {"task_id": told["id"], "task_name": told.get("name"), **({"root_id": root} if root else {})}
    if task is None or request is None or not request.id:
        return {}
    return {"task_id": request.id, "task_name": task.name, "root_id": getattr(request, "root_id", None)}


def _shown(value: Any) -> str:
    try:
        return str(value)
    except Exception as problem:  # noqa: BLE001  # as above
        return f"<{type(value).__name__}, not shown: {problem!r}>"

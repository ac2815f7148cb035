"""How a message for a task is received. `default` is the worker's own way."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..exceptions import InvalidTaskError
from ..utils.saferepr import saferepr
from ..utils.time import timezone
from .receiving import Handler
from .state import task_reserved

__all__ = ("default",)

logger = logging.getLogger("celery.worker.strategy")

_FIELDS = (
    *("lang", "task", "id", "root_id", "parent_id", "group", "meth", "shadow", "eta", "expires"),
    *("argsrepr", "kwargsrepr", "origin"),
)


def _arguments(body: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    args, kwargs = body.get("args", ()), body.get("kwargs", {})
    if not hasattr(kwargs, "items"):
        raise InvalidTaskError("Task keyword arguments must be a mapping")
    embed = {name: body.get(name) for name in ("callbacks", "errbacks", "chord")}
    return args, kwargs, {**embed, "chain": None}


def hybrid_to_proto2(message: Any, body: Any) -> tuple[Any, Any, bool, Any]:
    """The body of the first protocol in a message of the second: body, headers, decoded, utc."""
    parts = _arguments(body)
    headers = {name: body.get(name) for name in _FIELDS}
    headers.update(retries=body.get("retries", 0), timelimit=body.get("timelimit", (None, None)))
    headers.update(message.headers or {})
    return parts, headers, True, body.get("utc", True)


def proto1_to_proto2(message: Any, body: Any) -> tuple[Any, Any, bool, Any]:
    """A message of the first protocol: body, headers, decoded, utc."""
    parts = _arguments(body)
    body.update(argsrepr=saferepr(parts[0]), kwargsrepr=saferepr(parts[1]), headers=message.headers)
    if "taskset" in body:
        body["group"] = body["taskset"]
    return parts, body, True, body.get("utc", True)


def default(
    task: Any,
    app: Any,
    consumer: Any,
    info: Any = logger.info,
    error: Any = logger.error,
    task_reserved: Any = task_reserved,
    to_system_tz: Any = timezone.to_system,
    bytes: Any = bytes,
    proto1_to_proto2: Any = proto1_to_proto2,
) -> Any:
    """The worker takes it."""
    return Handler(consumer, task)

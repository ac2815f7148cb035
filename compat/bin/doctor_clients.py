"""Who wrote a message: each client of Celery's wire has its ways, and a worker beside it may have to know.

Law: a message is looked at, nothing of it is run or decoded but its own JSON. In doubt it is nobody's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Seen = Mapping[str, Any]
Mark = Callable[[Seen, Seen], bool]

UNREADABLE = "an unknown client: it is no message of Celery's"

# The first whose mark is there. A mark is given the headers and the properties.
_CLIENTS: tuple[tuple[str, Mark], ...] = (
    ("rusty-celery", lambda headers, _: "meth" in headers),
    ("celery-node", lambda headers, properties: headers.get("lang") == "js" or "correlationId" in properties),
    ("celery-ts", lambda _, properties: properties.get("delivery_tag") == "celery"),
    ("a client in another language", lambda headers, _: headers.get("lang") not in {None, "py"}),
    (
        "Celery 4",
        lambda headers, _: headers.get("lang") == "py" and "origin" in headers and "ignore_result" not in headers,
    ),
    (
        "Celery 5.2 or older",
        lambda headers, _: headers.get("lang") == "py" and "origin" in headers and "stamps" not in headers,
    ),
)
# Of protocol 1 the body tells what is to be run, and the headers tell nothing.
_OLD: tuple[tuple[str, Mark], ...] = (
    ("node-celery", lambda _, properties: "correlation_id" not in properties),
    ("gocelery", lambda headers, properties: headers is _NONE and "priority" not in properties),
    ("Celery 3", lambda _, properties: "priority" in (properties.get("delivery_info") or {})),
)
_NONE: Seen = {}

ADVICE = {
    "gocelery": "as a worker it reads protocol 1 alone: task_queue_protocols = {'its-queue': 1}",
    "node-celery": "it takes any state for the end of its task: keep task_track_started off for what it sends",
    "celery-ts": "it takes any state for the end of its task: keep task_track_started off for what it sends",
    "Celery 3": "results of its workers have no task_id, which Celery 5 cannot read; renew it first",
}


def client_of(data: bytes) -> str | None:
    """The client's name; None for a Celery of today."""
    try:
        envelope = json.loads(data)
    except (ValueError, RecursionError):
        return UNREADABLE
    properties = envelope.get("properties") if isinstance(envelope, dict) else None
    if not isinstance(properties, dict) or "body" not in envelope:
        return UNREADABLE
    found = envelope.get("headers")
    headers = found if isinstance(found, dict) else _NONE
    if "task" in headers:
        return next((name for name, mark in _CLIENTS if mark(headers, properties)), None)
    if "correlationId" in properties:
        return "celery-node"
    return next(
        (name for name, mark in _OLD if mark(headers, properties)),
        "Celery with task_protocol = 1, or another client of protocol 1",
    )

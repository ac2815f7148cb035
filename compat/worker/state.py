"""What a worker holds, by Celery's names: `celery.worker.state`. Filled by the worker of this process."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..utils.collections import LimitedSet

__all__ = (
    "SOFTWARE_INFO",
    "active_requests",
    "maybe_shutdown",
    "requests",
    "reserved_requests",
    "revoked",
    "successful_requests",
    "task_accepted",
    "task_ready",
    "task_reserved",
    "total_count",
)

import platform

SOFTWARE_INFO = {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": platform.system()}

REVOKES_MAX = 50_000
REVOKE_EXPIRES = 10_800
SUCCESSFUL_MAX = 1_000
SUCCESSFUL_EXPIRES = 10_800

requests: dict[str, Any] = {}
reserved_requests: set[Any] = set()
active_requests: set[Any] = set()
scheduled_requests: set[Any] = set()
successful_requests: Any = LimitedSet(maxlen=SUCCESSFUL_MAX, expires=SUCCESSFUL_EXPIRES)
total_count: Counter[str] = Counter()
all_total_count = [0]
revoked: Any = LimitedSet(maxlen=REVOKES_MAX, expires=REVOKE_EXPIRES)
revoked_stamps: dict[str, Any] = {}
should_stop: Any = None
should_terminate: Any = None


def reset_state() -> None:
    for each in (requests, reserved_requests, active_requests, scheduled_requests, successful_requests, total_count):
        each.clear()
    all_total_count[:] = [0]
    revoked.clear()
    revoked_stamps.clear()


def maybe_shutdown() -> None:
    """Leave, if somebody said so."""
    from ..exceptions import WorkerShutdown, WorkerTerminate

    if should_terminate is not None and should_terminate is not False:
        raise WorkerTerminate(should_terminate)
    if should_stop is not None and should_stop is not False:
        raise WorkerShutdown(should_stop)


def task_reserved(request: Any) -> None:
    requests[request.id] = request
    reserved_requests.add(request)


def task_accepted(request: Any) -> None:
    requests.setdefault(request.id, request)
    active_requests.add(request)
    total_count[request.name] += 1
    all_total_count[0] += 1


def task_ready(request: Any, successful: bool = False) -> None:
    if successful:
        successful_requests.add(request.id)
    requests.pop(request.id, None)
    active_requests.discard(request)
    reserved_requests.discard(request)

"""What the worker of this process holds, by Celery's names: `celery.worker.state`.

Law: these are views of the worker, made when somebody looks; the worker keeps nothing for them. What others put there
is there as well. With several workers in one process (tests), they show the one that was made last.
"""

from __future__ import annotations

import os
import platform
import shelve
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping, MutableSet
from functools import cached_property
from typing import Any

from ..exceptions import ImproperlyConfigured, WorkerShutdown, WorkerTerminate
from .views import Requests, Revoked, RevokedStamps, Running, Succeeded, Total

__all__ = (
    "SOFTWARE_INFO",
    "Persistent",
    "active_requests",
    "maybe_shutdown",
    "merge_revoked",
    "reserved_requests",
    "revoked",
    "scheduled_requests",
    "task_accepted",
    "task_ready",
    "task_reserved",
    "task_scheduled",
    "total_count",
)

SOFTWARE_INFO = {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": platform.system()}


def _number(name: str, default: float, kind: Callable[[Any], Any] = int) -> Any:
    value = os.environ.get(name)
    try:
        return kind(default if value is None else value)
    except ValueError:
        raise ImproperlyConfigured(f"Invalid value for {name}: expected {kind.__name__}, got {value!r}") from None


REVOKES_MAX = _number("CELERY_WORKER_REVOKES_MAX", 50_000)
SUCCESSFUL_MAX = _number("CELERY_WORKER_SUCCESSFUL_MAX", 1_000)
REVOKE_EXPIRES = _number("CELERY_WORKER_REVOKE_EXPIRES", 10_800, float)
SUCCESSFUL_EXPIRES = _number("CELERY_WORKER_SUCCESSFUL_EXPIRES", 10_800, float)

requests: MutableMapping[str, Any] = Requests()
reserved_requests: MutableSet[Any] = Running("reserved")
active_requests: MutableSet[Any] = Running("active")
scheduled_requests: MutableSet[Any] = Running("scheduled")
successful_requests: Any = Succeeded(maxlen=SUCCESSFUL_MAX, expires=SUCCESSFUL_EXPIRES)
total_count: Counter[str] = Counter()
all_total_count: list[int] = Total(total_count)
revoked: Any = Revoked(maxlen=REVOKES_MAX, expires=REVOKE_EXPIRES)
revoked_stamps: MutableMapping[str, Any] = RevokedStamps()
should_stop: Any = None
should_terminate: Any = None


def bind(consumer: Any) -> None:
    """This worker's is shown from now on. `consumer` is `worker.consumer`."""
    views: tuple[Any, ...] = (
        requests, reserved_requests, active_requests, scheduled_requests, successful_requests, revoked, revoked_stamps
    )  # fmt: skip
    for view in views:
        view.bind(consumer)
    consumer.done = total_count


def merge_revoked(task_ids: Iterable[str]) -> None:
    """Ids that were revoked elsewhere: on another worker, or before a restart."""
    if task_ids:
        revoked.update(list(task_ids))


def reset_state() -> None:
    for each in (requests, reserved_requests, active_requests, scheduled_requests, successful_requests, total_count):
        each.clear()
    revoked.clear()
    revoked_stamps.clear()


def maybe_shutdown() -> None:
    """Leave, if somebody said so."""
    if should_terminate is not None and should_terminate is not False:
        raise WorkerTerminate(should_terminate)
    if should_stop is not None and should_stop is not False:
        raise WorkerShutdown(should_stop)


# --- for who runs requests himself


def task_reserved(
    request: Any,
    add_request: Callable[..., Any] = requests.__setitem__,
    add_reserved_request: Callable[..., Any] = reserved_requests.add,
    discard_scheduled_request: Callable[..., Any] = scheduled_requests.discard,
) -> None:
    add_request(request.id, request)
    add_reserved_request(request)
    discard_scheduled_request(request)


def task_scheduled(
    request: Any,
    add_request: Callable[..., Any] = requests.__setitem__,
    add_scheduled_request: Callable[..., Any] = scheduled_requests.add,
    all_reserved_requests: Any = reserved_requests,
    all_active_requests: Any = active_requests,
) -> None:
    if request not in all_reserved_requests and request not in all_active_requests:
        add_request(request.id, request)
        add_scheduled_request(request)


def task_accepted(
    request: Any,
    _all_total_count: Any = None,
    add_request: Callable[..., Any] = requests.__setitem__,
    add_active_request: Callable[..., Any] = active_requests.add,
    add_to_total_count: Callable[..., Any] = total_count.update,
) -> None:
    add_request(request.id, request)
    add_active_request(request)


def task_ready(
    request: Any,
    successful: bool = False,
    remove_request: Callable[..., Any] = requests.pop,
    discard_active_request: Callable[..., Any] = active_requests.discard,
    discard_reserved_request: Callable[..., Any] = reserved_requests.discard,
    discard_scheduled_request: Callable[..., Any] = scheduled_requests.discard,
) -> None:
    if successful:
        successful_requests.add(request.id)
    remove_request(request.id, None)
    discard_active_request(request)
    discard_reserved_request(request)
    discard_scheduled_request(request)


# --- between restarts


class Persistent:
    """What is kept between restarts, for who keeps it elsewhere: `worker.statedb` keeps what `--statedb` names."""

    storage: Any = shelve
    protocol = 4
    compress = staticmethod(zlib.compress)
    decompress = staticmethod(zlib.decompress)
    _is_open = False

    def __init__(self, state: Any, filename: Any, clock: Any = None) -> None:
        self.state = state
        self.filename = filename
        self.clock = clock
        self.merge()

    def open(self) -> Any:
        return self.storage.open(self.filename, protocol=self.protocol, writeback=True)

    def merge(self) -> None:
        self._merge_with(self.db)

    def sync(self) -> None:
        self._sync_with(self.db)
        self.db.sync()

    def close(self) -> None:
        if self._is_open:
            self.db.close()
            self._is_open = False

    def save(self) -> None:
        self.sync()
        self.close()

    def _merge_with(self, d: Any) -> Any:
        self._merge_revoked(d)
        self._merge_clock(d)
        return d

    def _sync_with(self, d: Any) -> Any:
        self._revoked_tasks.purge()
        d.update(
            __proto__=3,
            zrevoked=self.compress(self._dumps(self._revoked_tasks)),
            clock=self.clock.forward() if self.clock else 0,
        )
        return d

    def _merge_clock(self, d: Any) -> None:
        if self.clock:
            d["clock"] = self.clock.adjust(d.get("clock") or 0)

    def _merge_revoked(self, d: Any) -> None:
        from pickle import loads

        saved = None
        if d.get("zrevoked"):
            saved = loads(self.decompress(d["zrevoked"]))  # noqa: S301 - the worker's own file
        elif "revoked" in d:
            saved = d.pop("revoked")
        self.state.merge_revoked(saved)
        self._revoked_tasks.purge()

    def _dumps(self, obj: Any) -> bytes:
        from pickle import dumps

        return dumps(obj, protocol=self.protocol)

    @property
    def _revoked_tasks(self) -> Any:
        return self.state.revoked

    @cached_property
    def db(self) -> Any:
        self._is_open = True
        return self.open()

"""Commands that ask: they change nothing."""
# ruff: noqa: ARG001 - a command is called with the worker, whether it needs it or not

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ...protocol.rules.delivery import Place
from ...protocol.wire import commands as wire
from ...protocol.wire import control
from ..request import Request, info
from .registry import command, listed

if TYPE_CHECKING:
    from ..worker import Worker

log = logging.getLogger("celery.worker.control")

_ETA_PRIORITY = 6
_ITEMS = ("exchange", "routing_key", "rate_limit")
"""What `registered` shows of a task, if nobody says what."""
_RUSAGE = (
    *("utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap"),
    *("inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"),
)


def running(worker: Worker) -> list[Request]:
    return [request for request in worker.consumer.requests.values() if request.begun is not None]


def waiting(worker: Worker) -> list[Request]:
    """Received, not begun, and with no time to wait for."""
    consumer = worker.consumer
    found = [request for place in (Place.READY, Place.SUBMITTED) for request in consumer.at(place)]
    return found + [request for request in consumer.at(Place.ASIDE) if not _has_eta(request)]


def _has_eta(request: Request) -> bool:
    return bool(request.headers.get("eta"))


def shown(worker: Worker, request: Request, *, safe: bool = False) -> dict[str, Any]:
    consumer = worker.consumer
    done = request.number not in consumer.deliveries or consumer.deliveries.settled(request.number)
    return info(request, consumer.reader, worker.hostname, acknowledged=done, safe=safe)


@command
def ping(worker: Worker, **_: Any) -> Any:
    return wire.PONG


@command
def clock(worker: Worker, **_: Any) -> Any:
    return {"clock": worker.owner.clock_value()}


@command
def hello(worker: Worker, from_node: str, revoked: Any = None, **_: Any) -> Any:
    if from_node == worker.hostname:
        return None
    log.info("sync with %s", from_node)
    now = time.time()
    worker.revokes.merge(control.read_revoked(revoked), now)
    return control.hello_reply(control.Hello(worker.revokes.ids(now), worker.owner.clock_forward()))


@command
def active(worker: Worker, safe: Any = False, **_: Any) -> Any:
    return [shown(worker, request, safe=bool(safe)) for request in running(worker)]


@command
def reserved(worker: Worker, **_: Any) -> Any:
    return [shown(worker, request) for request in waiting(worker)]


@command
def scheduled(worker: Worker, **_: Any) -> Any:
    return [
        {"eta": _eta(worker, request), "priority": _ETA_PRIORITY, "request": shown(worker, request)}
        for request in worker.consumer.at(Place.ASIDE)
        if _has_eta(request)
    ]


def _eta(worker: Worker, request: Request) -> str | None:
    eta = request.head(worker.consumer.reader).eta
    return None if eta is None else datetime.fromtimestamp(eta.timestamp(), timezone.utc).isoformat()


@command
def query_task(worker: Worker, ids: Any, **_: Any) -> Any:
    wanted = set(listed(ids))
    found: dict[str, Any] = {}
    if not wanted:
        return found
    waits_for_its_time = {request.number for request in worker.consumer.at(Place.ASIDE) if _has_eta(request)}
    for request in worker.consumer.requests.values():
        if request.id in wanted:
            later = request.number in waits_for_its_time
            state = "active" if request.begun is not None else "scheduled" if later else "reserved"
            found[request.id] = [state, shown(worker, request)]
    return found


@command
def revoked(worker: Worker, **_: Any) -> Any:
    return list(worker.revokes.ids(time.time()))


@command
def registered(worker: Worker, taskinfoitems: Any = None, builtins: Any = False, **_: Any) -> Any:
    """What begins with an underscore is nobody's business, as in stock."""
    items = [item for item in listed(taskinfoitems) or _ITEMS if isinstance(item, str) and not item.startswith("_")]
    tasks = worker.owner.tasks
    names = sorted(name for name in tasks if builtins or not name.startswith("celery."))
    return [wire.registered(name, {item: _text(getattr(tasks[name], item, None)) for item in items}) for name in names]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


@command
def active_queues(worker: Worker) -> Any:
    return [worker.owner.queue_info(name) for name in worker.consumer.queues]


@command
def conf(worker: Worker, with_defaults: Any = False, **_: Any) -> Any:
    return dict(worker.owner.settings(with_defaults=bool(with_defaults)))


@command
def report(worker: Worker) -> Any:
    return wire.ok(worker.owner.report())


@command
def stats(worker: Worker, **_: Any) -> Any:
    consumer = worker.consumer
    told_by_steps: Mapping[str, Any] = getattr(worker.controller, "told_by_steps", dict)()
    own = {
        "total": dict(consumer.done),
        "pid": worker.pid,
        "clock": str(worker.owner.clock_value()),
        "uptime": round(time.time() - worker.started),
        "pool": _pool(worker),
        "broker": dict(worker.broker_info()),
        "prefetch_count": consumer.deliveries.slots,
        "rusage": _rusage(),
    }
    return {**own, **{name: said for name, said in told_by_steps.items() if name not in own}}


def _pool(worker: Worker) -> Mapping[str, Any]:
    told, pool = worker.options.pool, worker.pool
    kind = type(pool)
    members = pool.members()
    done = [member.get("done") or 0 for member in members]
    total = sum(done)
    return {
        "implementation": f"{kind.__module__}:{kind.__qualname__}",
        "max-concurrency": pool.size,
        "processes": [member["pid"] for member in members],
        "max-tasks-per-child": told.max_tasks or "N/A",
        "put-guarded-by-semaphore": False,
        "timeouts": [told.soft_limit or 0, told.hard_limit or 0],
        "writes": {
            "total": total,
            "avg": _share(total / len(done) if done else 0, total),
            "all": ", ".join(_share(each, total) for each in done),
            "raw": ", ".join(map(str, done)),
            "strategy": "fair",
            "inqueues": {"total": len(done), "active": sum(member.get("running") is not None for member in members)},
        },
    }


def _share(part: float, total: int) -> str:
    return f"{part / total if total else 0:.2f}"


def _rusage() -> Mapping[str, Any]:
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    return {name: getattr(used, f"ru_{name}") for name in _RUSAGE}


@command
def memsample(worker: Worker, **_: Any) -> Any:
    return f"{_resident_kib() / 1024:.3f}MB"


_SAMPLES: list[int] = []
_MOST_SAMPLES = 1000


@command
def memdump(worker: Worker, samples: Any = 10, **_: Any) -> Any:
    """Resident memory now and at earlier calls."""
    _SAMPLES.append(_resident_kib())
    del _SAMPLES[:-_MOST_SAMPLES]
    lines = [f"rss: {kib / 1024:.3f}MB" for kib in _SAMPLES[-int(samples or 10) :]]
    return "\n".join(lines)


def _resident_kib() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no path, a kernel's file
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@command
def objgraph(worker: Worker, num: Any = 200, max_depth: Any = 10, type: Any = "Request") -> Any:  # noqa: A002 - Celery's
    try:
        import objgraph as graph  # type: ignore[import-untyped, import-not-found, unused-ignore]  # an optional tool for debugging
    except ImportError:
        return wire.NO_OBJGRAPH
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="cobjg", suffix=".png", delete=False) as file:
        objects = graph.by_type(type)[: int(num)]
        graph.show_backrefs(
            objects, max_depth=int(max_depth), highlight=lambda each: each in objects, filename=file.name
        )
        return {"filename": file.name}

"""Commands that change something."""
# ruff: noqa: ARG001 - Celery's arguments

from __future__ import annotations

import logging
import signal as signals
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...protocol.errors import BadCall
from ...protocol.rules.delivery import Stop
from ...protocol.rules.limits import read_rate
from ...protocol.wire import commands as wire
from ..heartbeat import SOFTWARE
from ..request import read_limit
from .ask import running
from .registry import NO_REPLY, command, listed

if TYPE_CHECKING:
    from ..worker import Worker

log = logging.getLogger("celery.worker.control")

_TERM = "SIGTERM"
_ASKED_FREQUENCY = 5


def _signum(signal: Any) -> int:
    """`9`, `KILL`, `SIGKILL`, `sigkill`. Only what the system can send: it may be sent much later than now."""
    text = str(signal or _TERM).upper()
    if isinstance(signal, int) or text.isdecimal():
        if int(signal) in signals.valid_signals():
            return int(signal)
    elif isinstance(found := getattr(signals, text if text.startswith("SIG") else f"SIG{text}", None), signals.Signals):
        return int(found)
    raise TypeError(f"signal {signal!r} not found.")


# --- revoking


@command
def revoke(worker: Worker, task_id: Any, terminate: Any = False, signal: Any = None, **_: Any) -> Any:
    ids = [str(each) for each in listed(task_id)]
    signum = _signum(signal) if terminate else None  # a signal that there is not must not revoke by halves
    now = time.time()
    begun = {request.id for request in running(worker)}
    worker.owner.revoke_stored([each for each in dict.fromkeys(ids) if each not in begun])
    if not terminate:
        worker.consumer.revoke(ids, {}, now)
        worker.revoked(ids, {}, now)
        log.info("Tasks flagged as revoked: %s", ", ".join(ids))
        return wire.revoked(ids)
    wanted = frozenset(ids)
    ended = list(dict.fromkeys(each.id for each in worker.consumer.requests.values() if each.id in wanted))
    worker.consumer.revoke(ids, {}, now, signum)
    worker.revoked(ids, {}, now)
    if not ended:
        return wire.NONE_TERMINATED
    for each in ended:
        log.info("Terminating %s (%s)", each, signal or _TERM)
    return wire.terminated(ended)


@command
def terminate(worker: Worker, signal: Any, task_id: Any, **_: Any) -> Any:
    return revoke(worker, task_id, terminate=True, signal=signal)


@command
def revoke_by_stamped_headers(
    worker: Worker, headers: Any, terminate: Any = False, signal: Any = None, **_: Any
) -> Any:
    stamps, signum = wire.stamp_headers(headers), _signum(signal)
    now = time.time()
    if not terminate:
        worker.consumer.revoke([], stamps, now)
        worker.revoked([], stamps, now)
        return wire.stamps_revoked(stamps)
    ended: dict[str, set[Any]] = {}
    for request in running(worker):
        borne = request.headers.get("stamps") or {}
        for name, values in stamps.items():
            both = {str(each) for each in listed(values)} & {str(each) for each in listed(borne.get(name))}
            if both:
                ended.setdefault(name, set()).update(both)
    worker.consumer.revoke([], stamps, now, signum)
    worker.revoked([], stamps, now)
    return wire.stamps_terminated(ended) if ended else wire.stamps_not_terminated(stamps)


# --- limits


@command
def rate_limit(worker: Worker, task_name: Any, rate_limit: Any, **_: Any) -> Any:
    try:
        read_rate(rate_limit)
    except BadCall as bad:
        return wire.bad_rate_limit(bad)
    task = worker.owner.tasks.get(task_name)
    if task is None:
        log.error("Rate limit attempt for unknown task %s", task_name)
        return wire.UNKNOWN_TASK
    task.rate_limit = rate_limit
    worker.consumer.changed(task_name, time.time())
    if not rate_limit:
        log.info("Rate limits disabled for tasks of type %s", task_name)
        return wire.RATE_LIMIT_OFF
    log.info("New rate limit for tasks of type %s: %s.", task_name, rate_limit)
    return wire.RATE_LIMIT_SET


@command
def time_limit(worker: Worker, task_name: Any = None, hard: Any = None, soft: Any = None, **_: Any) -> Any:
    task = worker.owner.tasks.get(task_name)
    if task is None:
        log.error("Change time limit attempt for unknown task %s", task_name)
        return wire.UNKNOWN_TASK
    for seconds in (soft, hard):
        if seconds and read_limit(seconds) is None:
            raise ValueError(f"expected a number of seconds, got {seconds!r}")
    task.soft_time_limit, task.time_limit = (read_limit(seconds) if seconds else None for seconds in (soft, hard))
    worker.consumer.changed(task_name, time.time())
    log.info("New time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return wire.TIME_LIMITS_SET


# --- events


@command
def enable_events(worker: Worker) -> Any:
    events = worker.events
    if not events.exists:
        return wire.NO_EVENTS
    if events.on:
        return wire.EVENTS_ENABLED_BEFORE
    events.on = True
    log.info("Events of group {task} enabled by remote.")
    return wire.EVENTS_ENABLED


@command
def disable_events(worker: Worker) -> Any:
    events = worker.events
    if not events.exists:
        return wire.NO_EVENTS
    if not events.on:
        return wire.EVENTS_DISABLED_BEFORE
    events.on = False
    log.info("Events of group {task} disabled by remote.")
    return wire.EVENTS_DISABLED


@command
def heartbeat(worker: Worker) -> Any:
    log.debug("Heartbeat requested by remote.")
    worker.events.worker("worker-heartbeat", {"freq": _ASKED_FREQUENCY, **SOFTWARE})


@command
def election(worker: Worker, id: Any, topic: Any, action: Any = None, **_: Any) -> Any:  # noqa: A002 - Celery's
    if worker.gossip is not None:
        worker.gossip.elect(id, topic, action)


# --- the pool


@command
def pool_grow(worker: Worker, n: Any = 1, **_: Any) -> Any:
    if worker.options.pool.autoscale:
        return wire.no_resize("pool_grow")
    worker.resize(worker.pool.size + int(n))
    return wire.POOL_GROWS


@command
def pool_shrink(worker: Worker, n: Any = 1, **_: Any) -> Any:
    if worker.options.pool.autoscale:
        return wire.no_resize("pool_shrink")
    left = worker.pool.size - int(n)
    if left < 0:
        raise ValueError(f"Can't shrink pool. It is of {worker.pool.size}, and {n} are to go.")
    worker.resize(left)
    return wire.POOL_SHRINKS


@command
def pool_restart(worker: Worker, modules: Any = None, reload: Any = False, reloader: Any = None, **_: Any) -> Any:
    if not worker.options.pool.restarts:
        raise ValueError("Pool restarts not enabled")
    worker.owner.reload(_texts(modules), reload=bool(reload))
    worker.pool.restart()
    return wire.POOL_RESTARTS


def _texts(value: Any) -> Sequence[str]:
    return [str(each) for each in listed(value)]


@command
def autoscale(worker: Worker, max: Any = None, min: Any = None) -> Any:  # noqa: A002 - Celery's
    if not worker.options.pool.autoscale:
        raise ValueError("Autoscale not enabled")
    return wire.autoscaled(*worker.autoscale(max, min))


# --- queues, and the end


@command
def add_consumer(
    worker: Worker, queue: Any, exchange: Any = None, exchange_type: Any = None, routing_key: Any = None, **options: Any
) -> Any:
    told = {"exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
    for name, text in {"queue": queue, **told}.items():
        if not isinstance(text, str) and not (text is None and name in told):
            raise TypeError(f"{name}: expected a text, got {text!r}")
    if not queue:
        raise ValueError("queue: expected the name of a queue")
    worker.consumer.add_queue(queue, time.time(), **told, **options)
    return wire.consumer_added(queue)


@command
def cancel_consumer(worker: Worker, queue: Any, **_: Any) -> Any:
    worker.consumer.drop_queue(queue, time.time())
    return wire.consumer_cancelled(queue)


@command
def shutdown(worker: Worker, msg: Any = "Got shutdown from remote", **_: Any) -> Any:
    log.warning(msg)
    worker.stop(Stop.WARM)
    return NO_REPLY

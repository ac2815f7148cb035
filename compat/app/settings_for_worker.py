"""From the configuration and the command line to the `Options` of a worker."""

from __future__ import annotations

import sys
from typing import Any

from ...protocol.errors import BadCall
from ...worker.options import Options, PoolOptions, Taking, Telling
from ..backends.foreign import codecs
from ..exceptions import ImproperlyConfigured
from .reading import flag, number, whole
from .settings_for_broker import broker_options

_UNKNOWN_TASK = ("fail", "requeue")


def worker_options(conf: Any, **given: Any) -> Options:
    """What a worker is to do. `given` are what its command line or its caller said, by `WorkController`'s names.

    `concurrency`, `pool` (or `pool_cls`), `prefetch_multiplier`, `autoscale`, `task_events`, `statedb`, `time_limit`,
    `soft_time_limit`, `max_tasks_per_child`, `max_memory_per_child`, `disable_rate_limits`, `pool_start_method`,
    `pool_restarts`, `autoscaler_cls`, `health`; None is not said.
    """
    said = {name: value for name, value in given.items() if value is not None}
    return Options(
        broker=broker_options(conf),
        pool=_pool(conf, said),
        taking=_taking(conf, said),
        telling=_telling(conf, said),
        accept=(accept := _accepted(conf)),
        codecs=codecs(accept | {conf.task_serializer}),
        utc=flag(conf, "enable_utc"),
        state_db=said.get("statedb") or said.get("state_db") or conf.worker_state_db or None,
        lasting_revokes=flag(conf, "worker_lasting_revokes"),
        soft_shutdown=number(conf, "worker_soft_shutdown_timeout") or 0.0,
        soft_shutdown_when_idle=flag(conf, "worker_enable_soft_shutdown_on_idle"),
    )


def _pool(conf: Any, said: dict[str, Any]) -> PoolOptions:
    autoscale = _autoscale(said.get("autoscale"))
    return PoolOptions(
        kind=said.get("pool") or said.get("pool_cls") or conf.worker_pool,
        concurrency=max(autoscale[1], 1)
        if autoscale
        else _concurrency(said.get("concurrency", conf.worker_concurrency)),
        start_method=_start_method(conf, said.get("pool_start_method")),
        max_tasks=whole(conf, "worker_max_tasks_per_child", said.get("max_tasks_per_child")) or None,
        max_memory=whole(conf, "worker_max_memory_per_child", said.get("max_memory_per_child")) or None,
        soft_limit=number(conf, "task_soft_time_limit", said.get("soft_time_limit")) or None,
        hard_limit=number(conf, "task_time_limit", said.get("time_limit")) or None,
        alive_timeout=number(conf, "worker_proc_alive_timeout") or 4.0,
        restarts=bool(said.get("pool_restarts", flag(conf, "worker_pool_restarts"))),
        autoscale=autoscale,
        autoscaler=said.get("autoscaler_cls") or conf.worker_autoscaler,
    )


def _taking(conf: Any, said: dict[str, Any]) -> Taking:
    dead = conf.worker_dead_queue
    unlimited = said.get("disable_rate_limits", flag(conf, "worker_disable_rate_limits"))
    return Taking(
        prefetch=whole(conf, "worker_prefetch_multiplier", said.get("prefetch_multiplier")) or 0,
        only_what_runs=flag(conf, "worker_disable_prefetch"),
        eta_limit=whole(conf, "worker_eta_task_limit") or None,
        eta_horizon=number(conf, "worker_eta_horizon"),
        rate_limits=not unlimited,
        common_rate_limits=flag(conf, "worker_common_rate_limits"),
        max_deliveries=whole(conf, "worker_max_deliveries") or None,
        dead_queue=str(dead) if dead else "",
        unknown_task=_one_of("worker_unknown_task", conf.worker_unknown_task, _UNKNOWN_TASK),
        unknown_task_delay=number(conf, "worker_unknown_task_delay") or 0.0,
        unknown_task_retries=whole(conf, "worker_unknown_task_retries") or 0,
        deduplicate=flag(conf, "worker_deduplicate_successful_tasks"),
        cancel_on_connection_loss=flag(conf, "worker_cancel_long_running_tasks_on_connection_loss"),
    )


def _telling(conf: Any, said: dict[str, Any]) -> Telling:
    return Telling(
        events=bool(said.get("task_events", flag(conf, "worker_send_task_events"))),
        event_serializer=conf.event_serializer or "json",
        event_exchange=conf.event_exchange,
        event_queue_prefix=conf.event_queue_prefix,
        event_queue_ttl=number(conf, "event_queue_ttl"),
        event_queue_expires=number(conf, "event_queue_expires"),
        event_queue_exclusive=flag(conf, "event_queue_exclusive"),
        event_queue_durable=flag(conf, "event_queue_durable"),
        control=flag(conf, "worker_enable_remote_control"),
        control_exchange=conf.control_exchange,
        control_queue_ttl=number(conf, "control_queue_ttl"),
        control_queue_expires=number(conf, "control_queue_expires"),
        control_queue_exclusive=flag(conf, "control_queue_exclusive"),
        control_queue_durable=flag(conf, "control_queue_durable"),
        control_serializer=conf.task_serializer,
        health=_health(said.get("health") or conf.worker_health),
    )


def _health(where: Any) -> str | None:
    if not where:
        return None
    from ...worker.pages import address

    try:
        address(where)
    except BadCall as bad:
        raise ImproperlyConfigured(f"worker_health: {bad}") from None
    return str(where)


def _accepted(conf: Any) -> frozenset[str]:
    accept = conf.accept_content
    if isinstance(accept, (str, bytes)) or not hasattr(accept, "__iter__"):
        raise ImproperlyConfigured(f"accept_content is a list of serializers, not {accept!r}")
    return frozenset(accept)


def _start_method(conf: Any, said: Any) -> str:
    """Where nobody says it: `fork`; but on macOS its libraries end a forked process, and Celery spawns there too."""
    name = "worker_pool_start_method"
    if said is None and sys.platform == "darwin" and not conf.value_set_for(name):
        return "spawn"
    return _one_of(name, said or getattr(conf, name), ("fork", "spawn"))


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}.")
    return str(value)


def _concurrency(value: Any) -> int:
    """As many as there are CPUs for us, if it is not said; `auto` minds the quota of a container too."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        from ..utils.sysinfo import cpu_budget

        return max(1, int(cpu_budget().count))
    if not value:
        return _cpus()
    try:
        return max(1, int(value))
    except (TypeError, ValueError):
        return _cpus()  # as in Celery; that the value says nothing is named when settings are checked


def _cpus() -> int:
    import os

    return os.cpu_count() or 2


def _autoscale(value: Any) -> tuple[int, int] | None:
    """`10,3` or a pair: the most, and the fewest."""
    if not value:
        return None
    pair = value.split(",") if isinstance(value, str) else list(value) if hasattr(value, "__iter__") else [value]
    try:
        most, *rest = (int(each) for each in pair)
    except (TypeError, ValueError):
        most, rest = 0, [0, 0]
    fewest = rest[0] if rest else 0
    if len(rest) > 1 or most < 1 or fewest < 0:
        raise ImproperlyConfigured(f"autoscale is the most and the fewest processes, as 10,3; not {value!r}")
    return max(most, fewest), min(most, fewest)

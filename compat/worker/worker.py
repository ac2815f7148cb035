"""`WorkController`: a worker with Celery's attributes and hooks, over `worker.worker.Worker`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from ...protocol.rules.delivery import Stop
from ...worker import pools
from ...worker.kept import GivenUp
from ...worker.worker import Worker
from .. import signals
from ..app import trace
from ..app.checking import announce
from ..app.settings_for_worker import worker_options
from ..exceptions import ImproperlyConfigured
from ..utils.log import mlevel
from ..utils.nodenames import default_nodename, worker_direct
from ..utils.text import str_to_list
from . import state
from .control import own_commands
from .serving import Serving

__all__ = ("WorkController", "default_nodename")

logger = logging.getLogger("celery.worker")

EX_OK, EX_FAILURE = 0, 1

SELECT_UNKNOWN_QUEUE = """
Trying to select queue subset of {0!r}, but queue {1} isn't
defined in the `task_queues` setting.

If you want to automatically declare unknown queues you can
enable the `task_create_missing_queues` setting.
"""

DESELECT_UNKNOWN_QUEUE = """
Trying to deselect queue subset of {0!r}, but queue {1} isn't
defined in the `task_queues` setting.
"""

ERR_B_GREEN = """\
-B option doesn't work with eventlet/gevent pools: \
use standalone beat instead.\
"""


class WorkController:
    """A worker that is no program: see `celery.apps.worker`."""

    app: Any = None
    pidlock: Any = None
    pool: Any = None
    exitcode: Any = None
    state: Any = state

    def __init__(self, app: Any = None, hostname: Any = None, **kwargs: Any) -> None:
        self.app = app or self.app
        self.hostname = default_nodename(hostname)
        self.startup_time = datetime.now(timezone.utc)
        self.app.loader.init_worker()
        self.on_before_init(**kwargs)
        self.setup_defaults(**kwargs)
        self.on_after_init(**kwargs)
        self.setup_instance(**self.prepare_args(**kwargs))

    def setup_defaults(
        self,
        concurrency: Any = None,
        loglevel: Any = "WARN",
        logfile: Any = None,
        task_events: Any = None,
        pool: Any = None,
        consumer_cls: Any = None,
        timer_cls: Any = None,
        timer_precision: Any = None,
        autoscaler_cls: Any = None,
        pool_putlocks: Any = None,
        pool_restarts: Any = None,
        optimization: Any = None,
        O: Any = None,  # noqa: E741 - Celery's name
        statedb: Any = None,
        time_limit: Any = None,
        soft_time_limit: Any = None,
        scheduler: Any = None,
        pool_cls: Any = None,
        state_db: Any = None,
        task_time_limit: Any = None,
        task_soft_time_limit: Any = None,
        scheduler_cls: Any = None,
        schedule_filename: Any = None,
        max_tasks_per_child: Any = None,
        prefetch_multiplier: Any = None,
        disable_rate_limits: Any = None,
        worker_lost_wait: Any = None,
        max_memory_per_child: Any = None,
        **_kw: Any,
    ) -> None:
        self.loglevel = loglevel
        self.logfile = logfile
        self.task_events = self.app.either("worker_send_task_events", task_events)
        self.pool_cls = self.app.either("worker_pool", pool, pool_cls)
        self._given = {
            "concurrency": concurrency,
            "pool": pool or pool_cls,
            "prefetch_multiplier": prefetch_multiplier,
            "autoscale": _kw.get("autoscale"),
            "task_events": task_events,
            "statedb": statedb or state_db,
            "time_limit": time_limit or task_time_limit,
            "soft_time_limit": soft_time_limit or task_soft_time_limit,
            "max_tasks_per_child": max_tasks_per_child,
            "max_memory_per_child": max_memory_per_child,
            "disable_rate_limits": disable_rate_limits,
            "pool_start_method": _kw.get("pool_start_method"),
            "pool_restarts": pool_restarts,
            "worker_lost_wait": worker_lost_wait,
            "autoscaler_cls": autoscaler_cls,
        }
        self._without = [name for name in ("gossip", "mingle", "heartbeat") if _kw.get(f"without_{name}")]
        self._heartbeat = _kw.get("heartbeat_interval")
        self.schedule_filename = self.app.either("beat_schedule_filename", schedule_filename)
        self.scheduler = self.app.either("beat_scheduler", scheduler, scheduler_cls)
        if _kw.get("disable_prefetch"):
            self.app.conf.worker_disable_prefetch = True

    def setup_instance(
        self,
        queues: Any = None,
        ready_callback: Callable[[Any], Any] | None = None,
        pidfile: Any = None,
        include: Any = None,
        use_eventloop: Any = None,
        exclude_queues: Any = None,
        **kwargs: Any,
    ) -> None:
        self.pidfile = pidfile
        self.setup_queues(queues, exclude_queues)
        self.setup_includes(str_to_list(include))
        self.loglevel = mlevel(self.loglevel)
        self.ready_callback = ready_callback or self.on_consumer_ready
        self.options = kwargs
        signals.worker_init.send(sender=self)
        options = self._options = worker_options(self.app.conf, **self._given)
        self.concurrency = options.pool.concurrency
        self.max_concurrency, self.min_concurrency = options.pool.autoscale or (self.concurrency, self.concurrency)
        self.autoscale = options.pool.autoscale
        self.prefetch_multiplier = options.taking.prefetch
        self.max_tasks_per_child = options.pool.max_tasks
        self.max_memory_per_child = options.pool.max_memory
        self.time_limit, self.soft_time_limit = options.pool.hard_limit, options.pool.soft_limit
        self.statedb = options.state_db
        self.on_init_blueprint()
        announce(self.app.conf, logger.warning)
        self.app.conf.maybe_warn_deprecated_settings()
        self.beat = self._embedded_beat() if kwargs.get("beat") else None
        program = trace.program(self.app, self.hostname)
        self.pool = pools.make(program, options.pool)
        self._serving = Serving(self.app, program, self.hostname, self)
        self.worker: Worker | None = None

    def _embedded_beat(self) -> Any:
        from ..beat import EmbeddedService

        pool = self.pool_cls if isinstance(self.pool_cls, str) else self.pool_cls.__module__
        if pool.endswith(("gevent", "eventlet")):
            raise ImproperlyConfigured(ERR_B_GREEN)
        return EmbeddedService(self.app, schedule_filename=self.schedule_filename, scheduler_cls=self.scheduler)

    def setup_queues(self, include: Any, exclude: Any = None) -> None:
        include, exclude = str_to_list(include), str_to_list(exclude)
        queues = self.app.amqp.queues
        try:
            queues.select(include)
        except KeyError as exc:
            raise ImproperlyConfigured(SELECT_UNKNOWN_QUEUE.strip().format(include, exc)) from None
        try:
            queues.deselect(exclude)
        except KeyError as exc:
            raise ImproperlyConfigured(DESELECT_UNKNOWN_QUEUE.strip().format(exclude, exc)) from None
        if self.app.conf.worker_direct:
            queues.select_add(worker_direct(self.hostname))

    def setup_includes(self, includes: Any) -> None:
        before = tuple(self.app.conf.include)
        if includes:
            before += tuple(includes)
            for module in includes:
                self.app.loader.import_task_module(module)
        self.include = includes
        modules = {task.__class__.__module__ for task in self.app.tasks.values()}
        self.app.conf.include = tuple(set(before) | modules)

    # --- hooks

    def prepare_args(self, **kwargs: Any) -> dict[str, Any]:
        return kwargs

    def on_before_init(self, **kwargs: Any) -> None: ...

    def on_after_init(self, **kwargs: Any) -> None: ...

    def on_init_blueprint(self) -> None: ...

    def on_start(self) -> None: ...

    def on_consumer_ready(self, consumer: Any) -> None: ...

    def on_close(self) -> None:
        self.app.loader.shutdown_worker()

    def on_stopped(self) -> None: ...

    # --- life

    def start(self) -> None:
        """Work, until somebody stops it."""
        try:
            self.on_start()
            worker = self.worker = Worker(
                self._serving,
                self._options,
                self.pool,
                self.hostname,
                without=self._without,
                heartbeat=self._heartbeat,
                commands=own_commands(self.app, self.hostname, lambda: self.consumer),
                ready=lambda: self.ready_callback(self.consumer),
            )
            worker.consumer.controller = self
            worker.consumer.app = self.app
            if self.beat is not None:
                self.beat.start()  # before there are connections and threads: it forks
            worker.run()
        except GivenUp as exc:
            logger.critical("%s. Shutting down...", exc)
            self.exitcode = EX_FAILURE
        except Exception as exc:
            logger.critical("Unrecoverable error: %r", exc, exc_info=True)
            self.exitcode = EX_FAILURE
        finally:
            if self.beat is not None:
                self.beat.stop()
            self.on_close()
            self.on_stopped()
            self._send_worker_shutdown()

    @property
    def consumer(self) -> Any:
        return None if self.worker is None else self.worker.consumer

    def stop(self, in_sighandler: bool = False, exitcode: Any = None) -> None:
        """A warm shutdown."""
        self._end(Stop.WARM, exitcode)

    def terminate(self, in_sighandler: bool = False) -> None:
        """A cold shutdown; a soft one, where that is configured."""
        self._end(Stop.COLD, EX_FAILURE)

    def _end(self, how: Stop, exitcode: Any) -> None:
        if exitcode is not None:
            self.exitcode = exitcode
        if self.worker is not None:
            self.worker.stop(how)

    def _send_worker_shutdown(self) -> None:
        signals.worker_shutdown.send(sender=self)

    # --- what people ask

    def info(self) -> dict[str, Any]:
        uptime = datetime.now(timezone.utc) - self.startup_time
        return {
            "total": dict(self.worker.consumer.done) if self.worker is not None else {},
            "pid": os.getpid(),
            "clock": str(self.app.clock),
            "uptime": round(uptime.total_seconds()),
        }

    def stats(self) -> dict[str, Any]:
        from ...worker.control import ask

        return dict(ask.stats(self.worker)) if self.worker is not None else self.info()

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({'RUN' if self.worker is not None else 'INIT'})>"

    def __str__(self) -> str:
        return str(self.hostname)

"""`WorkController`: a worker with Celery's attributes and hooks, over `worker.worker.Worker`."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.rules.delivery import Stop
from ...protocol.values import replace
from ...worker import brokers, pools, statedb
from ...worker.insisting import Insistence
from ...worker.kept import GivenUp, held_out
from ...worker.worker import Worker
from .. import bootsteps, signals
from .. import concurrency as _concurrency
from ..app import trace
from ..app.checking import announce
from ..app.settings_for_worker import worker_options
from ..backends.stored import Stored
from ..exceptions import ImproperlyConfigured, WorkerTerminate
from ..platforms import create_pidlock
from ..utils.log import mlevel
from ..utils.nodenames import default_nodename, worker_direct
from ..utils.sysinfo import cpu_budget, is_auto_concurrency
from ..utils.text import str_to_list
from . import state
from .control import own_commands
from .serving import Serving

__all__ = ("WorkController", "default_nodename")

logger = logging.getLogger("celery.worker")

EX_OK, EX_FAILURE = 0, 1

SHUTDOWN_SOCKET_TIMEOUT = 5.0  # seconds; for those who bound a connection themselves when they shut down

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
    blueprint: Any = None
    semaphore: Any = None
    pool: Any = None
    timer: Any = None
    hub: Any = None
    consumer: Any = None
    worker: Any = None
    """`worker.worker.Worker`, once it is made."""
    exitcode: Any = None
    state: Any = state
    use_eventloop = False
    thread: Any = None
    is_stopped = False
    _native: Any = None

    class Blueprint(bootsteps.Blueprint):
        """The steps of a worker."""

        name = "Worker"
        default_steps = frozenset(
            {
                "celery.worker.components:Hub",
                "celery.worker.components:Pool",
                "celery.worker.components:Beat",
                "celery.worker.components:Timer",
                "celery.worker.components:StateDB",
                "celery.worker.components:Consumer",
                "celery.worker.autoscale:WorkerComponent",
            }
        )

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
        pool_start_method: Any = None,
        **_kw: Any,
    ) -> None:
        self.loglevel = loglevel
        self.logfile = logfile
        self.task_events = self.app.either("worker_send_task_events", task_events)
        self.pool_cls = self.app.either("worker_pool", pool, pool_cls)
        self.concurrency = self.app.either("worker_concurrency", concurrency)
        self.consumer_cls = self.app.either("worker_consumer", consumer_cls)
        self.timer_cls = self.app.either("worker_timer", timer_cls)
        self.timer_precision = self.app.either("worker_timer_precision", timer_precision)
        self.optimization = optimization or O
        self.autoscaler_cls = self.app.either("worker_autoscaler", autoscaler_cls)
        self.pool_putlocks = self.app.either("worker_pool_putlocks", pool_putlocks)
        self.pool_restarts = self.app.either("worker_pool_restarts", pool_restarts)
        self.schedule_filename = self.app.either("beat_schedule_filename", schedule_filename)
        self.scheduler = self.app.either("beat_scheduler", scheduler, scheduler_cls)
        self.disable_rate_limits = self.app.either("worker_disable_rate_limits", disable_rate_limits)
        self.worker_lost_wait = self.app.either("worker_lost_wait", worker_lost_wait)
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
            "pool_start_method": pool_start_method,
            "pool_restarts": pool_restarts,
            "worker_lost_wait": worker_lost_wait,
            "autoscaler_cls": autoscaler_cls,
            "health": _kw.get("health"),
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
        bounds: tuple[int, int] = options.pool.autoscale or (self.concurrency, self.concurrency)
        self.max_concurrency, self.min_concurrency = bounds
        self.pool_start_method = options.pool.start_method
        self.autoscale = options.pool.autoscale
        self.prefetch_multiplier = options.taking.prefetch
        self.max_tasks_per_child = options.pool.max_tasks
        self.max_memory_per_child = options.pool.max_memory
        self.time_limit, self.soft_time_limit = options.pool.hard_limit, options.pool.soft_limit
        self.statedb = options.state_db
        for url in options.broker.urls:
            brokers.check(url)
        statedb.try_out(self.statedb)
        self._find_pool()
        self.steps: list[Any] = []
        self.on_init_blueprint()
        announce(self.app.conf, logger.warning)
        self._say_concurrency()
        self.app.conf.maybe_warn_deprecated_settings()
        told = options.broker
        self._insistence = Insistence(held_out(told.max_retries) if told.retry else 0.0)
        self._program = trace.program(self.app, self.hostname, insistence=self._insistence, **self._around())
        self._serving = Serving(self.app, self._program, self.hostname, self)
        self.blueprint = self.Blueprint(
            steps=self.app.steps["worker"],
            on_start=self.on_start,
            on_close=self.on_close,
            on_stopped=self.on_stopped,
        )
        self.blueprint.apply(self, **kwargs)

    def _say_concurrency(self) -> None:
        said = self._given["concurrency"] or self.app.conf.worker_concurrency
        if is_auto_concurrency(said):
            budget, kind = cpu_budget(), self._options.pool.kind
            quota = "no cgroup cpu quota found" if budget.quota is None else f"cgroup cpu quota={budget.quota:.2f}"
            logger.info(
                "worker_concurrency='auto' resolved to %d (pool=%s, %s, available cpus=%d).",
                self.concurrency,
                kind if isinstance(kind, str) else kind.__qualname__,
                quota,
                budget.available,
            )

    def _around(self) -> dict[str, Any]:
        """What is done in a process of the pool before its first task, and after its last."""
        from ..concurrency import prefork, solo

        kind = getattr(self.pool_cls, "kind", None)
        if kind == prefork.TaskPool.kind:
            begin = partial(prefork.process_initializer, self.app, self.hostname, method=self.pool_start_method)
            return {"begin": begin, "end": partial(prefork.destroy_this, self.hostname)}
        if kind == solo.TaskPool.kind:
            return {"begin": partial(solo.process_initializer, self.hostname)}
        return {}

    # --- what the steps make

    def _find_pool(self) -> None:
        """Ours, or somebody's: by Celery's contract (`BasePool`), or by the worker's own (`worker.pools.base`)."""
        from ..concurrency import native
        from ..concurrency.base import BasePool

        kind = self._options.pool.kind
        found = self.pool_cls = kind if not isinstance(kind, str) else _find(kind)
        if not isinstance(found, type) or not issubclass(found, BasePool):
            self.pool_cls = native.TaskPool
        elif "kind" not in vars(found) and issubclass(found, native.TaskPool) and found.kind not in _FREE:
            raise ImproperlyConfigured(
                f"{found.__module__}.{found.__qualname__} extends Celery's {found.kind} pool, of which celeriac has "
                f"only the name. Extend celery.concurrency.base:BasePool, or use the pool {found.kind!r} itself."
            )

    def make_pool(self) -> Any:
        """`worker.pool`. The worker's own is made with it."""
        from ..concurrency import native
        from ..concurrency.adapted import Adapted

        cls, told = self.pool_cls, self._options.pool
        pool = cls(
            self.min_concurrency if self.autoscale else self.concurrency,
            initargs=(self.app, self.hostname),
            maxtasksperchild=self.max_tasks_per_child,
            max_memory_per_child=self.max_memory_per_child,
            timeout=self.time_limit,
            soft_timeout=self.soft_time_limit,
            putlocks=False,
            lost_worker_timeout=self.worker_lost_wait,
            threads=True,
            max_restarts=None,
            allow_restart=self.pool_restarts,
            forking_enable=told.start_method == "fork",
            semaphore=None,
            sched_strategy=self.optimization,
            app=self.app,
        )
        if issubclass(cls, native.TaskPool) and "kind" in vars(cls):
            kind = cls.kind if cls is not native.TaskPool else told.kind
            try:
                self._native = pools.make(self._program, replace(told, kind=kind))
            except BadCall as bad:
                raise ImproperlyConfigured(str(bad)) from bad
            if hasattr(self._native, "before_child"):
                self._native.before_child = partial(signals.worker_before_create_process.send, sender=pool)
        else:
            self._native = Adapted(pool, self._program)
        return pool

    def pool_keeper(self) -> Any:
        """What the step of the pool starts and stops."""
        return _PoolKeeper(self)

    def make_core(self) -> None:
        """The worker itself, around what the steps have made."""
        if isinstance(self.app.backend, Stored):
            self.app.backend.load_ahead()  # once, before children are forked
        self.worker = Worker(
            self._serving,
            self._options,
            self._native,
            self.hostname,
            without=self._without,
            heartbeat=self._heartbeat,
            commands=own_commands(self.app, self.hostname, lambda: self.consumer),
            ready=self._ready,
            up=self.consumer.up,
            down=self.consumer.down,
            chores=self.consumer.chores,
            insistence=self._insistence,
        )
        self.worker.controller = self
        if getattr(self._native, "pool", None) is not self.pool:
            self.pool.bind(self.worker)
        strategies = self.consumer.strategies
        if hasattr(strategies, "consumer"):
            strategies.consumer = self.consumer
        state.bind(self.worker.consumer)

    def _ready(self) -> None:
        if isinstance(self.app.backend, Stored):
            self.app.backend.await_strangers()
        self.consumer.on_ready()

    def wake(self) -> None:
        """Something is to be done between two turns."""
        if self.worker is not None:
            self.worker.loop.bell.ring()

    def process_task(self, req: Any) -> None:
        """Have the pool run a request that is not the worker's own."""
        req.execute_using_pool(self.pool)

    _process_task = process_task

    @property
    def stopping(self) -> bool:
        return self.worker is not None and bool(self.worker.stopping)

    def setup_queues(self, include: Any, exclude: Any = None) -> None:
        include, exclude = str_to_list(include), str_to_list(exclude)
        amqp = self.app.amqp
        try:
            amqp.select(include)
        except KeyError as exc:
            raise ImproperlyConfigured(SELECT_UNKNOWN_QUEUE.strip().format(include, exc)) from None
        try:
            amqp.deselect(exclude)
        except KeyError as exc:
            raise ImproperlyConfigured(DESELECT_UNKNOWN_QUEUE.strip().format(exclude, exc)) from None
        if self.app.conf.worker_direct:
            amqp.queues.select_add(worker_direct(self.hostname))

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

    def on_start(self) -> None:
        if self.pidfile:
            self.pidlock = create_pidlock(self.pidfile)

    def on_consumer_ready(self, consumer: Any) -> None: ...

    def on_close(self) -> None:
        self.app.loader.shutdown_worker()

    def on_stopped(self) -> None:
        self.is_stopped = True
        self.consumer.shutdown()
        if self.pidlock:
            self.pidlock.release()

    # --- life

    def start(self) -> None:
        """Work, until somebody stops it."""
        self.thread = threading.get_ident()
        try:
            self.blueprint.start(self)
        except GivenUp as exc:
            logger.critical("%s. Shutting down...", exc)
            self.exitcode = EX_FAILURE
        except WorkerTerminate:
            self._end(Stop.COLD, None)
        except SystemExit as exc:
            self.exitcode = exc.code
        except KeyboardInterrupt:
            self.exitcode = EX_FAILURE
        except Exception as exc:
            logger.critical("Unrecoverable error: %r", exc, exc_info=True)
            self.exitcode = EX_FAILURE
        finally:
            self._leave()

    def _leave(self) -> None:
        """What was started is stopped, in its order; the worker's own ends with the pool's step."""
        cold = self.worker is not None and self.worker.stopping is Stop.COLD
        try:
            self.blueprint.stop(self, terminate=cold)
        finally:
            if self.worker is not None:
                self.worker.finish()
            self._send_worker_shutdown()

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
            "total": state.total_count,
            "pid": os.getpid(),
            "clock": str(self.app.clock),
            "uptime": round(uptime.total_seconds()),
        }

    def rusage(self) -> dict[str, Any]:
        from ...worker.control import ask

        return dict(ask._rusage())

    def stats(self) -> dict[str, Any]:
        return {**self.info(), **self.told_by_steps(), "rusage": self.rusage()}

    def told_by_steps(self) -> dict[str, Any]:
        """What the steps of this worker, users' own among them, have to say of themselves."""
        return {**self.blueprint.info(self), **self.consumer.blueprint.info(self.consumer)}

    def reload(self, modules: Any = None, reload: bool = False, reloader: Any = None) -> None:
        """Import these again, and start new processes."""
        self._serving.reload(list(modules or ()), reload=reload)
        self.consumer.strategies.clear()
        self.consumer.update_strategies()
        self.consumer.reset_rate_limits()
        with suppress(NotImplementedError):
            self.pool.restart()

    def register_with_event_loop(self, hub: Any) -> None:
        """There is no event loop of kombu's."""

    def signal_consumer_close(self) -> None:
        """Take nothing more."""
        if self.worker is not None:
            self.worker.stop(Stop.WARM)

    def wait_for_soft_shutdown(self) -> None:
        """The worker itself lets a soft shutdown have its time."""

    def should_use_eventloop(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.blueprint.human_state() if self.blueprint else 'INIT'})>"

    def __str__(self) -> str:
        return str(self.hostname)


_FREE = ("solo", "threads")
"""Pools that one may extend."""


def _find(kind: str) -> Any:
    """The class that this names; None where it is for `worker.pools` to say."""
    if kind not in _concurrency.ALIASES and "." not in kind.replace(":", "."):
        return None
    return _concurrency.get_implementation(kind)


class _PoolKeeper:
    """Starts the pool, and with it what is begun before there are connections; waits for it when it is stopped."""

    def __init__(self, worker: WorkController) -> None:
        self._worker = worker

    def start(self) -> None:
        self._worker.worker.begin()
        self._tell("begun")

    def stop(self) -> None:
        self._tell("ending")
        self._worker.worker.finish()
        self._tell("ended")

    terminate = stop

    def _tell(self, what: str) -> None:
        """Pools that have something to say of it."""
        getattr(self._worker.pool, what, lambda: None)()


def __getattr__(name: str) -> Any:
    if name == "cpu_count":
        return os.cpu_count
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The worker's bootsteps under Celery's names: what packages require, and where theirs stand among them.

Law: the worker itself is `worker.worker`; a step here makes the attribute that Celery's makes, and starts and stops
that part of the worker which has its place in the order: the pool before everything that requires it, the consumer
last.
"""

from __future__ import annotations

import logging
from typing import Any

from .. import bootsteps
from .._state import _set_task_join_will_block
from ..exceptions import ImproperlyConfigured

__all__ = ("Beat", "Consumer", "Hub", "Pool", "StateDB", "Timer")

logger = logging.getLogger("celery.worker")

_LOOK_AT_BEAT = 5.0  # seconds

ERR_B_GREEN = "-B option doesn't work with eventlet/gevent pools: use standalone beat instead."


class Timer(bootsteps.Step):
    """`worker.timer`: its entries are called by the worker's own thread, between two turns."""

    def create(self, w: Any) -> None:
        from .timing import Timer as Turning

        w.timer = Turning(w.wake, on_error=self.on_timer_error)

    def on_timer_error(self, exc: BaseException) -> None:
        logger.error("Timer error: %r", exc, exc_info=exc)

    def on_timer_tick(self, delay: float) -> None:
        logger.debug("Timer wake-up! Next ETA %s secs.", delay)


class Hub(bootsteps.StartStopStep):
    """There is no event loop of kombu's: `worker.hub` is None, as where Celery has none."""

    requires: Any = (Timer,)

    def __init__(self, w: Any, **kwargs: Any) -> None:
        w.hub = None
        super().__init__(w, **kwargs)

    def include_if(self, w: Any) -> bool:
        return False

    def create(self, w: Any) -> Any: ...

    def start(self, w: Any) -> None: ...

    def stop(self, w: Any) -> None: ...

    def terminate(self, w: Any) -> None: ...


class Pool(bootsteps.StartStopStep):
    """`worker.pool`."""

    requires: Any = (Hub,)

    def __init__(self, w: Any, autoscale: Any = None, **kwargs: Any) -> None:
        w.pool = None
        super().__init__(w, **kwargs)

    def close(self, w: Any) -> None:
        """Nothing more is begun, once the worker has been told to stop."""

    def terminate(self, w: Any) -> None:
        if w.pool:
            w.pool.terminate()

    def create(self, w: Any) -> Any:
        pool = w.pool = w.make_pool()
        _set_task_join_will_block(pool.task_join_will_block)
        return w.pool_keeper()

    def register_with_event_loop(self, w: Any, hub: Any) -> None:
        """There is no event loop of kombu's."""

    def info(self, w: Any) -> dict[str, Any]:
        return {"pool": w.pool.info if w.pool else "N/A"}


class Beat(bootsteps.StartStopStep):
    """`-B`: beat beside the worker."""

    label = "Beat"
    conditional = True
    _watch: Any = None

    def __init__(self, w: Any, beat: Any = False, **kwargs: Any) -> None:
        self.enabled = beat
        w.beat = None
        super().__init__(w, beat=beat, **kwargs)

    def create(self, w: Any) -> Any:
        from ..beat import EmbeddedService
        from ..beat_check import check

        if getattr(w.pool, "is_green", False):
            raise ImproperlyConfigured(ERR_B_GREEN)
        check(w.app, w.scheduler, w.schedule_filename)
        w.beat = EmbeddedService(w.app, schedule_filename=w.schedule_filename, scheduler_cls=w.scheduler)
        return w.beat

    def start(self, w: Any) -> None:
        super().start(w)
        self._watch = w.timer.call_repeatedly(_LOOK_AT_BEAT, self._look, (w,))

    def stop(self, w: Any) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().stop(w)

    def _look(self, w: Any) -> None:
        """Beat may end while the worker goes on: nobody would see that tasks are not sent any more."""
        if w.stopping or w.beat.is_alive():
            return
        self._watch.cancel()
        code = getattr(w.beat, "exitcode", None)
        told = "" if code is None else f" with exit code {code}"
        text = "The beat in this worker has ended%s: nothing is sent by the clock any more. Restart the worker"
        logger.critical(text, told)


class StateDB(bootsteps.Step):
    """What outlives the worker is kept by `worker.statedb`; there is nothing to do here."""

    def __init__(self, w: Any, **kwargs: Any) -> None:
        self.enabled = w.statedb
        w._persistence = None
        super().__init__(w, **kwargs)

    def create(self, w: Any) -> None: ...


class Consumer(bootsteps.StartStopStep):
    """`worker.consumer`, started last: it works until it is stopped."""

    last = True

    def create(self, w: Any) -> Any:
        most = max(w.max_concurrency or 0, 1) if w.max_concurrency else w.concurrency
        w.consumer = self.instantiate(
            w.consumer_cls,
            w.process_task,
            hostname=w.hostname,
            task_events=w.task_events,
            init_callback=w.ready_callback,
            initial_prefetch_count=most * w.prefetch_multiplier,
            pool=w.pool,
            timer=w.timer,
            app=w.app,
            controller=w,
            hub=w.hub,
            worker_options=w.options,
            disable_rate_limits=w.disable_rate_limits,
            prefetch_multiplier=w.prefetch_multiplier,
        )
        w.make_core()
        return w.consumer

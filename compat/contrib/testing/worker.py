"""A worker in a thread of the test, known to be up when the test begins.

What the children of a prefork pool log comes to the handlers of the test's process, so that `caplog` sees it.
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ... import worker
from ...result import allow_join_result
from ...utils.dispatch import Signal
from ...utils.nodenames import anon_nodename

WORKER_LOGLEVEL = os.environ.get("WORKER_LOGLEVEL", "error")

_LOOK = 0.5

test_worker_starting = Signal(name="test_worker_starting", providing_args={})
test_worker_started = Signal(name="test_worker_started", providing_args={"worker", "consumer"})
test_worker_stopped = Signal(name="test_worker_stopped", providing_args={"worker"})


class TestWorkController(worker.WorkController):  # type: ignore[misc,unused-ignore] # bootsteps make it dynamic
    """A worker that one can wait for."""

    __test__ = False

    logger_queue: Any = None

    class QueueHandler(logging.handlers.QueueHandler):
        """Sends the log lines of children to the test's process."""

        def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
            record.from_queue = True
            prepared: logging.LogRecord = super().prepare(record)  # what is written here must be readable there
            return prepared

        def enqueue(self, record: logging.LogRecord) -> None:
            queue: Any = self.queue
            queue.put(record)

        def handleError(self, record: logging.LogRecord) -> None:
            if logging.raiseExceptions:
                raise  # noqa: PLE0704 - logging calls it while it handles the error

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._on_started = threading.Event()
        super().__init__(*args, **kwargs)
        pool = self.pool_cls if isinstance(self.pool_cls, str) else self.pool_cls.__module__
        if pool.rpartition(".")[2] == "prefork":
            self.logger_queue = multiprocessing.get_context("fork").SimpleQueue()
            self.pid = os.getpid()

    def start(self) -> Any:
        """Runs it; while it runs, its children's log lines are heard."""
        if self.logger_queue is None:
            return super().start()
        handler = self.QueueHandler(self.logger_queue)
        handler.addFilter(lambda record: record.process != self.pid and not hasattr(record, "from_queue"))
        root = logging.getLogger()
        root.addHandler(handler)
        listener = threading.Thread(target=self._hear, name="logs-of-children", daemon=True)
        listener.start()
        try:
            return super().start()
        finally:
            root.removeHandler(handler)
            self.logger_queue.put(None)
            listener.join()
            self.logger_queue.close()

    def _hear(self) -> None:
        """Hands each record to whoever listens for its logger here."""
        for record in iter(self.logger_queue.get, None):
            logging.getLogger().handle(record)

    def on_consumer_ready(self, consumer: Any) -> None:
        """What the worker calls when it takes messages."""
        self._on_started.set()
        test_worker_started.send(sender=self.app, worker=self, consumer=consumer)

    def ensure_started(self) -> None:
        """Waits until it takes messages; it must run in another thread."""
        self._on_started.wait()


@contextmanager
def start_worker(
    app: Any,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: Any = WORKER_LOGLEVEL,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[Any]:
    """A worker that runs while this context lasts."""
    test_worker_starting.send(sender=app)
    started = None
    try:
        with _start_worker_thread(
            app,
            concurrency=concurrency,
            pool=pool,
            loglevel=loglevel,
            logfile=logfile,
            perform_ping_check=perform_ping_check,
            shutdown_timeout=shutdown_timeout,
            **kwargs,
        ) as started:
            if perform_ping_check:
                from .tasks import ping

                with allow_join_result():
                    answer = ping.delay().get(timeout=ping_task_timeout)
                if answer != "pong":
                    raise AssertionError(f"the worker answered {answer!r} to a ping")
            yield started
    finally:
        test_worker_stopped.send(sender=app, worker=started)


@contextmanager
def _start_worker_thread(
    app: Any,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: Any = WORKER_LOGLEVEL,
    logfile: str | None = None,
    WorkController: Any = TestWorkController,
    perform_ping_check: bool = True,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[Any]:
    from ..._state import _set_task_join_will_block
    from ...worker import state

    setup_app_for_worker(app, loglevel, logfile)
    if perform_ping_check and "celery.ping" not in app.tasks:
        raise AssertionError("the app has no task celery.ping: import celery.contrib.testing.tasks")
    controller = WorkController(
        app=app,
        concurrency=concurrency,
        hostname=kwargs.pop("hostname", anon_nodename()),
        pool=pool,
        loglevel=loglevel,
        logfile=logfile,
        ready_callback=None,
        without_heartbeat=kwargs.pop("without_heartbeat", True),
        without_mingle=True,
        without_gossip=True,
        **kwargs,
    )
    thread = threading.Thread(target=controller.start, daemon=True)
    thread.start()
    started = getattr(controller, "_on_started", None)
    while started is not None and not started.wait(_LOOK):
        if not thread.is_alive():
            raise RuntimeError("the worker did not start: its log says why")
    controller.ensure_started()
    _set_task_join_will_block(False)
    try:
        yield controller
    finally:
        state.should_terminate = 0
        thread.join(shutdown_timeout)
        if thread.is_alive():
            raise RuntimeError(
                "Worker thread failed to exit within the allocated timeout. Consider raising `shutdown_timeout` "
                "if your tasks take longer to execute."
            )
        state.should_terminate = None


def setup_app_for_worker(app: Any, loglevel: Any, logfile: str | None) -> None:
    """What an app needs before a worker of it runs in this process."""
    app.finalize()
    app.set_current()
    app.set_default()
    type(app.log)._setup = False  # logging is set up once a process; a test has many workers
    app.log.setup(loglevel=loglevel, logfile=logfile)

"""`Consumer`: what packages reach of the part of a worker that takes messages.

Law: it takes none itself. `worker.consumer` does; here are its parts by Celery's names, and the bootsteps of the app.
They are started with each connection before messages are taken from it, and stopped when it is lost.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from ... import bootsteps, signals
from ...exceptions import InvalidTaskError
from ...utils.nodenames import gethostname
from ...utils.threads import bound_open_broker_sockets
from .. import loops, state
from ..receiving import Handler, Strategies
from .parts import Eventer, Prefetch, Tasked

__all__ = ("Consumer", "Evloop", "dump_body")

logger = logging.getLogger("celery.worker.consumer.consumer")

COLLECT_SOCKET_TIMEOUT = 5.0  # seconds that a connection given up may still take for its last words
_NEVER = float("inf")
_POLL = 0.02
_AWHILE = 0.5
_STOPPED = (bootsteps.CLOSE, bootsteps.TERMINATE)


def noop(*_: Any, **_options: Any) -> None:
    """Nothing."""


def dump_body(m: Any, body: Any) -> str:
    """The body of a message for a log."""
    from ...utils.saferepr import saferepr

    body = m.body if body is None else body
    return f"{saferepr(body, maxlen=1024)} ({len(m.body)}b)"


class Consumer:
    """See `celery.worker.components.Consumer` for who makes it."""

    Strategies: Any = Strategies

    init_callback: Any = None
    pool: Any = None
    timer: Any = None
    restart_count = -1
    first_connection_attempt = True
    broker_connection_retry_attempt = 0
    timer_entries_before_start: Any = None
    timer_entries_registered: Any = None
    gossip: Any = None
    heart: Any = None
    qos_global = False
    """Each queue has a prefetch of its own, which quorum queues bear too."""

    class Blueprint(bootsteps.Blueprint):
        """The steps of a consumer."""

        name = "Consumer"
        default_steps = [
            "celery.worker.consumer.connection:Connection",
            "celery.worker.consumer.mingle:Mingle",
            "celery.worker.consumer.events:Events",
            "celery.worker.consumer.gossip:Gossip",
            "celery.worker.consumer.heart:Heart",
            "celery.worker.consumer.control:Control",
            "celery.worker.consumer.tasks:Tasks",
            "celery.worker.consumer.delayed_delivery:DelayedDelivery",
            "celery.worker.consumer.consumer:Evloop",
            "celery.worker.consumer.agent:Agent",
        ]

        def shutdown(self, parent: Any) -> None:
            self.send_all(parent, "shutdown")

    def __init__(
        self,
        on_task_request: Any,
        init_callback: Any = noop,
        hostname: str | None = None,
        pool: Any = None,
        app: Any = None,
        timer: Any = None,
        controller: Any = None,
        hub: Any = None,
        amqheartbeat: Any = None,
        worker_options: Any = None,
        disable_rate_limits: bool = False,
        initial_prefetch_count: int = 2,
        prefetch_multiplier: int = 1,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.controller = controller
        self.init_callback = init_callback
        self.hostname = hostname or gethostname()
        self.pid = os.getpid()
        self.pool = pool
        self.timer = timer
        self.hub = hub
        self.amqheartbeat = amqheartbeat or 0
        self.amqheartbeat_rate = app.conf.broker_heartbeat_checkrate
        self.loop = loops.asynloop
        self.strategies = self.Strategies()
        self.on_task_request = on_task_request
        self.on_task_message: set[Any] = set()
        self.disable_rate_limits = disable_rate_limits
        self.initial_prefetch_count = initial_prefetch_count
        self.prefetch_multiplier = prefetch_multiplier
        self.task_buckets: Any = defaultdict(lambda: None)
        self.event_dispatcher = Eventer(self)
        self.qos = Prefetch(self)
        self.task_consumer = Tasked(self)
        self._connection: Any = None
        self._pending: deque[Callable[[], Any]] = deque()
        self.steps: list[Any] = []
        self.blueprint = self.Blueprint(steps=self.app.steps["consumer"], on_close=self.on_close)
        self.blueprint.apply(self, **{**(worker_options or {}), **kwargs})

    # --- the worker

    @property
    def core(self) -> Any:
        """`worker.consumer`, once there is one."""
        worker = self.controller.worker
        return None if worker is None else worker.consumer

    def start(self) -> None:
        """Work, until the worker is told to stop."""
        self.controller.worker.serve()

    def stop(self) -> None:
        self.blueprint.stop(self)

    def close(self) -> None:
        self.blueprint.state = bootsteps.CLOSE

    def shutdown(self) -> None:
        self.perform_pending_operations()
        self.blueprint.shutdown(self)
        self.drop_connection()

    def up(self) -> None:
        """There is a connection."""
        self.first_connection_attempt = False
        self.restart_count += 1
        self.blueprint.start(self)

    def down(self) -> None:
        """It is lost."""
        self.drop_connection()
        if self.blueprint.state not in _STOPPED:
            self.blueprint.restart(self)

    def on_ready(self) -> None:
        callback, self.init_callback = self.init_callback, None
        if callback:
            callback(self)

    def on_close(self) -> None:
        """Nothing is kept here that could be left over."""

    def chores(self, now: float) -> float:
        """What is done here between two turns of the worker; when to be called again."""
        self.perform_pending_operations()
        self._heed_state()
        again = now + _AWHILE
        wait = self.timer.turn() if self.timer is not None else _NEVER
        if self._connection is not None and self._connection.connected:
            self._drain()
            again = now + _POLL
        return min(again, now + wait)

    def _heed_state(self) -> None:
        """`celery.worker.state.should_stop` and `should_terminate` are orders to every worker in the process."""
        for order, act in ((state.should_terminate, "terminate"), (state.should_stop, "stop")):
            if order is not None and order is not False and not self.controller.worker.stopping:
                self.controller.exitcode = None if order is True else int(order)
                getattr(self.controller, act)()
                return

    def call_soon(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """In the worker's thread, between two turns."""
        self._pending.append(lambda: p(*args, **kwargs))
        self.controller.wake()
        return p

    call_soon_ack = call_soon

    def perform_pending_operations(self) -> None:
        while self._pending:
            try:
                self._pending.popleft()()
            except Exception as exc:  # noqa: PERF203 - the others are to be called
                logger.exception("Pending callback raised: %r", exc)  # noqa: TRY401 - people grep for it

    # --- a connection of kombu's, for who needs one

    @property
    def connection(self) -> Any:
        if self._connection is None and not self.controller.is_stopped:
            self._connection = self.app.connection_for_read(heartbeat=0)
        return self._connection

    @connection.setter
    def connection(self, connection: Any) -> None:
        self._connection = connection

    @property
    def conninfo(self) -> Any:
        return self.app.connection_for_read()

    @conninfo.setter
    def conninfo(self, connection: Any) -> None:
        self.connection = connection

    @property
    def connection_errors(self) -> Any:
        return self.conninfo.connection_errors

    @property
    def channel_errors(self) -> Any:
        return self.conninfo.channel_errors

    def connect(self) -> Any:
        return self.connection_for_read(heartbeat=self.amqheartbeat)

    def connection_for_read(self, heartbeat: Any = None) -> Any:
        return self.app.connection_for_read(heartbeat=heartbeat).ensure_connection()

    def connection_for_write(self, url: Any = None, heartbeat: Any = None) -> Any:
        return self.app.connection_for_write(url=url, heartbeat=heartbeat).ensure_connection()

    def ensure_connected(self, conn: Any) -> Any:
        return conn.ensure_connection()

    def on_connection_error_before_connected(self, exc: Any) -> None:
        """The worker's own connection logs its errors itself."""

    def on_connection_error_after_connected(self, exc: Any) -> None:
        """The worker's own connection logs its errors itself; the one of the bootsteps is given up."""
        self.drop_connection()

    def drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # A peer that has gone silent would keep the reads of closing waiting for ever.
            bound_open_broker_sockets(connection, COLLECT_SOCKET_TIMEOUT)
            try:
                connection.close()
            except Exception as exc:  # noqa: BLE001 - it was lost, which may be why it is dropped
                logger.debug("while closing a connection: %r", exc)

    def _drain(self) -> None:
        try:
            for _ in range(100):
                self._connection.drain_events(timeout=0.001)
        except TimeoutError:
            pass
        except self._connection.connection_errors as exc:
            logger.warning("A connection of a bootstep was lost: %r", exc)
            self.down()
            self.up()

    # --- tasks

    def update_strategies(self) -> None:
        for task in list(self.app.tasks.values()):
            self.strategy_of(task)

    def strategy_of(self, task: Any) -> Any:
        """What takes a message for this task: our `Handler`, or whatever its class or a package has put there."""
        found = self.strategies.get(task.name)
        if found is None:
            found = self.strategies[task.name] = task.start_strategy(self.app, self)
        return found

    def handler(self, task: Any) -> Handler:
        return Handler(self, task)

    def loop_args(self) -> tuple[Any, ...]:
        clock = self.app.clock
        return (self, self.connection, self.task_consumer, self.blueprint, self.hub, self.qos, 0, clock, 2.0)

    def create_task_handler(self, promise: Any = None) -> Any:
        """What takes a message of kombu's, from consumers of somebody's own: as a message for its task's strategy."""

        def on_task_received(message: Any) -> None:
            name, body = (message.headers or {}).get("task"), None
            try:
                if name is None:
                    body = message.decode()
                    name = body["task"]
            except (TypeError, KeyError):
                return self.on_unknown_message(body, message)
            except Exception as exc:  # noqa: BLE001 - whatever a decoder raises
                return self.on_decode_error(message, exc)
            task = self.app.tasks.get(name)
            if task is None:
                return self.on_unknown_task(body, message, KeyError(name))
            return self._run_here(task, message, body)

        return on_task_received

    def _run_here(self, task: Any, message: Any, body: Any) -> None:
        from ..request import Request
        from ..strategy import proto1_to_proto2

        parts: dict[str, Any] = {}
        if body is not None:
            content, headers, decoded, utc = proto1_to_proto2(message, body)
            parts = {"body": content, "headers": headers, "decoded": decoded, "utc": utc}
        try:
            request = Request(
                message,
                app=self.app,
                task=task,
                hostname=self.hostname,
                eventer=self.event_dispatcher,
                on_ack=lambda *_: message.ack(),
                on_reject=lambda *args: message.reject(requeue=bool(args and args[-1] is True)),
                **parts,
            )
        except (InvalidTaskError, ValueError, TypeError) as exc:
            self.on_invalid_task(body, message, exc)
            return
        self.on_task_request(request)

    def on_decode_error(self, message: Any, exc: Any) -> None:
        logger.critical("Can't decode message body: %r\n%s", exc, dump_body(message, None))
        message.ack()

    def on_unknown_message(self, body: Any, message: Any) -> None:
        logger.warning("Received and deleted unknown message. Wrong destination?!?\n%s", dump_body(message, body))
        message.reject()
        signals.task_rejected.send(sender=self, message=message, exc=None)

    def on_unknown_task(self, body: Any, message: Any, exc: Any) -> None:
        logger.error("Received unregistered task of type %s.\n%s", exc, dump_body(message, body))
        message.reject()
        headers = message.headers or {}
        fields = {"name": headers.get("task"), "id": headers.get("id")}
        signals.task_unknown.send(sender=self, message=message, exc=exc, **fields)

    def on_invalid_task(self, body: Any, message: Any, exc: Any) -> None:
        logger.error("Received invalid task message: %s\n%s", exc, dump_body(message, body))
        message.reject()
        signals.task_rejected.send(sender=self, message=message, exc=exc)

    def on_send_event_buffered(self) -> None:
        """The worker sends events in its turns."""

    def register_with_event_loop(self, hub: Any) -> None:
        """There is no event loop of kombu's."""

    def add_task_queue(
        self,
        queue: Any,
        exchange: Any = None,
        exchange_type: Any = None,
        routing_key: Any = None,
        **options: Any,
    ) -> None:
        name = getattr(queue, "name", queue)
        told = {"exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
        self.core.add_queue(name, time.time(), **told, **options)

    def cancel_task_queue(self, queue: Any) -> None:
        self.core.drop_queue(queue, time.time())

    def bucket_for_task(self, type: Any) -> Any:
        from kombu.utils.limits import TokenBucket

        from ...utils.time import rate

        limit = rate(getattr(type, "rate_limit", None))
        return TokenBucket(limit, capacity=1) if limit else None

    def reset_rate_limits(self) -> None:
        """Somebody has changed `task.rate_limit`."""
        if self.core is not None:
            now = time.time()
            for name in list(self.app.tasks):
                self.core.changed(name, now)

    def apply_eta_task(self, task: Any) -> None:
        self.on_task_request(task)

    def _update_prefetch_count(self, index: int = 0) -> None:
        """The worker follows the size of its pool by itself."""

    def cancel_active_requests(self) -> None:
        for request in list(state.active_requests):
            self.core.owner.cancelled(request)

    @property
    def max_prefetch_count(self) -> int:
        return int(self.pool.num_processes * self.prefetch_multiplier)

    def __repr__(self) -> str:
        return f"<Consumer: {self.hostname} ({self.blueprint.human_state()})>"


class Evloop(bootsteps.StartStopStep):
    """Always started last. The loop is the worker's."""

    label = "event loop"
    last = True

    def start(self, c: Any) -> None:
        """It runs."""

    def patch_all(self, c: Any) -> None: ...

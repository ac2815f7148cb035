"""`celery.beat.BeatPidbox`: beat answers `celery inspect ping`, as long as it ticks.

Law: it has a thread and a connection of its own, and is silent when beat has not ticked for too long: who probes beat
takes silence for illness. It knows no command but `ping`, and says nothing to the others.
"""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from kombu import pidbox

from .app.connecting import answering
from .utils.collections import AttributeDict
from .utils.log import get_logger
from .utils.nodenames import default_nodename, host_format

__all__ = ("NODENAME_DEFAULT", "BeatPidbox", "beat_nodename")

logger = get_logger("celery.beat")

NODENAME_DEFAULT = "celerybeat"
_DEFAULT_INTERVAL = 300


def beat_nodename(hostname: str | None = None) -> str:
    """The node name that beat answers to; `%h`, `%n` and `%d` stand for what they stand for with a worker."""
    return host_format(default_nodename(hostname, NODENAME_DEFAULT))


class _Stopping(BaseException):
    """Out of an attempt to connect: no `except Exception` on the way may hold it."""


class _Node(pidbox.Node):
    owner: Any = None

    def dispatch(
        self, method: Any, arguments: Any = None, reply_to: Any = None, ticket: Any = None, **kwargs: Any
    ) -> Any:
        if self.owner is not None and self.owner.is_stale():
            logger.warning(
                "beat pidbox: not answering %s, the scheduler has not ticked for %.1fs (over the %ss limit).",
                method,
                self.owner.tick_age(),
                self.owner.max_tick_age,
            )
            return None
        answer: Any = super().dispatch
        return answer(method, arguments, reply_to, ticket, **kwargs)


class BeatPidbox:
    """Beat's mailbox."""

    __module__ = "celery.beat"

    retry_interval = 5.0
    join_timeout = 3.0
    min_tick_age = 60.0

    def __init__(self, service: Any) -> None:
        self.service = service
        self.app = service.app
        self.hostname = beat_nodename(service.hostname)
        self.state = AttributeDict(app=self.app, service=service)
        make: Any = _Node  # kombu does not say what it takes
        self.node: Any = make(
            self.hostname, state=self.state, handlers={"ping": self._ping}, mailbox=self.app.control.mailbox
        )
        self.node.owner = self
        self.thread: Thread | None = None
        self.first_connection_attempt = True
        self._shutdown = Event()

    # --- is it alive?

    @property
    def max_tick_age(self) -> float:
        """Seconds without a tick after which it is silent; 0: never. Unset: twice the longest sleep, at least 60."""
        configured = self.app.conf.beat_remote_control_max_tick_age
        if configured is not None:
            return float(configured)
        interval = self.service.effective_max_interval or self.service.max_interval or _DEFAULT_INTERVAL
        return float(max(interval * 2, self.min_tick_age))

    def tick_age(self) -> float | None:
        last = self.service._last_tick
        return None if last is None else time.monotonic() - last

    def is_stale(self) -> bool:
        most, age = self.max_tick_age, self.tick_age()
        return bool(most) and age is not None and age > most

    # --- what it does

    def _ping(self, state: Any, **_kwargs: Any) -> dict[str, str]:
        return {"ok": "pong"}

    def on_message(self, body: Any, message: Any) -> None:
        try:
            if isinstance(body, dict) and body.get("method") in self.node.handlers:
                self.node.handle_message(body, message)
        except Exception as exc:
            logger.exception("beat pidbox command error: %r", exc)  # noqa: TRY401 - the text is Celery's

    def fanout_support(self) -> tuple[bool, Any]:
        """Whether the broker can tell all, and its name."""
        with self.app.connection_for_read() as connection:
            return connection.supports_exchange_type("fanout"), connection.transport_cls

    # --- its thread

    def start(self) -> None:
        if self.thread is not None and self.thread.is_alive():
            return
        supported, transport = self.fanout_support()
        if not supported:
            logger.warning(
                "beat pidbox: the %s transport has no fanout exchanges, so remote control is unavailable.", transport
            )
            return
        self.first_connection_attempt = True
        self._shutdown.clear()
        self.thread = Thread(target=self._loop, name="BeatPidbox", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self._shutdown.set()
        if self.thread is None:
            return
        self.thread.join(timeout=self.join_timeout)
        if self.thread.is_alive():
            logger.warning(
                "beat pidbox: consumer thread did not stop within %s seconds; it will not hold up exit.",
                self.join_timeout,
            )
        else:
            self.thread = None

    def _may_retry(self) -> bool:
        conf, first = self.app.conf, self.first_connection_attempt
        self.first_connection_attempt = False
        if first and conf.broker_connection_retry_on_startup is not None:
            return bool(conf.broker_connection_retry_on_startup)
        return bool(conf.broker_connection_retry)

    def _connect(self) -> Any:
        most = self.app.conf.broker_connection_max_retries if self._may_retry() else 0
        connection = answering(self.app)
        try:
            connection.ensure_connection(self._say, most, callback=self._stop_if_asked)
        except BaseException:
            with suppress(Exception):
                connection.release()
            raise
        return connection

    def _say(self, exc: BaseException, interval: float) -> None:
        logger.error("beat pidbox: Connection error: %s. Trying again in %s seconds...", exc, interval)

    def _stop_if_asked(self) -> None:
        if self._shutdown.is_set():
            raise _Stopping

    def _listen(self, connection: Any) -> None:
        logger.info("beat pidbox: Connected to %s.", connection.as_uri())
        self.node.channel = connection.channel()
        consumer = self.node.listen(callback=self.on_message)
        try:
            while not self._shutdown.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=1.0)
        finally:
            with suppress(Exception):
                consumer.cancel()

    def _loop(self) -> None:
        try:
            while not self._shutdown.is_set() and self._turn():
                self._shutdown.wait(self.retry_interval)
        except _Stopping:
            return
        if not self._shutdown.is_set():
            logger.warning("beat pidbox: Consumer stopped, beat will no longer answer remote control commands.")

    def _turn(self) -> bool:
        """One connection; whether to try another one."""
        try:
            connection = self._connect()
        except Exception as exc:
            if not self._shutdown.is_set():
                logger.exception(
                    "beat pidbox: could not connect to the broker, so beat will not answer remote control commands "
                    "for the life of this process. See broker_connection_retry, broker_connection_retry_on_startup "
                    "and broker_connection_max_retries: %r",
                    exc,  # noqa: TRY401 - the text is Celery's
                )
            return False
        try:
            with connection:
                self._listen(connection)
        except Exception as exc:
            if not self._shutdown.is_set():
                logger.exception("beat pidbox connection error: %r", exc)  # noqa: TRY401 - the text is Celery's
            return bool(self.app.conf.broker_connection_retry)
        return True

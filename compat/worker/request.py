"""`celery.worker.request.Request`: what signals, and packages that look into a worker, call a request.

`Request` is made of a message, by strategies that are not ours, and by ours where a task has requests of a class of its
own. `Seen` is a view of the worker's own request: nothing is decoded before it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cached_property
from time import monotonic, time
from typing import Any

from ...protocol.errors import BadMessage
from ...protocol.wire.message_reading import Reader, read_body
from .. import signals
from ..exceptions import (
    Ignore,
    InvalidTaskError,
    Reject,
    Retry,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from ..platforms import signals as _signals
from ..utils.nodenames import gethostname
from ..utils.saferepr import saferepr
from ..utils.time import maybe_iso8601, maybe_make_aware
from . import state

__all__ = ("Request", "create_request_cls")

logger = logging.getLogger("celery.worker.request")


def noop(*_: Any, **_options: Any) -> None:
    """Nothing."""


class Request:
    """A request that a task be run. `on_ack` and `on_reject` settle its message."""

    # What a request is made of.
    id: Any = None
    name: Any = None
    type: Any = None
    app: Any = None
    task: Any = None
    message: Any = None
    body: Any = None
    args: Any = None
    kwargs: Any = None
    content_type: Any = None
    content_encoding: Any = None
    delivery_info: Any = None
    request_dict: Any = None
    eta: Any = None
    expires: Any = None
    utc: Any = True
    hostname: Any = None
    eventer: Any = None
    connection_errors: Any = ()
    ignore_result: Any = False
    on_ack: Any = None
    on_reject: Any = None

    acknowledged: Any = False
    time_start: Any = None
    worker_pid: Any = None
    time_limits: Any = (None, None)
    _already_revoked = False
    _already_cancelled = False
    _terminate_on_ack: Any = None
    _apply_result: Any = None

    def __init__(
        self,
        message: Any,
        on_ack: Any = noop,
        hostname: str | None = None,
        eventer: Any = None,
        app: Any = None,
        connection_errors: Any = None,
        request_dict: Any = None,
        task: Any = None,
        on_reject: Any = noop,
        body: Any = None,
        headers: Any = None,
        decoded: bool = False,
        utc: bool = True,
        maybe_make_aware: Callable[..., Any] = maybe_make_aware,
        maybe_iso8601: Callable[..., Any] = maybe_iso8601,
        **opts: Any,
    ) -> None:
        fields = self.request_dict = dict(message.headers if headers is None else headers)
        self.message = message
        self.body = message.body if body is None else body
        self.app = app
        self.utc = utc
        self.content_type = None if decoded else message.content_type
        self.content_encoding = None if decoded else message.content_encoding
        self._payload: Any = self.body if decoded else message.payload
        self.id = fields["id"]
        self.type = fields["task"]
        self.name = fields.get("shadow") or self.type
        self.time_limits = fields.get("timelimit") or (None, None)
        self.on_ack = on_ack
        self.on_reject = on_reject
        self.hostname = hostname or gethostname()
        self.eventer = eventer
        self.connection_errors = connection_errors or ()
        self.task = task or app.tasks[self.type]
        said = fields.get("ignore_result")
        self.ignore_result = self.task.ignore_result if said is None else said
        self.eta = self._moment("eta", maybe_iso8601, maybe_make_aware)
        self.expires = self._moment("expires", maybe_iso8601, maybe_make_aware)
        where, properties = message.delivery_info or {}, message.properties or {}
        self.delivery_info = {
            "exchange": where.get("exchange"),
            "routing_key": where.get("routing_key"),
            "priority": properties.get("priority"),
            "redelivered": where.get("redelivered", False),
        }
        self.args, self.kwargs, _ = self._payload
        fields.update(
            properties=properties,
            reply_to=properties.get("reply_to"),
            correlation_id=properties.get("correlation_id"),
            hostname=self.hostname,
            delivery_info=self.delivery_info,
            args=self.args,
            kwargs=self.kwargs,
        )

    def _moment(self, name: str, parse: Callable[..., Any], aware: Callable[..., Any]) -> Any:
        value = self.request_dict.get(name)
        if value is None:
            return None
        try:
            value = parse(value)
        except (AttributeError, ValueError, TypeError) as exc:
            word = "ETA" if name == "eta" else name
            raise InvalidTaskError(f"invalid {word} value {value!r}: {exc}") from exc
        return aware(value, self.tzlocal)

    # --- what it says

    @property
    def tzlocal(self) -> Any:
        return self.app.conf.timezone

    @property
    def task_id(self) -> Any:
        return self.id

    @task_id.setter
    def task_id(self, value: Any) -> None:
        self.id = value

    @property
    def task_name(self) -> Any:
        return self.name

    @task_name.setter
    def task_name(self, value: Any) -> None:
        self.name = value

    @property
    def store_errors(self) -> bool:
        return not self.ignore_result or bool(self.task.store_errors_even_if_ignored)

    root_id: Any = property(lambda self: self.request_dict.get("root_id"))
    parent_id: Any = property(lambda self: self.request_dict.get("parent_id"))
    argsrepr: Any = property(lambda self: self.request_dict.get("argsrepr", ""))
    kwargsrepr: Any = property(lambda self: self.request_dict.get("kwargsrepr", ""))
    reply_to: Any = property(lambda self: self.request_dict["reply_to"])
    correlation_id: Any = property(lambda self: self.request_dict["correlation_id"])
    replaced_task_nesting: Any = property(lambda self: self.request_dict.get("replaced_task_nesting", 0))
    groups: Any = property(lambda self: self.request_dict.get("groups", []))
    group: Any = property(lambda self: self.request_dict.get("group"))
    group_index: Any = property(lambda self: self.request_dict.get("group_index"))
    chord: Any = property(lambda self: self._payload[2].get("chord"))
    errbacks: Any = property(lambda self: self._payload[2].get("errbacks"))
    stamped_headers: Any = property(lambda self: self.request_dict.get("stamped_headers") or [])
    # (args, kwargs, embed), by the name under which packages and Celery's own suite reach for Celery's private one.
    __payload: Any = property(lambda self: self._payload)

    @property
    def stamps(self) -> dict[str, Any]:
        stamps = self.request_dict.get("stamps") or {}
        return {name: stamps.get(name) for name in self.stamped_headers}

    @cached_property
    def _context(self) -> Any:
        from ..app.context import Context

        self.request_dict.update(self._payload[2] or {})
        return Context(self.request_dict)

    # --- its way through the pool

    def execute_using_pool(self, pool: Any, **kwargs: Any) -> Any:
        """Have it run there. Raises TaskRevokedError if it was revoked."""
        from ..app.trace import trace_task_ret

        if self.revoked():
            raise TaskRevokedError(self.id)
        hard, soft = self.time_limits
        self._apply_result = pool.apply_async(
            trace_task_ret,
            args=(self.type, self.id, self.request_dict, self.body, self.content_type, self.content_encoding),
            accept_callback=self.on_accepted,
            timeout_callback=self.on_timeout,
            callback=self.on_success,
            error_callback=self.on_failure,
            soft_timeout=soft or self.task.soft_time_limit,
            timeout=hard or self.task.time_limit,
            correlation_id=self.id,
        )
        return self._apply_result

    def execute(self, loglevel: Any = None, logfile: Any = None) -> Any:
        """Run it here and now."""
        from ..app.trace import trace_task

        if self.revoked():
            return None
        if not self.task.acks_late:
            self.acknowledge()
        request = {**self.request_dict, **(self._payload[2] or {})}
        request.update(loglevel=loglevel, logfile=logfile, is_eager=False)
        ended = trace_task(self.task, self.id, self.args, self.kwargs, request, app=self.app)
        if ended.info:
            self.reject(requeue=False)
        else:
            self.acknowledge()
        return ended.retval

    def maybe_expire(self) -> bool | None:
        """If it is too late, it is revoked."""
        if self.expires and datetime.now(timezone.utc if self.expires.tzinfo else None) > self.expires:
            state.revoked.add(self.id)
            return True
        return None

    def revoked(self) -> bool:
        """Whether it must not run; that is then recorded and told."""
        if self._already_revoked:
            return True
        expired = bool(self.expires and self.maybe_expire())
        stamp = None if expired else self._revoking_stamp()
        if not expired and stamp is None and self.id not in state.revoked:
            return False
        why = f" (revoked by header: {stamp})" if stamp else ""
        logger.info("Discarding revoked task: %s[%s]%s", self.name, self.id, why)
        self._announce_revoked("expired" if expired else "revoked", False, None, expired)
        return True

    def _revoking_stamp(self) -> dict[str, Any] | None:
        for name, borne in self.stamps.items():
            wanted = state.revoked_stamps.get(name)
            if wanted is None or borne is None:
                continue
            values = set(map(str, wanted if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]))
            for value in borne if isinstance(borne, (list, tuple, set)) else [borne]:
                if str(value) in values:
                    return {name: value}
        return None

    def terminate(self, pool: Any, signal: Any = None) -> None:
        signal = _signals.signum(signal or "SIGTERM")
        if self.time_start:
            pool.terminate_job(self.worker_pid, signal)
            self._announce_revoked("terminated", True, signal, False)
        else:
            self._terminate_on_ack = pool, signal

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        if self.time_start:
            pool.terminate_job(self.worker_pid, _signals.signum(signal or "SIGTERM"))
            self._announce_cancelled(emit_retry)

    def _announce_cancelled(self, emit_retry: bool = True) -> None:
        state.task_ready(self)
        self.send_event("task-cancelled")
        if emit_retry:
            exc = Retry(message="cancelled by Celery")
            self.task.backend.mark_as_retry(self.id, exc, request=self._context)
            self.task.on_retry(exc, self.id, self.args, self.kwargs, None)
        self._already_cancelled = True
        if emit_retry:
            signals.task_retry.send(self.task, request=self._context, einfo=None)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        state.task_ready(self)
        self.send_event("task-revoked", terminated=terminated, signum=signum, expired=expired)
        self.task.backend.mark_as_revoked(self.id, reason, request=self._context, store_result=self.store_errors)
        self.acknowledge()
        self._already_revoked = True
        signals.task_revoked.send(
            self.task, request=self._context, terminated=terminated, signum=signum, expired=expired
        )

    def send_event(self, type: str, **fields: Any) -> None:
        if self.eventer and self.eventer.enabled and self.task.send_events:
            self.eventer.send(type, uuid=self.id, **fields)

    # --- what the pool tells

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        self.worker_pid = pid
        # Celery's pools tell monotonic time, ours the time of day.
        self.time_start = time_accepted if time_accepted > monotonic() + 1e6 else time() - (monotonic() - time_accepted)
        state.task_accepted(self)
        if not self.task.acks_late:
            self.acknowledge()
        self.send_event("task-started")
        logger.debug("Task accepted: %s[%s] pid:%r", self.name, self.id, pid)
        if self._terminate_on_ack is not None:
            self.terminate(*self._terminate_on_ack)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        if soft:
            logger.warning("Soft time limit (%ss) exceeded for %s[%s]", timeout, self.name, self.id)
            return
        state.task_ready(self)
        logger.error("Hard time limit (%ss) exceeded for %s[%s]", timeout, self.name, self.id)
        self._failed_here(TimeLimitExceeded(timeout))
        if self.task.acks_late:
            if self.task.acks_on_timeout:
                self.acknowledge()
            else:
                self.reject(requeue=True)

    def _failed_here(self, exc: BaseException) -> None:
        """Nobody else can record it: the process that ran it is gone."""
        from ...worker import recording
        from ..app import trace

        try:
            raise exc  # noqa: TRY301 - for its traceback
        except BaseException as raised:  # noqa: BLE001 - raised for its traceback
            self.task.request_stack.push(self._context)
            try:
                recording.record_failure(
                    trace.SURROUNDINGS, self.app, self.task, self._context, raised, store_errors=self.store_errors
                )
            finally:
                self.task.request_stack.pop()
        self.send_event("task-failed", exception=saferepr(exc), traceback=saferepr(exc))

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        failed, retval, runtime = failed__retval__runtime
        if failed:
            exc = _bare(retval.exception)
            if isinstance(exc, (SystemExit, KeyboardInterrupt)):
                raise exc
            return self.on_failure(retval, return_ok=True)
        state.task_ready(self, successful=True)
        if self.task.acks_late:
            self.acknowledge()
        self.send_event("task-succeeded", result=retval, runtime=runtime)
        return None

    def on_retry(self, exc_info: Any) -> None:
        if self.task.acks_late:
            self.acknowledge()
        exc = _bare(exc_info.exception)
        self.send_event("task-retried", exception=saferepr(getattr(exc, "exc", exc)), traceback=str(exc_info.traceback))

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """`return_ok`: the process that ran it has recorded it."""
        state.task_ready(self)
        exc = _bare(exc_info.exception)
        if isinstance(exc, MemoryError):
            raise MemoryError(f"Process got: {exc}")  # noqa: TRY004 - as it was raised there
        if isinstance(exc, Reject):
            return self.reject(requeue=exc.requeue)
        if isinstance(exc, Ignore):
            return self.acknowledge()
        if isinstance(exc, Retry):
            return self.on_retry(exc_info)
        lost = isinstance(exc, WorkerLostError)
        requeue = False
        if self.task.acks_late:
            late = isinstance(exc, TimeLimitExceeded)
            acks = self.task.acks_on_timeout if late else self.task.acks_on_failure
            requeue = bool((self.task.reject_on_worker_lost and lost) or (late and not acks))
            if requeue or not acks:
                self.reject(requeue=requeue)
            else:
                self.acknowledge()
        if not requeue and (lost or not return_ok):
            self._failed_here(exc)
        elif send_failed_event and not requeue:
            self.send_event("task-failed", exception=saferepr(exc), traceback=exc_info.traceback)
        if not return_ok:
            logger.error("Task handler raised error: %r", exc)
        return None

    # --- its message

    def acknowledge(self) -> None:
        if not self.acknowledged:
            self.on_ack(logger, self.connection_errors)
            self.acknowledged = True

    def reject(self, requeue: bool = False) -> None:
        if not self.acknowledged:
            self.on_reject(logger, self.connection_errors, requeue)
            self.acknowledged = True
            self.send_event("task-rejected", requeue=requeue)

    # --- shown

    def info(self, safe: bool = False) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "args": self.argsrepr if safe else self.args,
            "kwargs": self.kwargsrepr if safe else self.kwargs,
            "type": self.type,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": self.acknowledged,
            "delivery_info": self.delivery_info,
            "worker_pid": self.worker_pid,
        }

    def humaninfo(self) -> str:
        return f"{self.name}[{self.id}]"

    def __str__(self) -> str:
        parts = [
            self.humaninfo(),
            f"ETA:[{self.eta}]" if self.eta else "",
            f"expires:[{self.expires}]" if self.expires else "",
        ]
        return " ".join(filter(None, parts))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.humaninfo()} {self.argsrepr} {self.kwargsrepr}>"


def _bare(exc: Any) -> Any:
    """Without what carried its traceback."""
    inner = getattr(exc, "exc", None)
    return inner if type(exc).__name__ == "ExceptionWithTraceback" and inner is not None else exc


def create_request_cls(
    base: Any,
    task: Any,
    pool: Any,
    hostname: str,
    eventer: Any,
    ref: Any = None,
    revoked_tasks: Any = None,
    task_ready: Any = None,
    trace: Any = None,
    app: Any = None,
) -> Any:
    """`base`, for who strategies make requests with. It is made anew for each task, as users patch what they get."""
    return type("Request", (base,), {"__module__": base.__module__})


class Seen(Request):
    """A request that the worker runs itself, for signals and for who looks. Its events are told by the worker."""

    def __init__(self, request: Any, app: Any, reader: Reader, hostname: str) -> None:
        self._request = request
        self._reader = reader
        self.app = app
        self.hostname = hostname
        self.id: str = request.id
        self.name: str = request.name
        self.type: str = request.name
        self.message = request.delivery.message
        self.content_type = self.message.content_type
        self.content_encoding = self.message.content_encoding
        self.body = self.message.body
        self.task = request.kind.task if request.kind is not None else app.tasks.get(request.name)
        self.connection_errors = ()
        self.eventer: Any = None
        self.on_ack = self.on_reject = noop

    @property
    def _payload(self) -> Any:
        return self._content

    @cached_property
    def _head(self) -> Any:
        return self._request.head(self._reader)

    @cached_property
    def _content(self) -> tuple[Any, Any, dict[str, Any]]:
        nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        try:
            body = read_body(self.message, self._head, self._reader)
        except BadMessage:
            return (), {}, nothing
        embed = {name: getattr(body, name) for name in nothing}
        return body.args if body.args is not None else (), body.kwargs, embed

    @property
    def args(self) -> Any:
        return self._content[0]

    @property
    def kwargs(self) -> Any:
        return self._content[1]

    @property
    def argsrepr(self) -> str | None:
        return self._head.argsrepr  # type: ignore[no-any-return]  # a text or None

    @property
    def kwargsrepr(self) -> str | None:
        return self._head.kwargsrepr  # type: ignore[no-any-return]  # a text or None

    @property
    def errbacks(self) -> Any:
        return self._content[2]["errbacks"]

    @property
    def chord(self) -> Any:
        return self._content[2]["chord"]

    eta = property(lambda self: self._head.eta)
    expires = property(lambda self: self._head.expires)
    root_id = property(lambda self: self._head.root_id)
    parent_id = property(lambda self: self._head.parent_id)
    group = property(lambda self: self._head.group)
    group_index = property(lambda self: self._head.group_index)
    correlation_id = property(lambda self: self._head.correlation_id)
    reply_to = property(lambda self: self._head.reply_to)
    utc = property(lambda self: self._head.utc)
    stamped_headers = property(lambda self: list(self._head.stamped_headers or ()))
    stamps = property(lambda self: {name: self._head.stamps.get(name) for name in self._head.stamped_headers or ()})
    replaced_task_nesting = property(lambda self: self._head.replaced_task_nesting)
    time_limits = property(lambda self: list(self._head.timelimit))
    time_start = property(lambda self: self._request.begun)
    worker_pid = property(lambda self: self._request.pid)

    @property
    def ignore_result(self) -> bool:
        said = self._head.ignore_result
        return bool(getattr(self.task, "ignore_result", False) if said is None else said)

    @property
    def store_errors(self) -> bool:
        return not self.ignore_result or bool(getattr(self.task, "store_errors_even_if_ignored", False))

    @property
    def delivery_info(self) -> dict[str, Any]:
        delivery = self._request.delivery
        return {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": self.message.properties.get("priority"),
            "redelivered": delivery.redelivered,
        }

    @cached_property
    def request_dict(self) -> dict[str, Any]:
        """The headers, and what is around them."""
        return {
            **self._head.fields,
            "properties": self.message.properties,
            "reply_to": self.reply_to,
            "correlation_id": self.correlation_id,
            "hostname": self.hostname,
            "delivery_info": self.delivery_info,
            "args": self.args,
            "kwargs": self.kwargs,
        }

    @cached_property
    def _context(self) -> Any:
        from ..app.context import Context

        return Context({**self.request_dict, **self._content[2], "called_directly": False, "is_eager": False})

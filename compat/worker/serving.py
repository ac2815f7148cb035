"""What a worker asks of its app: `worker.ports.Owner`, over Celery's names.

Law: nothing here raises what a store, a broker or a user's hook raises: it is logged, and the worker goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from ...protocol.wire.failure import lost_text
from ...worker import recording
from ...worker.brokers.base import Queue
from .. import signals, states
from ..app import trace
from ..app.showing import shown_url
from ..exceptions import NotRegistered, Retry, TimeLimitExceeded, WorkerLostError
from . import receiving, running
from .request import Request, Seen

log = logging.getLogger("celery.worker.request")

T = TypeVar("T")

_NOT_BEGUN = frozenset({states.PENDING, states.RECEIVED, states.RETRY, states.REJECTED})


def _recorded(record: Callable[..., None]) -> Callable[..., None]:
    """What fails here has no caller who could do better."""

    @wraps(record)
    def record_safely(self: Serving, request: Any, *args: Any, **kwargs: Any) -> None:
        try:
            record(self, request, *args, **kwargs)
        except Exception:
            log.exception("What became of %s[%s] could not be recorded", request.name, request.id)

    return record_safely


class Serving:
    """One app's worker. `program` is what its pool runs."""

    def __init__(self, app: Any, program: Any, hostname: str, worker: Any = None) -> None:
        self.app = app
        self.program = program
        self.hostname = hostname
        self.worker = worker
        self._made_up: set[str] = set()
        """Queues that were nowhere defined, and were added."""

    @property
    def tasks(self) -> Mapping[str, Any]:
        return self.app.tasks  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    @property
    def received_format(self) -> str:
        return trace.LOG_RECEIVED

    def own_ways(self, task: Any) -> tuple[Callable[[Any], None] | None, Callable[[Any], None] | None]:
        return receiving.own_ways(self.worker.consumer, task)

    # --- queues

    def queues(self) -> Mapping[str, Sequence[Queue]]:
        return {name: self._native(queue) for name, queue in self.app.amqp.taken.items()}

    def _native(self, queue: Any) -> Sequence[Queue]:
        declared = self.app.amqp.outlet.declared([queue])
        return tuple(declared) or (Queue(queue.name),)

    def add_queue(self, name: str, **options: Any) -> Sequence[Queue]:
        queues = self.app.amqp.queues
        if name in queues:
            queue = queues[name]
            queues.select_add(queue)
        else:
            said = {key: value for key, value in options.items() if value is not None}
            exchange = said.get("exchange") or name
            said.update(exchange=exchange, exchange_type=said.get("exchange_type") or "direct")
            said.setdefault("routing_key", name)
            queue = queues.select_add(name, **said)
            self._made_up.add(name)
        return self._native(queue)

    def drop_queue(self, name: str) -> None:
        self.app.amqp.queues.deselect([name])

    def forget_queue(self, name: str) -> None:
        self.drop_queue(name)
        if name in self._made_up:
            self._made_up.discard(name)
            self.app.amqp.queues.pop(name, None)

    def queue_info(self, name: str) -> Mapping[str, Any]:
        queue = self.app.amqp.queues[name]
        return queue.as_dict(recurse=True)  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    # --- signals

    def listens(self, signal: str) -> bool:
        return bool(getattr(signals, signal).receivers)

    def signal(self, signal: str, sender: Any = None, /, **fields: Any) -> None:
        if self.worker is not None and sender is self.worker.worker.consumer:
            sender = self.worker.consumer  # by which users know it
        getattr(signals, signal).send(sender=sender, **fields)

    def request(self, request: Any) -> Request:
        if request.owner is None:
            request.owner = self._make(request)
        return request.owner  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    def _make(self, request: Any) -> Request:
        cls = Request if request.kind is None else running.own_class(request.kind.task)
        if cls is not Request:
            return running.made(self.worker.consumer, request, cls)  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely
        return Seen(request, self.app, self.program.reader, self.hostname)

    # --- the clock

    def clock_forward(self) -> int:
        return self.app.clock.forward()  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    def clock_adjust(self, other: int) -> int:
        return self.app.clock.adjust(other)  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    def clock_value(self) -> int:
        return self.app.clock.value  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    # --- recording

    @_recorded
    def revoked(self, request: Any, reason: str, *, terminated: bool, signum: int | None, expired: bool) -> None:
        seen = self.request(request)
        context, task = seen._context, seen.task
        backend = self.app.backend if task is None else task.backend
        backend.mark_as_revoked(request.id, reason, request=context, store_result=seen.store_errors)
        signals.task_revoked.send(sender=task, request=context, terminated=terminated, signum=signum, expired=expired)

    def revoke_stored(self, ids: Sequence[str]) -> None:
        """Tell who waits for these that they are revoked, unless somebody has begun them."""
        for task_id in ids:
            try:
                backend = self.app.backend
                if backend.get_state(task_id) in _NOT_BEGUN:
                    backend.mark_as_revoked(task_id, reason="revoked", store_result=True)
            except Exception as problem:  # noqa: BLE001, PERF203 - any store's: it is revoked all the same
                log.warning("Failed to mark task %s as revoked in backend: %s", task_id, problem)

    @_recorded
    def timed_out(self, request: Any, limit: float) -> None:
        self._fail(request, TimeLimitExceeded(limit))

    @_recorded
    def lost(self, request: Any, why: str) -> None:
        seen = self.request(request)
        before = None
        if request.delivery.redelivered or not seen.ignore_result:
            before = self.succeeded(request.id)
        if before is not None:
            log.warning("Task %s[%s] succeeded before the worker was lost: %s", request.name, request.id, why)
            return
        self._fail(request, WorkerLostError(lost_text(why, request.number)))

    def succeeded(self, task_id: str) -> Mapping[str, Any] | None:
        return trace.SURROUNDINGS.succeeded_before(self.app, task_id)

    def _fail(self, request: Any, exc: Exception) -> None:
        seen = self.request(request)
        task, context = seen.task, seen._context
        try:
            raise exc  # noqa: TRY301 - its traceback begins here
        except Exception as raised:  # noqa: BLE001 - our own
            task.request_stack.push(context)
            try:
                recording.record_failure(
                    trace.SURROUNDINGS, self.app, task, context, raised, store_errors=seen.store_errors
                )
            finally:
                task.request_stack.pop()

    def resend(self, request: Any, why: str) -> bool:
        seen = self.request(request)
        task, context = seen.task, seen._context
        countdown = task.default_retry_delay
        try:
            task.signature_from_request(context, countdown=countdown, retries=context.retries + 1).apply_async()
        except Exception as problem:
            log.exception("Failed to retry task %s[%s] after worker was lost: %r", request.name, request.id, problem)  # noqa: TRY401 - as stock says it
            return False
        try:
            reason = Retry(exc=WorkerLostError(lost_text(why, request.number)), when=countdown)
            recording.record_retry(trace.SURROUNDINGS, task, context, reason, store_errors=seen.store_errors)
        except Exception:
            log.exception("What became of %s[%s] could not be recorded", request.name, request.id)
        return True

    @_recorded
    def cancelled(self, request: Any) -> None:
        seen = self.request(request)
        reason = Retry(message="cancelled by Celery")
        recording.record_retry(trace.SURROUNDINGS, seen.task, seen._context, reason, store_errors=seen.store_errors)

    @_recorded
    def unregistered(self, request: Any) -> None:
        context = self.request(request)._context
        exc = NotRegistered(request.name)
        recording.fail(
            trace.SURROUNDINGS, self.app, self.app.backend, context, exc, None, store_errors=True, errbacks=True
        )

    # --- remote control

    def settings(self, *, with_defaults: bool) -> Mapping[str, Any]:
        return {name: _jsonable(value) for name, value in self.app.conf.table(with_defaults=with_defaults).items()}

    def report(self) -> str:
        return self.app.bugreport()  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    def shown_url(self, url: str) -> str:
        return shown_url(url)  # type: ignore[no-any-return]  # the app's classes are typed as Celery's: loosely

    def broker_info(self) -> Mapping[str, Any]:
        info = self.app.connection_for_read(heartbeat=self.app.conf.broker_heartbeat).info()
        info.pop("password", None)
        return {name: _jsonable(value) for name, value in info.items()}

    def reload(self, modules: Sequence[str], *, reload: bool) -> None:
        import importlib
        import sys

        for name in modules or tuple(self.app.loader.task_modules):
            if name not in sys.modules:
                self.app.loader.import_from_cwd(name)
            elif reload:
                importlib.reload(sys.modules[name])

    def send_signature(self, signature: Any) -> None:
        from ..canvas import maybe_signature

        try:
            maybe_signature(signature, app=self.app).apply_async()
        except Exception:
            log.exception("The task of an election could not be sent")


def _jsonable(value: Any) -> Any:
    """What can be sent as JSON; anything else is shown."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)

"""One run of one task: what happens before, in and after it, in Celery's order and with Celery's signals.

Law: read `Run.go` first, it is the order. What follows from an outcome is `protocol.rules.outcome`'s; this performs
it. Signals, hooks and log lines are Celery's, word for word, and cost next to nothing where nobody listens.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from ..protocol.rules import outcome as rules
from ..protocol.rules.continuing import Running
from ..protocol.rules.outcome import ChordPart, Continue, Fate, Outcome, Report, Store, Terms
from ..protocol.wire import states
from ..protocol.wire.reprs import saferepr
from . import limit
from .backends.disabled import DisabledStore
from .coroutines import LOOPS
from .einfo import ExceptionInfo, clear_frames
from .ports import App, Held, Surroundings, Task
from .recording import complete, failed_report, report_internal_error, running, safe_repr, signal_internal_error
from .stored_results import done_at, is_plain, is_utc, native, result_of

LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
LOG_IGNORED = "Task %(name)s[%(id)s] %(description)s"

_NOTHING: Any = object()
_SHORT = frozenset({type(None), bool, float})
_WIDE = 10**18


class Tracer:
    """Runs one task, again and again: `tracer(uuid, args, kwargs, request) -> trace_ok_t`.

    What the task and the settings say is looked up when it is made. `held` collects results to be written together;
    without it each is stored at once.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        app: App,
        around: Surroundings,
        *,
        info: Callable[..., Any],
        traced: Callable[..., Any],
        loader: Any = None,
        hostname: str | None = None,
        eager: bool = False,
        propagate: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        ignored_after: Any = rules.IGNORED_AFTER,
        held: Held | None = None,
    ) -> None:
        conf = app.conf
        loader = loader or app.loader
        self.name = name
        self.task = task
        self.app = app
        self.around = around
        self.info = info
        self.traced = traced
        self.hostname = hostname or socket.gethostname()
        self.eager = eager
        self.propagate = propagate
        self.monotonic = monotonic
        self.ignored_after = ignored_after
        self.held = held
        custom = around.custom
        # Without a `__call__` of its own, `run` is what there is to call.
        self.fun: Callable[..., Any] = task if custom(task, "__call__") else task.run  # type: ignore[assignment]  # a task is callable
        self.awaits = inspect.iscoroutinefunction(inspect.unwrap(task.run))
        self.before_start, self.on_success, self.after_return = (
            getattr(task, hook) if custom(task, hook) else None
            for hook in ("before_start", "on_success", "after_return")
        )
        self.task_init = loader.on_task_init
        self.cleanup = loader.on_process_cleanup
        self.inherit_priority = conf.task_inherit_parent_priority
        self.acks_late = bool(conf.task_acks_late or task.acks_late)
        self.extended = bool(conf.result_extended)
        self.utc = is_utc(app)
        self.deduplicate = bool(conf.worker_deduplicate_successful_tasks)
        self.log = around.log
        self.informs = around.log.isEnabledFor(logging.INFO)
        self.prerun, self.postrun, self.success = (
            around.signals.task_prerun,
            around.signals.task_postrun,
            around.signals.task_success,
        )
        self._terms: dict[bool, Terms] = {}
        self._backend: Any = _NOTHING
        self._store: Any = None
        self.native = False
        self.forgets = False

    def __call__(self, uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        run = self.run(uuid, args, kwargs, request)
        ended = self.traced(run.shown, run.info, run.runtime, run.text)
        if self.held is not None:
            ended.run = run
        return ended

    def run(self, uuid: str, args: Any, kwargs: Any, request: Any = None) -> Run:
        run = Run(self, uuid, args, kwargs)
        run.go(request)
        return run

    async def run_async(self, uuid: str, args: Any, kwargs: Any, request: Any = None) -> Run:
        run = Run(self, uuid, args, kwargs)
        await run.go_async(request)
        return run

    def terms(self, ignored: bool) -> Terms:
        found = self._terms.get(ignored)
        if found is None:
            task = self.task
            found = self._terms[ignored] = rules.terms(
                ignored,
                errors_even_if_ignored=bool(task.store_errors_even_if_ignored),
                track_started=bool(task.track_started),
                eager=self.eager,
                store_eager=bool(task.store_eager_result),
            )
        return found

    def store_of(self, backend: Any) -> Any:
        """The store of a backend of ours that nobody has changed, or None."""
        if backend is not self._backend:
            self._backend, self._store = backend, native(backend)
            self.native = self._store is not None
            self.forgets = isinstance(self._store, DisabledStore)
        return self._store


class Run:
    """One run. `shown`, `info`, `runtime` and `text` are what Celery's tracers return."""

    __slots__ = (
        *("args", "begun", "continued", "debt", "info", "kwargs", "outcome", "request", "retval", "runtime", "shown"),
        *("state", "terms", "text", "tracer", "uuid"),
    )

    def __init__(self, tracer: Tracer, uuid: str, args: Any, kwargs: Any) -> None:
        self.tracer = tracer
        self.uuid = uuid
        self.args = args
        self.kwargs = kwargs
        self.request: Any = None
        self.info: Any = None
        self.shown: Any = None
        self.runtime: Any = None
        self.text: Any = None
        self.retval: Any = None
        self.state: Any = None
        self.outcome: Outcome | None = None
        self.continued = False
        self.debt: Any = None
        self.begun = tracer.monotonic()

    # --- the order of things

    def go(self, request: Any) -> None:
        tracer = self.tracer
        try:
            if self.repeated(request):
                return
            self.enter()
            try:
                self.before()
                outer = limit.enter()
                try:
                    if tracer.before_start is not None:
                        tracer.before_start(self.uuid, self.args, self.kwargs)
                    value = tracer.fun(*self.args, **self.kwargs)
                    if type(value) is CoroutineType:
                        value = LOOPS.wait(value)
                    limit.leave(outer)
                except Exception as exc:  # noqa: BLE001 - whatever a task raises is its outcome
                    limit.leave(outer)
                    self.raised(exc)
                except BaseException as exc:
                    limit.leave(outer)
                    told = None if tracer.eager else limit.own_cancelling(exc)
                    if told is None:
                        raise
                    self.raised(told)
                else:
                    self.returned(value)
                self.after()
            finally:
                self.leave()
        except (MemoryError, tracer.around.Reject):
            raise
        except Exception as exc:  # noqa: BLE001 - what fails around a task must not end the worker
            self.broken(exc, request)

    async def go_async(self, request: Any) -> None:
        """The same, for a running event loop."""
        tracer = self.tracer
        try:
            if self.repeated(request):
                return
            self.enter()
            try:
                self.before()
                try:
                    if tracer.before_start is not None:
                        tracer.before_start(self.uuid, self.args, self.kwargs)
                    value = tracer.fun(*self.args, **self.kwargs)
                    if type(value) is CoroutineType:
                        value = await limit.interruptible(value)
                except Exception as exc:  # noqa: BLE001 - whatever a task raises is its outcome
                    self.raised(exc)
                except BaseException as exc:
                    told = limit.own_cancelling(exc)
                    if told is None:
                        raise
                    self.raised(told)
                else:
                    self.returned(value)
                self.after()
            finally:
                self.leave()
        except (MemoryError, tracer.around.Reject):
            raise
        except Exception as exc:  # noqa: BLE001 - what fails around a task must not end the worker
            self.broken(exc, request)

    # --- before

    def repeated(self, given: Any) -> bool:
        """Make the request. True: the message came again, and the task has succeeded already."""
        tracer = self.tracer
        around = tracer.around
        if not hasattr(self.kwargs, "items"):
            raise around.InvalidTaskError("Task keyword arguments is not a mapping")
        if isinstance(given, around.Context):
            request = given
        else:
            request = around.Context(given or {}, args=self.args, called_directly=False, kwargs=self.kwargs)
        self.request = request
        self.terms = tracer.terms(bool(around.ignores(tracer.task, request)))
        delivery = request.delivery_info
        if not (tracer.deduplicate and delivery and delivery.get("redelivered")):
            return False
        if not rules.asks_before(
            redelivered=True,
            acks_late=tracer.acks_late,
            deduplicate=True,
            persistent=bool(getattr(tracer.app.backend, "persistent", True)),
        ):
            return False
        if request.id in around.successful:
            return True
        meta = around.succeeded_before(tracer.app, request.id)
        if meta is None:
            return False
        self.repeat(meta)
        return True

    def repeat(self, meta: Any) -> None:
        tracer, request = self.tracer, self.request
        around = tracer.around
        shown = {
            "id": request.id,
            "name": self.named,
            "description": "Task already completed successfully.",
        }
        around.log.info(LOG_IGNORED, shown, extra={"data": shown})
        try:
            backend = tracer.task.backend
            for effect in rules.repeated(self.running(), meta.get("children")):
                if isinstance(effect, Continue):
                    around.proceed(tracer.app, request, meta.get("result"), effect, self.priority)
                elif tracer.store_of(backend) is not None:  # one of somebody else's may count it twice
                    backend.on_chord_part_return(request, states.SUCCESS, meta.get("result"))
            around.successful.add(request.id)
        except MemoryError:
            raise
        except Exception as exc:
            text = "Failed to dispatch chain/callbacks for deduplicated task %s"
            around.log.error(text, request.id, exc_info=True)  # noqa: G201 - as Celery logs it
            raise around.Reject(exc, requeue=True)  # noqa: B904 - as Celery raises it

    def enter(self) -> None:
        tracer = self.tracer
        tracer.around.tasks.put(tracer.task)
        tracer.task.request_stack.put(self.request)

    def before(self) -> None:
        tracer, task, uuid = self.tracer, self.tracer.task, self.uuid
        if tracer.prerun.receivers:
            tracer.prerun.send(sender=task, task_id=uuid, task=task, args=self.args, kwargs=self.kwargs)
        tracer.task_init(uuid, task)
        if self.terms.started:
            meta = {"pid": os.getpid(), "hostname": tracer.hostname}
            task.backend.store_result(uuid, meta, states.STARTED, request=self.request)

    # --- success

    def returned(self, value: Any) -> None:
        tracer, request = self.tracer, self.request
        self.retval = self.shown = value
        self.state = states.SUCCESS
        try:
            if request.chord or request.callbacks or request.chain:
                if not self.counted_later(value):
                    self.succeed(value)
            elif self.terms.results:  # what `rules.follow` says of a task that nothing follows
                self.keep(value)
        except Exception as exc:
            trouble = tracer.around.trouble(exc)
            if not rules.fails_the_task(trouble, continued=self.continued):
                raise
            failure = tracer.around.unencodable(exc) if trouble is rules.Trouble.UNWRITABLE else exc
            self.error(failure, states.FAILURE)
            clear_frames(failure)
            return
        short = type(value) in _SHORT or (type(value) is int and -_WIDE < value < _WIDE)
        self.text = repr(value) if short else saferepr(value, tracer.task.resultrepr_maxsize)
        self.runtime = tracer.monotonic() - self.begun
        if tracer.on_success is not None:
            self.hook("on_success", tracer.on_success, value, self.uuid, self.args, self.kwargs)
        if tracer.success.receivers:
            tracer.success.send(sender=tracer.task, result=value, runtime=self.runtime)
        if tracer.informs:
            shown = {
                "id": self.uuid,
                "name": self.named,
                "return_value": self.text,
                "runtime": self.runtime,
                "args": request.get("argsrepr") or safe_repr(self.args),
                "kwargs": request.get("kwargsrepr") or safe_repr(self.kwargs),
            }
            tracer.log.info(LOG_SUCCESS, shown, extra={"data": shown})

    def succeed(self, value: Any) -> None:
        """A success that something follows."""
        tracer, request = self.tracer, self.request
        backend = tracer.task.backend
        own = tracer.store_of(backend) is None and hasattr(backend, "mark_as_done")
        for effect in rules.follow(Outcome(states.SUCCESS, value), self.running(), self.terms):
            if isinstance(effect, Continue):
                tracer.around.proceed(tracer.app, request, value, effect, self.priority)
                self.continued = True
            elif own:
                break
            elif isinstance(effect, Store):
                backend.store_result(self.uuid, value, states.SUCCESS, request=request)
            elif isinstance(effect, ChordPart):
                backend.on_chord_part_return(request, states.SUCCESS, value)
        self.continued = True
        if own:
            backend.mark_as_done(self.uuid, value, request, self.terms.results)

    def keep(self, value: Any) -> None:
        """Store the result of a success that nothing follows: now, or together with others."""
        tracer = self.tracer
        self.continued = True
        backend = tracer.task.backend
        store = tracer.store_of(backend)
        if tracer.forgets:
            return
        if store is None:
            backend.mark_as_done(self.uuid, value, self.request, True)
        elif (held := self.held_by(store)) is None:
            backend.store_result(self.uuid, value, states.SUCCESS, request=self.request)
        else:
            self.hold(held, backend, store, value)

    def held_by(self, store: Any) -> Held | None:
        """Where a result can wait for others. None: it is to be stored now."""
        tracer = self.tracer
        if (
            tracer.held is None
            or tracer.on_success is not None  # who is told of a success may look at its result
            or tracer.success.receivers
            or not tracer.held.takes(store)
        ):
            return None
        return tracer.held

    def counted_later(self, value: Any) -> bool:
        """Of a chord's member that nothing else follows: have its result and its chord wait together with others'.
        False, and nothing done: `succeed` is to see to it."""
        tracer, request = self.tracer, self.request
        chord = request.chord
        if (
            request.callbacks
            or request.chain
            or not self.terms.results
            or not request.group
            or type(chord) is not dict
            or "chord_size" in chord  # Celery 4 counts by it
            or (request.delivery_info or {}).get("redelivered")  # its chord may have to be taken over
        ):
            return False
        backend = tracer.task.backend
        store = tracer.store_of(backend)
        held = None if store is None or tracer.forgets else self.held_by(store)
        if held is None or not held.counts(store):
            return False
        part = held.part(store, request, backend.encode_result(value, states.SUCCESS), self.complete)
        self.hold(held, backend, store, value)
        self.debt.part = part
        self.continued = True
        return True

    def complete(self, claim: Any) -> None:
        """It was the last of its chord."""
        complete(self.tracer.around, self.tracer.task, self.request, claim)

    def hold(self, held: Held, backend: Any, store: Any, value: Any) -> None:
        tracer, request = self.tracer, self.request
        if is_plain(request, value) and not tracer.extended:
            done = done_at(tracer.app, utc=tracer.utc)
            self.debt = held.hold_plain(
                store, request.id, value, done, request.group or None, request.parent_id or None
            )
            if self.debt is not None:
                return
        result = result_of(
            tracer.app, backend, request, states.SUCCESS, value, extended=tracer.extended, utc=tracer.utc
        )
        self.debt = held.hold(store, result)

    # --- anything else

    def raised(self, exc: Exception) -> None:
        around = self.tracer.around
        if isinstance(exc, around.Reject):
            self.refused(exc, states.REJECTED)
        elif isinstance(exc, around.Ignore):
            self.refused(exc, states.IGNORED)
        elif isinstance(exc, around.Retry):
            self.error(exc, states.RETRY, errbacks=False)
        else:
            self.error(exc, states.FAILURE)
        clear_frames(exc)

    def refused(self, exc: Exception, state: str) -> None:
        tracer = self.tracer
        self.info = tracer.info(state, exc)
        self.shown = ExceptionInfo(internal=True)
        self.state, self.retval = state, exc
        handle = self.info.handle_reject if state == states.REJECTED else self.info.handle_ignore
        handle(tracer.task, self.request)

    def error(self, exc: BaseException, state: str, *, errbacks: bool = True) -> None:
        tracer = self.tracer
        if tracer.propagate:
            raise exc
        self.info = tracer.info(state, exc)
        self.shown = self.info.handle_error_state(tracer.task, self.request, eager=tracer.eager, call_errbacks=errbacks)
        self.state, self.retval = self.info.state, self.info.retval

    def after(self) -> None:
        tracer = self.tracer
        if tracer.after_return is not None and self.state not in tracer.ignored_after:
            self.hook(
                "after_return", tracer.after_return, self.state, self.retval, self.uuid, self.args, self.kwargs, None
            )

    def hook(self, name: str, hook: Callable[..., Any], *args: Any) -> None:
        """What it raises changes nothing: the outcome is stored. Whoever called eagerly sees it."""
        tracer = self.tracer
        try:
            hook(*args)
        except (MemoryError, tracer.around.Reject):
            raise
        except Exception as exc:
            if tracer.eager:
                raise
            tracer.log.exception("Task %s[%s] %s handler raised: %r", self.named, self.uuid, name, exc)  # noqa: TRY401 - Celery's line
            clear_frames(exc)

    def leave(self) -> None:
        tracer, task = self.tracer, self.tracer.task
        try:
            if tracer.postrun.receivers:
                tracer.postrun.send(
                    sender=task,
                    task_id=self.uuid,
                    task=task,
                    args=self.args,
                    kwargs=self.kwargs,
                    retval=self.retval,
                    state=self.state,
                )
        finally:
            tracer.around.tasks.pop()
            task.request_stack.pop()
            if not tracer.eager:
                self.clean()

    def clean(self) -> None:
        tracer = self.tracer
        try:
            if not tracer.native and tracer.store_of(tracer.task.backend) is None:
                tracer.task.backend.process_cleanup()
            tracer.cleanup()
        except MemoryError:
            raise
        except Exception as exc:
            tracer.log.error("Process cleanup failed: %r", exc, exc_info=True)  # noqa: G201 - as Celery logs it

    def broken(self, exc: Exception, request: Any) -> None:
        """Something around the task failed: say so, and fail the task."""
        tracer = self.tracer
        signal_internal_error(tracer.around, tracer.task, self.uuid, self.args, self.kwargs, request, exc)
        if tracer.eager:
            raise exc
        self.shown = report_internal_error(exc)
        if self.request is not None:
            shown = self.shown
            self.error(exc, states.FAILURE)
            self.shown = shown
        self.outcome = Outcome(states.FAILURE, exc, internal=True)

    # --- for who ran it

    def report(self) -> Report:
        """What the parent must know."""
        if self.outcome is not None:
            return failed_report(self.outcome.value, getattr(self.shown, "traceback", None), internal=True)
        if self.info is None:
            return Report(states.SUCCESS, Fate.DONE, self.runtime or 0.0, self.text)
        state, exc = self.state, self.retval
        if state == states.FAILURE:
            return failed_report(exc, self.shown.traceback, runtime=self.tracer.monotonic() - self.begun)
        fate = Outcome(state, requeue=bool(getattr(exc, "requeue", False))).fate
        if state == states.RETRY:
            cause = getattr(exc, "exc", None)
            return Report(state, fate, error=safe_repr(exc if cause is None else cause), traceback=self.shown.traceback)
        return Report(state, fate, error=safe_repr(exc), traceback=self.shown.traceback)

    @property
    def named(self) -> str:
        return getattr(self.request, "shadow", None) or self.tracer.name

    @property
    def priority(self) -> int | None:
        """The one that what follows inherits."""
        if not self.tracer.inherit_priority:
            return None
        priority: int | None = (self.request.delivery_info or {}).get("priority")
        return priority

    def running(self) -> Running:
        return running(self.request, self.uuid)

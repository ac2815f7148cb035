"""Running tasks by Celery's names: `build_tracer`, `trace_task`, the log formats, what tools patch and read.

Law: doors onto worker/tracing and worker/recording. `build_tracer` is looked up in this module each time a worker
prepares a task, so whoever replaces it is asked. kombu is not imported before somebody asks for its names.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from socket import gethostname
from typing import Any, NamedTuple
from warnings import warn  # noqa: F401 - a name that others import from here

from ...protocol.errors import BadCall
from ...protocol.rules.continuing import LostStep, called_next, divided_errbacks
from ...protocol.rules.outcome import Continue, Trouble
from ...protocol.rules.signature import Signature, listed
from ...protocol.wire.reprs import saferepr  # noqa: F401 - a name that others import from here
from ...worker import insisting, recording, tracing
from ...worker.einfo import ExceptionInfo, ExceptionWithTraceback, clear_frames
from ...worker.recording import safe_repr
from .. import signals, states
from .._state import _task_stack, current_app
from ..exceptions import BackendGetMetaError, Ignore, InvalidTaskError, NotRegistered, Reject, Retry
from ..utils.log import get_logger
from ..utils.objects import mro_lookup
from .context import Context, get_actual_ignore_result

__all__ = (
    "TraceInfo",
    "build_tracer",
    "reset_worker_optimizations",
    "setup_worker_optimizations",
    "trace_task",
)

logger = get_logger("celery.app.trace")

LOG_RECEIVED = "Task %(name)s[%(id)s] received"
LOG_SUCCESS = tracing.LOG_SUCCESS
LOG_FAILURE = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_INTERNAL_ERROR = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
LOG_IGNORED = tracing.LOG_IGNORED
LOG_REJECTED = "Task %(name)s[%(id)s] %(exc)s"
LOG_RETRY = recording.LOG_RETRY


class log_policy_t(NamedTuple):
    """How an outcome is logged."""

    format: str
    description: str
    severity: int
    traceback: int
    mail: int


log_policy_reject = log_policy_t(LOG_REJECTED, "rejected", logging.WARNING, 1, 1)
log_policy_ignore = log_policy_t(LOG_IGNORED, "ignored", logging.INFO, 0, 0)
log_policy_internal = log_policy_t(LOG_INTERNAL_ERROR, "INTERNAL ERROR", logging.CRITICAL, 1, 1)
log_policy_expected = log_policy_t(LOG_FAILURE, "raised expected", logging.INFO, 0, 0)
log_policy_unexpected = log_policy_t(LOG_FAILURE, "raised unexpected", logging.ERROR, 1, 1)

send_prerun = signals.task_prerun.send
send_postrun = signals.task_postrun.send
send_success = signals.task_success.send
STARTED = states.STARTED
SUCCESS = states.SUCCESS
IGNORED = states.IGNORED
REJECTED = states.REJECTED
RETRY = states.RETRY
FAILURE = states.FAILURE
EXCEPTION_STATES = states.EXCEPTION_STATES
IGNORE_STATES = frozenset({IGNORED, RETRY, REJECTED})

_localized: list[Any] = []
_patched: dict[str, Any] = {}


class trace_ok_t(NamedTuple):
    """What a tracer returns: `info` is None after a success."""

    retval: Any
    info: Any
    runtime: Any
    retstr: Any


class Ended(trace_ok_t):
    """The same with the run that it came of, for the worker that started it."""

    run: Any = None


def traceback_clear(exc: Any = None) -> None:
    """Let go of the locals that a traceback holds."""
    clear_frames(sys.exc_info()[1] if exc is None else exc)


def safe_str(value: Any, errors: str = "replace") -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors)
    return value if isinstance(value, str) else safe_repr(value)


def info(fmt: str, context: Mapping[str, Any]) -> None:
    """Log `fmt % context`; handlers find `context` as `record.data`."""
    logger.info(fmt, context, extra={"data": context})


def task_has_custom(task: Any, attr: str) -> Any:
    """The class that says how, if it is not the base of all tasks."""
    from .task import Task

    return mro_lookup(
        task.__class__, attr, stop={Task, object}, monkey_patched=["celery.app.task", "celeriac.compat.app.task"]
    )


def get_log_policy(task: Any, einfo: Any, exc: Any) -> log_policy_t:
    if isinstance(exc, Reject):
        return log_policy_reject
    if isinstance(exc, Ignore):
        return log_policy_ignore
    if einfo.internal:
        return log_policy_internal
    if task.throws and isinstance(exc, task.throws):
        return log_policy_expected
    return log_policy_unexpected


def get_task_name(request: Any, default: str) -> str:
    """The name to show: the request's `shadow`, if it has one."""
    return getattr(request, "shadow", None) or default


# --- what is around a task


class Surroundings:
    """This process, for worker/tracing: `worker.ports.Surroundings`."""

    Context = Context
    Ignore = Ignore
    Reject = Reject
    Retry = Retry
    InvalidTaskError = InvalidTaskError
    signals: Any = signals
    tasks = _task_stack

    @property
    def log(self) -> logging.Logger:
        return logger

    @property
    def successful(self) -> Any:
        from ..worker.state import successful_requests

        return successful_requests

    def custom(self, task: Any, name: str) -> bool:
        if name == "__call__" and type(task).__call__ is _patched.get("protected"):
            return False  # our own protection of other classes' calls; with nothing to protect it only costs
        return bool(task_has_custom(task, name))

    def ignores(self, task: Any, request: Any) -> bool:
        said = request.__dict__.get("ignore_result")
        return bool(task.ignore_result if said is None else said)

    def trouble(self, exc: BaseException) -> Trouble:
        if isinstance(exc, BadCall):
            return Trouble.UNWRITABLE
        kombu = sys.modules.get("kombu.exceptions")
        if kombu is None:
            return Trouble.OTHER
        if isinstance(exc, kombu.EncodeError):
            return Trouble.UNWRITABLE
        return Trouble.UNREACHABLE if isinstance(exc, kombu.OperationalError) else Trouble.OTHER

    def unencodable(self, exc: BaseException) -> BaseException:
        from kombu.exceptions import EncodeError

        told = exc
        if isinstance(exc, EncodeError):
            told = exc.__cause__ or exc.__context__ or exc
            if not hasattr(told, "cause"):
                return exc
        error: BaseException = EncodeError(getattr(told, "cause", told))
        return error.with_traceback(exc.__traceback__)

    def pickleable(self, exc: BaseException) -> BaseException:
        from ..utils.serialization import get_pickleable_exception

        kept: BaseException = get_pickleable_exception(exc)
        return kept

    def pickleable_type(self, kind: type[BaseException]) -> type[BaseException]:
        from ..utils.serialization import get_pickleable_etype

        kept: type[BaseException] = get_pickleable_etype(kind)
        return kept

    def restored(self, exc: BaseException) -> BaseException:
        from ..utils.serialization import get_pickled_exception

        restored: BaseException = get_pickled_exception(exc)
        return restored

    def soft_limit(self, seconds: float) -> BaseException:
        from ..exceptions import SoftTimeLimitExceeded

        return SoftTimeLimitExceeded()

    def proceed(self, app: Any, request: Any, value: Any, effect: Continue, priority: int | None) -> None:
        from .. import canvas

        task_id = request.id
        lineage = {"parent_id": task_id, "root_id": request.root_id or task_id, "priority": priority}
        signature = partial(canvas.maybe_signature, app=app)
        callbacks = [signature(callback) for callback in effect.callbacks or ()]
        is_group, group = lambda sig: isinstance(sig, canvas.group), partial(canvas.group, app=app)
        with insisting.own(f"What follows task {request.task}[{task_id}]"):
            for sig, options in called_next(callbacks, effect.chain, lineage, is_group, group):
                signature(sig).apply_async((value,), **options)

    def call_errbacks(
        self, app: Any, request: Any, errbacks: Sequence[Signature], exc: BaseException, traceback: str | None
    ) -> None:
        from .. import canvas

        here, away = divided_errbacks(map(_plain, listed(errbacks)), partial(_takes_more, app))
        for sig in here:
            errback = canvas.maybe_signature(sig, app=app)
            try:
                errback(request, exc, traceback)
            except Exception:  # noqa: BLE001 - a user's errback
                get_logger("celery.backends.base").exception("Errback %r raised an exception", errback.name)
        if away:
            group = canvas.group([canvas.maybe_signature(sig, app=app) for sig in away], app=app)
            eager = app.conf.task_always_eager or (request.delivery_info or {}).get("is_eager", False)
            send = group.apply if eager else group.apply_async
            with insisting.own(f"What is called for the failed task {request.task}[{request.id}]"):
                send((request.id,), parent_id=request.id, root_id=request.root_id or request.id)

    def lost(self, step: LostStep) -> Any:
        request = Context(step.sig)
        request.update(step.sig["options"])
        request.id, request.group = step.task_id, step.group_id
        return request

    def send_body(self, backend: Any, request: Any, claim: Any) -> None:
        from ..backends.aftermath import send_body

        send_body(backend, request, claim)

    def has_failed(self, backend: Any, task_id: str) -> bool:
        return backend.get_state(task_id) in states.PROPAGATE_STATES

    def succeeded_before(self, app: Any, task_id: str) -> Mapping[str, Any] | None:
        try:
            meta: Mapping[str, Any] = app.backend.get_task_meta(task_id)
        except BackendGetMetaError:
            return None
        return meta if meta.get("status") == SUCCESS else None


def _plain(sig: Any) -> Any:
    return dict(sig) if isinstance(sig, dict) and type(sig) is not dict else sig


def _takes_more(app: Any, sig: Signature) -> bool:
    """Whether the errback's task is registered here, unbound, and takes more than the id of what failed."""
    try:
        task = app.tasks[sig["task"]]
    except NotRegistered:
        return False
    return takes_more(task, sig)


def takes_more(task: Any, sig: Signature) -> bool:
    """Whether the task, called as the signature says, is unbound and takes more than one argument."""
    from ..utils.functional import arity_greater

    header = getattr(task, "__header__", None)
    if header is None or isinstance(header, partial):
        return False
    if not sig.get("immutable") and (sig.get("args") or sig.get("kwargs")):
        try:
            return bool(arity_greater(partial(header, *(sig.get("args") or ()), **(sig.get("kwargs") or {})), 1))
        except (TypeError, ValueError):
            pass
    return bool(arity_greater(header, 1))


SURROUNDINGS = Surroundings()


# --- tracing


class TraceInfo:
    """What a run came to: its state, and what it raised."""

    __slots__ = ("retval", "state")

    def __init__(self, state: str, retval: Any = None) -> None:
        self.state = state
        self.retval = retval

    def handle_error_state(self, task: Any, req: Any, eager: bool = False, call_errbacks: bool = True) -> Any:
        if get_actual_ignore_result(task, req):
            store_errors = task.store_errors_even_if_ignored
        else:
            store_errors = bool(task.store_eager_result) if eager else True
        handlers: dict[str, Any] = {RETRY: self.handle_retry, FAILURE: self.handle_failure}
        handle = handlers[self.state]
        return handle(task, req, store_errors=store_errors, call_errbacks=call_errbacks)

    def handle_reject(self, task: Any, req: Any, **kwargs: Any) -> None:
        self._log_error(task, req, ExceptionInfo())

    def handle_ignore(self, task: Any, req: Any, **kwargs: Any) -> None:
        self._log_error(task, req, ExceptionInfo())

    def handle_retry(self, task: Any, req: Any, store_errors: bool = True, **kwargs: Any) -> ExceptionInfo:
        return recording.record_retry(SURROUNDINGS, task, req, self.retval, store_errors=store_errors)

    def handle_failure(
        self, task: Any, req: Any, store_errors: bool = True, call_errbacks: bool = True
    ) -> ExceptionInfo:
        einfo = recording.record_failure(
            SURROUNDINGS, task.app, task, req, self.retval, store_errors=store_errors, errbacks=call_errbacks
        )
        self._log_error(task, req, einfo)
        traceback_clear(self.retval)
        return einfo

    def _log_error(self, task: Any, req: Any, einfo: Any) -> None:
        exc: Any = SURROUNDINGS.restored(einfo.exception)
        if isinstance(exc, ExceptionWithTraceback):
            exc = exc.exc
        einfo.exception = exc
        policy = get_log_policy(task, einfo, exc)
        context = {
            "hostname": req.hostname,
            "id": req.id,
            "name": get_task_name(req, task.name),
            "exc": safe_repr(exc),
            "traceback": safe_str(einfo.traceback),
            "args": req.get("argsrepr") or safe_repr(req.args),
            "kwargs": req.get("kwargsrepr") or safe_repr(req.kwargs),
            "description": policy.description,
            "internal": einfo.internal,
        }
        exc_info = einfo.exc_info if policy.traceback else None
        logger.log(policy.severity, policy.format.strip(), context, exc_info=exc_info, extra={"data": context})


def build_tracer(
    name: str,
    task: Any,
    loader: Any = None,
    hostname: str | None = None,
    store_errors: bool = True,
    Info: Any = TraceInfo,
    eager: bool = False,
    propagate: bool = False,
    app: Any = None,
    monotonic: Any = time.monotonic,
    trace_ok_t: Any = trace_ok_t,
    IGNORE_STATES: Any = IGNORE_STATES,
) -> Any:
    """What runs a task: `tracer(uuid, args, kwargs, request) -> trace_ok_t(retval, info, runtime, retstr)`."""
    return tracing.Tracer(
        name,
        task,
        app or task.app,
        SURROUNDINGS,
        info=Info,
        traced=trace_ok_t,
        loader=loader,
        hostname=hostname,
        eager=eager,
        propagate=propagate,
        monotonic=monotonic,
        ignored_after=IGNORE_STATES,
        held=getattr(trace_ok_t, "held", None),
    )


def trace_task(task: Any, uuid: str, args: Any, kwargs: Any, request: Any = None, **opts: Any) -> Any:
    """Run a task with its own tracer, made if it has none."""
    request = request or {}
    try:
        if task.__trace__ is None:
            task.__trace__ = _module().build_tracer(task.name, task, **opts)
        return task.__trace__(uuid, args, kwargs, request)
    except Reject:
        raise
    except Exception as exc:  # noqa: BLE001 - what fails around a task is told, and ends nothing
        _signal_internal_error(task, uuid, args, kwargs, request, exc)
        return trace_ok_t(report_internal_error(task, exc), TraceInfo(FAILURE, exc), 0.0, None)


def _module() -> Any:
    """This module as others see it, with what they have put into it."""
    return sys.modules[__name__]


def _signal_internal_error(task: Any, uuid: str, args: Any, kwargs: Any, request: Any, exc: BaseException) -> None:
    recording.signal_internal_error(SURROUNDINGS, task, uuid, args, kwargs, request, exc)


def report_internal_error(task: Any, exc: BaseException) -> ExceptionInfo:
    return recording.report_internal_error(exc)


def loads_message(
    body: Any, content_type: str | None, content_encoding: str | None, accept: Any = None, **kwargs: Any
) -> Any:
    from kombu.serialization import loads

    return loads(body, content_type, content_encoding, accept=accept, **kwargs)


def prepare_accept_content(content_types: Any, name_to_type: Any = None) -> Any:
    from kombu.serialization import prepare_accept_content as prepare

    return prepare(content_types, name_to_type)


def trace_task_ret(
    name: str,
    uuid: str,
    request: dict[str, Any],
    body: Any,
    content_type: str | None,
    content_encoding: str | None,
    loads: Any = loads_message,
    app: Any = None,
    **extra_request: Any,
) -> Any:
    """Run a message that is still encoded: `(failed, result, runtime)`."""
    app = app or current_app._get_current_object()
    accept = prepare_accept_content(app.conf.accept_content)
    args, kwargs, embed = _body(body, content_type, content_encoding, loads, accept)
    request.update({"args": args, "kwargs": kwargs, "hostname": gethostname(), "is_eager": False}, **embed or {})
    ended = trace_task(app.tasks[name], uuid, args, kwargs, request, app=app)
    return (1, ended.retval, ended.runtime) if ended.info else (0, ended.retstr, ended.runtime)


def fast_trace_task(
    task: str,
    uuid: str,
    request: dict[str, Any],
    body: Any,
    content_type: str | None,
    content_encoding: str | None,
    loads: Any = loads_message,
    _loc: Any = None,
    hostname: str | None = None,
    **_: Any,
) -> Any:
    """The same in a worker that has called `setup_worker_optimizations`."""
    try:
        tasks, accept, hostname = _loc or _localized
    except ValueError:
        raise RuntimeError(
            "fast_trace_task: no tasks are known in this process; setup_worker_optimizations() runs first"
        ) from None
    args, kwargs, embed = _body(body, content_type, content_encoding, loads, accept)
    request.update({"args": args, "kwargs": kwargs, "hostname": hostname, "is_eager": False}, **embed or {})
    ended = tasks[task].__trace__(uuid, args, kwargs, request)
    return (1, ended.retval, ended.runtime) if ended.info else (0, ended.retstr, ended.runtime)


def _body(body: Any, content_type: str | None, content_encoding: str | None, loads: Any, accept: Any) -> Any:
    return loads(body, content_type, content_encoding, accept=accept) if content_type else body


# --- workers


def setup_worker_optimizations(app: Any, hostname: str | None = None) -> None:
    """Make this app the one of the process: all threads of a worker run its tasks."""
    _install_stack_protection()
    app.set_current()
    app.set_default()
    app.finalize()
    accepted = app.conf.accept_content
    _localized[:] = [app._tasks, set(accepted or ()), hostname or gethostname()]
    app.use_fast_trace_task = True


def reset_worker_optimizations(app: Any = current_app) -> None:
    from .task import Task

    if "_stackprotected" in vars(Task):
        delattr(Task, "_stackprotected")
    if "BaseTask.__call__" in _patched:
        Task.__call__ = _patched.pop("BaseTask.__call__")  # type: ignore[method-assign]  # what was there
    app.use_fast_trace_task = False


def _install_stack_protection() -> None:
    """A custom `__call__` that calls its base's: the request that the worker has made must not be hidden by another."""
    from .task import Task

    if getattr(Task, "_stackprotected", False):
        return
    _patched["BaseTask.__call__"] = before = Task.__call__

    def __protected_call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        stack = self.request_stack
        request = stack.top
        if request and not request.get("_protected") and len(stack) == 1 and not request.called_directly:
            request.update(_protected=1)
            return self.run(*args, **kwargs)
        return before(self, *args, **kwargs)

    _patched["protected"] = __protected_call__
    Task.__call__ = __protected_call__  # type: ignore[method-assign]  # as Celery patches it
    setattr(Task, "_stackprotected", True)  # noqa: B010 - a mark that is no attribute of tasks


def _late(name: str) -> Any:
    if name in ("EncodeError", "OperationalError"):
        from kombu import exceptions

        return getattr(exceptions, name)
    if name == "group":
        from ..canvas import group

        return group
    if name == "AsyncResult":
        from ..result import AsyncResult

        return AsyncResult
    if name == "BaseTask":
        from .task import Task

        return Task
    if name == "successful_requests":
        return SURROUNDINGS.successful
    if name in ("get_pickleable_exception", "get_pickleable_etype", "get_pickled_exception"):
        from ..utils import serialization

        return getattr(serialization, name)
    raise AttributeError(f"module 'celery.app.trace' has no attribute {name!r}")


def __getattr__(name: str) -> Any:
    return _late(name)


# --- the program of a pool


def _reader(app: Any) -> Any:
    from ...protocol.wire.message_reading import Reader
    from ...protocol.wire.serializers import accepted
    from ..backends.foreign import codecs

    known = codecs(app.conf.accept_content)
    return Reader(accept=accepted(app.conf.accept_content, known.serializers), codecs=known)


def _recipe(app: Any, hostname: str | None, options: dict[str, Any]) -> Any:
    from .spawning import recipe

    return recipe(app, hostname, options)


def program(app: Any, hostname: str | None = None, **options: Any) -> Any:
    """What runs in a worker's pool: `worker.pools.base.Program`."""
    from ...worker.execute import Execution
    from ..concurrency import calls

    made = Execution(
        app,
        SURROUNDINGS,
        lambda *args, **kwargs: _module().build_tracer(*args, **kwargs),
        Ended,
        hostname=hostname,
        reader=_reader(app),
        **options,
    )
    made.made_by = partial(_recipe, app, hostname, options)
    made._tracers[calls.NAME] = partial(calls.tracer, app)
    return made

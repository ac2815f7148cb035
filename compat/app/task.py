"""The class `Task`: what is known of a task beside its function, and every way to call it.

Law: what a caller or a tool may replace (`apply_async`, `run`, `app.send_task`, `trace.build_tracer`, the `on_*`
handlers) is looked up when it is used. Nothing here imports canvas, results or execution before they are needed.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping

from ...protocol.hints import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast
from .. import states
from .._state import _task_stack, current_app
from ..exceptions import Ignore, ImproperlyConfigured, MaxRetriesExceededError, Reject, Retry
from ..local import class_property
from .context import X_DEATH_HEADERS, Context, get_actual_ignore_result
from .registry import _unpickle_task_v2
from .utils import appstr

if TYPE_CHECKING:
    from ..canvas import Signature
    from ..result import AsyncResult, EagerResult

__all__ = ("X_DEATH_HEADERS", "Context", "Task", "get_actual_ignore_result")

P = ParamSpec("P")
R = TypeVar("R")

TaskType = type  # Celery's name from before tasks were plain classes

# What of a task is an option of each of its calls. `immediate` and `mandatory` are deprecated.
_EXEC_OPTIONS = (
    *("queue", "routing_key", "exchange", "priority", "expires", "serializer", "delivery_mode", "compression"),
    *("time_limit", "soft_time_limit", "immediate", "mandatory"),
)
# Attributes of a task that Celery 6 will not look at any more.
_ROUTING = ("queue", "exchange", "exchange_type", "routing_key", "delivery_mode", "priority")


def extract_exec_options(task: Any) -> dict[str, Any]:
    return {name: getattr(task, name, None) for name in _EXEC_OPTIONS}


class _OperationalError:
    """kombu's class, which costs its import: fetched when somebody catches it."""

    def __get__(self, task: Any, owner: Any = None) -> type[Exception]:
        from kombu.exceptions import OperationalError

        return cast("type[Exception]", OperationalError)


class Task(Generic[P, R]):
    """A task. Calling it runs it here and now; `delay` and `apply_async` send it."""

    __trace__: Any = None
    __v2_compat__ = False

    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError: Any = _OperationalError()

    Strategy: Any = "celery.worker.strategy:default"
    Request: Any = "celery.worker.request:Request"

    _app: Any = None

    name: Any = None
    #: Check the arguments where the task is called. None: as the app's `strict_typing` says.
    typing: Any = None
    #: None: without end.
    max_retries: Any = 3
    default_retry_delay: Any = 3 * 60
    #: Such as "100/s", "100/m" or "100/h".
    rate_limit: Any = None
    ignore_result: Any = None
    #: Remember the tasks that this one starts (`result.children`).
    trail: Any = True
    send_events: Any = True
    store_errors_even_if_ignored: Any = None
    serializer: Any = None
    time_limit: Any = None
    soft_time_limit: Any = None
    #: Store the state STARTED.
    track_started: Any = None
    #: Acknowledge after the run, not before it.
    acks_late: Any = None
    acks_on_failure_or_timeout: Any = None
    acks_on_failure: Any = None
    acks_on_timeout: Any = None
    #: Have the broker give it out again when its process died.
    reject_on_worker_lost: Any = None
    #: Or retry it then, as `retry` would.
    retry_on_worker_lost: Any = None
    #: Exceptions that are no news to anybody.
    throws: Any = ()
    expires: Any = None
    priority: Any = None
    resultrepr_maxsize: Any = 1024

    request_stack: Any = None
    _default_request: Any = None
    abstract = True
    _exec_options: Any = None
    _dump_pydantic_arguments: Any = None
    __bound__ = False

    #: Attributes that are None take the value of the setting.
    from_config: Any = (
        ("serializer", "task_serializer"),
        ("rate_limit", "task_default_rate_limit"),
        ("priority", "task_default_priority"),
        ("time_limit", "task_time_limit"),
        ("soft_time_limit", "task_soft_time_limit"),
        ("track_started", "task_track_started"),
        ("acks_late", "task_acks_late"),
        ("acks_on_failure_or_timeout", "task_acks_on_failure_or_timeout"),
        ("acks_on_failure", "task_acks_on_failure"),
        ("acks_on_timeout", "task_acks_on_timeout"),
        ("reject_on_worker_lost", "task_reject_on_worker_lost"),
        ("retry_on_worker_lost", "task_retry_on_worker_lost"),
        ("ignore_result", "task_ignore_result"),
        ("store_eager_result", "task_store_eager_result"),
        ("store_errors_even_if_ignored", "task_store_errors_even_if_ignored"),
    )

    _backend: Any = None

    # --- what belongs to which app

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Take from the app's configuration what the task does not say itself."""
        was_bound = "__bound__" in cls.__dict__
        cls.__bound__ = True
        cls._app = app
        conf = app.conf
        cls._exec_options = None
        if not was_bound:
            _warn_of_routing(cls)
        if cls.typing is None:
            cls.typing = app.strict_typing
        for attribute, setting in cls.from_config:
            if getattr(cls, attribute, None) is None:
                setattr(cls, attribute, conf[setting])
        either = cls.acks_on_failure_or_timeout
        if cls.acks_on_failure is None:
            cls.acks_on_failure = True if either is None else either
        if cls.acks_on_timeout is None:
            cls.acks_on_timeout = True if either is None else either
        if not was_bound:
            from ..utils.threads import LocalStack

            cls.annotate()
            cls.request_stack = LocalStack()
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """For subclasses: the class has been bound to this app."""

    @classmethod
    def _get_app(cls) -> Any:
        if cls._app is None:
            if cls.__dict__.get("abstract"):
                return current_app  # bound, the base would bind all tasks of all apps
            cls._app = current_app
        if not cls.__bound__:
            cls.bind(cls._app)
        return cls._app

    app: Any = class_property(_get_app, bind)

    @classmethod
    def annotate(cls) -> None:
        """Change the class as `task_annotations` says. `@name` wraps a method."""
        annotations = cls.app.annotations
        if not annotations:
            return
        from .annotations import resolve_all

        for changes in resolve_all(annotations, cls):
            for key, value in changes.items():
                if key.startswith("@"):
                    cls.add_around(key[1:], value)
                else:
                    setattr(cls, key, value)

    @classmethod
    def add_around(cls, attr: str, around: Any) -> None:
        original = getattr(cls, attr)
        original = getattr(original, "__wrapped__", None) or original
        method = around(original)
        method.__wrapped__ = original
        setattr(cls, attr, method)

    # --- running it

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        _task_stack.push(self)
        self.push_request(args=args, kwargs=kwargs)
        try:
            return self.run(*args, **kwargs)
        finally:
            self.pop_request()
            _task_stack.pop()

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the task does."""
        raise NotImplementedError("Tasks must define the run method.")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(types.GenericAlias)

    def start_strategy(self, app: Any, consumer: Any, **kwargs: Any) -> Any:
        from ..utils.imports import symbol_by_name

        return symbol_by_name(self.Strategy)(self, app, consumer, **kwargs)

    # --- calling it

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send it with these arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: Any = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: Any = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """Send it with these arguments and options (`countdown`, `eta`, `expires`, `queue`, `priority`, ...)."""
        if self.soft_time_limit and self.time_limit and self.soft_time_limit > self.time_limit:
            raise ValueError("soft_time_limit must be less than or equal to time_limit")
        if self.typing:
            check = getattr(self, "__header__", None)
            if check is not None:
                check(*(args or ()), **(kwargs or {}))
        app = self._app or self._get_app()
        if producer is None and link is None and link_error is None and shadow is None:
            # Where nobody can tell the difference; None where somebody might.
            given = options if task_id is None else {**options, "task_id": task_id}
            result = app.amqp.shortcuts.apply(self, args, kwargs, given)
            if result is not None:
                return result  # type: ignore[no-any-return]  # an app is Any to its tasks
        shadow = shadow or self.shadow_name(args, kwargs, options)
        options = {**self._get_exec_options(), **options}
        if self._dump_pydantic_arguments is not None and options.get("serializer") != "pickle":
            args, kwargs = self._dump_pydantic_arguments(args, kwargs)
        if "ignore_result" not in options:
            options["ignore_result"] = self.ignore_result
        if app.conf.task_always_eager:
            return self._apply_eagerly(args, kwargs, task_id, producer, link, link_error, options)  # type: ignore[no-any-return]  # an app is Any to its tasks
        return app.send_task(  # type: ignore[no-any-return]  # an app is Any to its tasks
            self.name,
            args,
            kwargs,
            task_id=task_id,
            producer=producer,
            link=link,
            link_error=link_error,
            result_cls=self.AsyncResult,
            shadow=shadow,
            task_type=self,
            **options,
        )

    def _apply_eagerly(
        self, args: Any, kwargs: Any, task_id: Any, producer: Any, link: Any, link_error: Any, options: dict[str, Any]
    ) -> Any:
        """Run it here, on arguments that have been through the serializer as if they had been sent."""
        from kombu import serialization

        from ..result import denied_join_result

        serializer = options.get("serializer") or getattr(producer, "serializer", None)
        content_type, encoding, data = serialization.dumps((args, kwargs), serializer or self.app.conf.task_serializer)
        args, kwargs = serialization.loads(data, content_type, encoding, accept=[content_type])
        with denied_join_result():
            return self.apply(args, kwargs, task_id=task_id or _new_id(), link=link, link_error=link_error, **options)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """`delay` for coroutines: the event loop goes on while the broker is waited for."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult[R]:
        """`apply_async` for coroutines."""
        from asyncio import to_thread

        return await to_thread(self.apply_async, args, kwargs, **options)

    def starmap_async(self, it: Iterable[Any], **options: Any) -> list[AsyncResult[R]]:
        """Send it once for each tuple of arguments, all in batches; gives the results in order."""
        app = self._app or self._get_app()
        return app._sending.starmap(app, self, it, options)  # type: ignore[no-any-return]  # an app is Any to its tasks

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> Any:
        """For subclasses: another name for this call in logs and monitors."""

    def _get_exec_options(self) -> dict[str, Any]:
        if self._exec_options is None:
            self._exec_options = extract_exec_options(self)
        return cast("dict[str, Any]", self._exec_options)

    def apply(
        self,
        args: Any = None,
        kwargs: Any = None,
        link: Any = None,
        link_error: Any = None,
        task_id: Any = None,
        retries: Any = None,
        throw: Any = None,
        logfile: Any = None,
        loglevel: Any = None,
        headers: Any = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Run it here and now, as a worker would. `throw`: raise what it raises (`task_eager_propagates`)."""
        from ..result import EagerResult
        from . import trace

        app = self._get_app()
        task_id = task_id or _new_id()
        retries = retries or 0
        throw = app.conf.task_eager_propagates if throw is None else throw
        task = app._tasks[self.name]  # the instance, whoever called
        request = self._eager_request(task_id, retries, link, link_error, options)
        request.update(logfile=logfile, loglevel=loglevel or 0, headers=headers)
        tracer = trace.build_tracer(task.name, task, eager=True, propagate=throw, app=app)
        traced = tracer(task_id, args or (), kwargs or {}, request)
        value, traceback = traced.retval, None
        if _is_exception_info(value):
            value, traceback = value.exception, value.traceback
            value = getattr(value, "exc", value) if type(value).__name__ == "ExceptionWithTraceback" else value
        if isinstance(value, Retry) and value.sig is not None:
            return value.sig.apply(retries=retries + 1)  # type: ignore[no-any-return]  # an app is Any to its tasks
        state = states.SUCCESS if traced.info is None else traced.info.state
        return EagerResult(task_id, value, state, traceback=traceback, name=self.name)

    def _eager_request(
        self, task_id: str, retries: int, link: Any, link_error: Any, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        from ..utils.nodenames import gethostname

        parent = _task_stack.top
        parent = parent.request if parent else None
        limits = [self.time_limit, self.soft_time_limit]
        request = {
            "id": task_id,
            "task": self.name,
            "parent_id": parent.id if parent else None,
            "root_id": (parent.root_id or task_id) if parent else task_id,
            "retries": retries,
            "is_eager": True,
            "hostname": gethostname(),
            "callbacks": _listed(link),
            "errbacks": _listed(link_error),
            "timelimit": None if limits == [None, None] else limits,
            "ignore_result": options.get("ignore_result", self.ignore_result),
            "delivery_info": {
                "is_eager": True,
                "exchange": options.get("exchange"),
                "routing_key": options.get("routing_key"),
                "priority": options.get("priority"),
            },
        }
        if "stamped_headers" in options:
            names = request["stamped_headers"] = _listed(options["stamped_headers"])
            request["stamps"] = {name: _listed(options.get(name, [])) for name in names or ()}
        return request

    # --- as a part of something greater

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:
        """The result of a call of this task."""
        app = self._app or self._get_app()
        # None: it asks the app when it needs one.
        backend = self._backend if type(self).backend is Task.backend else self.backend
        return app.AsyncResult(task_id, backend=backend, task_name=self.name, **kwargs)  # type: ignore[no-any-return]  # an app is Any to its tasks

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature[R]:
        """A call of this task as a value, with whatever arguments and options there are already."""
        from ..canvas import signature

        starkwargs.setdefault("app", self.app)
        return signature(self, args, *starargs, **starkwargs)  # type: ignore[no-any-return,unused-ignore]  # an app is Any to its tasks

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """`signature` with these arguments. There may be fewer than the task takes: the others come later."""
        if type(self).signature is not Task.signature:
            return self.signature(args, kwargs)
        return _signatures().of_task(self, args, kwargs)  # type: ignore[no-any-return]  # groups of any size are made so

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """`signature` with exactly these arguments, whatever comes before it."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it: Iterable[Any], n: int) -> Any:
        """Calls for the tuples of `it`, n of them in one message."""
        from ..canvas import chunks

        return chunks(self.s(), it, n, app=self.app)

    def map(self, it: Iterable[Any]) -> Any:
        """One task that calls this one with each item of `it`."""
        from ..canvas import xmap

        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> Any:
        """One task that calls this one with each tuple of `it`."""
        from ..canvas import xstarmap

        return xstarmap(self.s(), it, app=self.app)

    # --- while it runs

    def signature_from_request(
        self, request: Any = None, args: Any = None, kwargs: Any = None, queue: Any = None, **extra_options: Any
    ) -> Any:
        """The call that is running, once more."""
        request = self.request if request is None else request
        args = request.args if args is None else args
        kwargs = request.kwargs if kwargs is None else kwargs
        options = {
            **request.as_execution_options(),
            "ignore_result": get_actual_ignore_result(self, request),
            **extra_options,
        }
        place = request.delivery_info or {}
        if place.get("priority") is not None:
            options["priority"] = place["priority"]
        if queue:
            options["queue"] = queue
        elif place.get("exchange") == "" and place.get("routing_key"):
            options["queue"] = place["routing_key"]  # it came straight to a queue
        else:
            options.update(place)
        return self.signature(args, kwargs, options, type=self, **extra_options)

    subtask_from_request = signature_from_request

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: Any = None,
        throw: bool = True,
        eta: Any = None,
        countdown: Any = None,
        max_retries: Any = None,
        **options: Any,
    ) -> Any:
        """Send the running call once more, and raise `Retry`, which tells the worker so (not with `throw=False`).

        When it has been retried `max_retries` times it raises `exc`, or else MaxRetriesExceededError.
        """
        from ...protocol.rules.retry import Exhausted
        from ...protocol.rules.retry import retry as decide
        from ...worker import insisting

        request = self.request
        if max_retries is not None:
            self.override_max_retries = max_retries
        if request.called_directly:  # by hand: there is nobody to send it
            _raise_with_context(exc or Retry("Task can be retried", None))
        mine = self.max_retries, self.default_retry_delay
        decision = decide(request.retries, *mine, countdown=countdown, eta=eta, max_retries=max_retries)
        if not eta and countdown is None:
            countdown = self.default_retry_delay
        args, kwargs = _retry_arguments(self.run, request, args, kwargs)
        sig = self.signature_from_request(
            request, args, kwargs, countdown=countdown, eta=eta, retries=decision.retries, **options
        )
        if isinstance(decision, Exhausted):
            if exc:
                _raise_with_context(exc)
            raise self.MaxRetriesExceededError(
                f"Can't retry {self.name}[{request.id}] args:{sig.args} kwargs:{sig.kwargs}",
                task_args=sig.args,
                task_kwargs=sig.kwargs,
            )
        again = Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager, sig=sig)
        if not request.is_eager:  # `apply` runs it again itself
            try:
                with insisting.own(f"The retry of task {self.name}[{request.id}]"):
                    sig.apply_async()
            except Exception as problem:
                raise Reject(problem, requeue=False) from problem
        if throw:
            raise again
        return again

    def replace(self, sig: Any) -> Any:
        """End here, and have this signature run in the place of this task, with its id and all that follows it."""
        from ..canvas import _chain, group, signature  # type: ignore[attr-defined]  # Celery's name for chains

        request = self.request
        chord = request.chord
        if "chord" in sig.options:
            raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
        if isinstance(sig, _chain) and not getattr(sig, "tasks", True):
            raise ImproperlyConfigured("Cannot replace with an empty chain")
        # What follows a group waits for all of it, so a group becomes the header of a chord.
        if isinstance(sig, group):
            sig |= self.app.tasks["celery.accumulate"].s(index=0)
        if isinstance(sig, _chain) and isinstance(sig.tasks[-1], group):
            sig.tasks = list(sig.tasks)
            sig.tasks[-1] |= self.app.tasks["celery.accumulate"].s(index=0)
        for callback in _listed(request.callbacks) or ():
            sig.link(callback)
        for errback in _listed(request.errbacks) or ():
            sig.link_error(errback)
        if isinstance(sig, _chain) and "link" in sig.options:
            # They follow the last task; left on the chain they would run twice once it grows below.
            sig.tasks[-1].options.setdefault("link", []).extend(_listed(sig.options.pop("link")))
        sig.freeze(request.id)
        nesting = request.get("replaced_task_nesting", 0) + 1
        sig.set(
            chord=chord,
            group_id=request.group,
            group_index=request.group_index,
            root_id=request.root_id,
            replaced_task_nesting=nesting,
        )
        if isinstance(sig, _chain):
            for task in sig.tasks or ():
                task.set(replaced_task_nesting=nesting)
        for following in reversed(request.chain or []):
            task = signature(following, app=self.app)
            task.set(replaced_task_nesting=nesting)
            sig |= task
        return self.on_replace(sig)

    def on_replace(self, sig: Any) -> Any:
        """For subclasses, which end with `return super().on_replace(sig)`."""
        if self.request.is_eager:
            return sig.apply().get(disable_sync_subtasks=False)  # it has run already: nothing is waited for
        sig.delay()
        raise Ignore("Replaced by new task")

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add this signature to the header of the chord that the task belongs to."""
        request = self.request
        if not request.chord:
            raise ValueError("Current task is not member of any chord")
        sig.set(group_id=request.group, group_index=request.group_index, chord=request.chord, root_id=request.root_id)
        self.backend.add_to_chord(request.group, sig.freeze())
        return sig if lazy else sig.delay()

    def update_state(self, task_id: Any = None, state: Any = None, meta: Any = None, **kwargs: Any) -> None:
        """Store this state, and whatever is to be known of it, as the task's result."""
        if task_id is None:
            task_id = self.request.id
        self.backend.store_result(task_id, meta, state, request=self.request, **kwargs)

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> Any:
        """Send an event of this type about this task to the monitors."""
        request = self.request
        if retry_policy is None:
            retry_policy = self.app.conf.task_publish_retry_policy
        with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            return dispatcher.send(type_, uuid=request.id, retry=retry, retry_policy=retry_policy, **fields)

    def add_trail(self, result: Any) -> Any:
        if self.trail:
            self.request.children.append(result)
        return result

    def before_start(self, task_id: Any, args: Any, kwargs: Any) -> None:
        """For subclasses: called before each run."""

    def on_success(self, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None:
        """For subclasses: called when it has succeeded."""

    def on_retry(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """For subclasses: called when it will be retried."""

    def on_failure(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """For subclasses: called when it has failed."""

    def after_return(self, status: Any, retval: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """For subclasses: called when it is over, however."""

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        self.request_stack.push(Context(*args, **{**self.request.__dict__, **kwargs}))

    def pop_request(self) -> None:
        self.request_stack.pop()

    def _get_request(self) -> Context:
        request = self.request_stack.top
        if request is not None:
            return cast("Context", request)
        if self._default_request is None:  # nobody called it, and somebody asks all the same
            self._default_request = Context()
        return cast("Context", self._default_request)

    request = property(_get_request)

    @property
    def backend(self) -> Any:
        """The result backend: its own, or the app's."""
        backend = self._backend
        return self.app.backend if backend is None else backend

    @backend.setter
    def backend(self, value: Any) -> None:
        self._backend = value

    # --- the object

    @property
    def __name__(self) -> str:
        return type(self).__name__  # type: ignore[return-value]  # a property of instances, and a text of the class

    def __reduce__(self) -> Any:
        """By name: whoever reads it has the task too, at the latest when it has imported the module."""
        module = type(self).__module__
        return _unpickle_task_v2, (self.name, module if module and module in sys.modules else None), None

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {appstr(self._app) if self._app else None}>"


BaseTask = Task
Task.__module__ = "celery.app.task"  # what is pickled under Celery's names is found by stock workers too


def _warn_of_routing(cls: Any) -> None:
    for attribute in _ROUTING:
        if attribute in cls.__dict__:
            from ..utils import deprecated

            deprecated.warn(
                description=f"The {attribute!r} task attribute",
                removal="6.0",
                alternative="Use the task_routes setting instead.",
            )


def _new_id() -> str:
    from ..utils import uuid

    return uuid()


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, (list, tuple)) else [value]


def _signatures() -> Any:
    """The module, which is not loaded before there is a signature, nor looked for at each."""
    global _signatures_module
    if _signatures_module is None:
        from ..canvas import signatures

        _signatures_module = signatures
    return _signatures_module


_signatures_module: Any = None


def _is_exception_info(value: Any) -> bool:
    """Ours, or billiard's where a tool has put its own tracer in."""
    return type(value).__name__ == "ExceptionInfo" and hasattr(value, "exception")


def _raise_with_context(exc: BaseException) -> None:
    current = sys.exc_info()[1]
    if current is exc:
        raise  # noqa: PLE0704  # called while it is being handled
    raise exc from current


def _retry_arguments(run: Any, request: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Only args, or only kwargs, given: those of the others that name the same parameters give way."""
    if (args is None) == (kwargs is None) or not (request.kwargs if kwargs is None else request.args):
        return args, kwargs
    import inspect

    try:
        signature = inspect.signature(run)
    except (TypeError, ValueError):
        return args, kwargs  # checked where it is called
    parameters = signature.parameters
    if kwargs is None:
        either = inspect.Parameter.POSITIONAL_OR_KEYWORD
        positional = [one for one in parameters.values() if one.kind in (inspect.Parameter.POSITIONAL_ONLY, either)]
        taken = {one.name for one in positional[: len(args)] if one.kind == either}
        return args, {name: value for name, value in request.kwargs.items() if name not in taken}
    try:
        bound = signature.bind_partial(*request.args)
    except TypeError:
        return args, kwargs
    rest = dict(kwargs)
    for name in kwargs:
        if name in bound.arguments and parameters[name].kind == inspect.Parameter.POSITIONAL_OR_KEYWORD:
            bound.arguments[name] = rest.pop(name)
    return bound.args, {**bound.kwargs, **rest}

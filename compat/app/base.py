"""The class `Celery`: one application, its configuration, its tasks and the doors to everything else.

Law: making an app and decorating tasks loads no kombu, no transport, no worker. What costs is loaded by the first
access to it, and every string that names one of Celery's own classes is resolved in this house (`symbol_by_name`).
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable
from functools import cached_property
from operator import attrgetter

from ...protocol.hints import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload
from ...protocol.moments import datetime
from ...protocol.moments import timezone as datetime_timezone
from ...worker.ids import new_id
from ...worker.late import uncollected
from .. import _state
from .._state import (
    _announce_app_finalized,
    _deregister_app,
    _register_app,
    _set_current_app,
    _task_stack,
    connect_on_app_finalize,
    get_current_app,
    get_current_worker_task,
    set_default_app,
)
from ..local import PromiseProxy, maybe_evaluate
from ..utils.dispatch import Signal
from ..utils.imports import gen_task_name, symbol_by_name
from .configuring import PendingConfiguration, load
from .header import Header
from .registry import TaskRegistry
from .utils import (
    AppPickler,
    Settings,
    _new_key_to_old,
    _old_key_to_new,
    _unpickle_app,
    _unpickle_app_v2,
    appstr,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from .decorators import BoundDecorator, Decorator
    from .task import Task

__all__ = ("Celery",)

P = ParamSpec("P")
R = TypeVar("R")

BUILTIN_FIXUPS = {"celery.fixups.django:fixup"}
# What results in Redis are configured by, and the module that serves them.
_SILENT_BACKENDS = frozenset({"redis", "rediss"})
_REDIS_BACKEND = f"{__package__.rpartition('.')[0]}.backends.redis"
# A child of a pool that was spawned imports the module of its tasks with an app of its own.
USING_EXECV = os.environ.get("FORKED_BY_MULTIPROCESSING")


def app_has_custom(app: Any, attr: str) -> bool:
    """Whether a subclass of Celery has its own `attr`."""
    for cls in type(app).__mro__:
        if cls is Celery:
            return False
        if attr in cls.__dict__:
            return True
    return False


def _unpickle_appattr(reverse_name: str, args: tuple[Any, ...]) -> Any:
    return get_current_app()._rgetattr(reverse_name)(*args)


def _after_fork_cleanup_apps() -> None:
    for app in list(_state._get_active_apps()):
        try:
            app._after_fork()
        except Exception:  # noqa: PERF203 - a child must start, whatever a receiver of on_after_fork does
            import logging

            logging.getLogger(__name__).info("an app could not be made ready after a fork", exc_info=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_cleanup_apps)


@connect_on_app_finalize
def _add_builtins(app: Celery) -> None:
    from . import builtins

    for add in builtins.EACH:
        add(app)


class Celery:
    """An application. See the arguments of stock Celery's class of this name: they are the same."""

    Pickler = AppPickler

    SYSTEM = os.uname().sysname if hasattr(os, "uname") else "Windows"
    IS_macOS, IS_WINDOWS = SYSTEM == "Darwin", SYSTEM == "Windows"

    #: Stands for `__main__` in the names of tasks.
    main: str | None = None
    user_options: Any = None
    steps: Any = None

    builtin_fixups = BUILTIN_FIXUPS

    amqp_cls: Any = "celery.app.amqp:AMQP"
    backend_cls: Any = None
    events_cls: Any = "celery.app.events:Events"
    loader_cls: Any = None
    log_cls: Any = "celery.app.log:Logging"
    control_cls: Any = "celery.app.control:Control"
    task_cls: Any = "celery.app.task:Task"
    registry_cls: Any = "celery.app.registry:TaskRegistry"

    _local: Any = None
    _fixups: Any = None
    _pool: Any = None
    _conf: Any = None

    #: Sent when the configuration is about to be read.
    on_configure: Any = None
    #: Sent when it has been read, with `source`.
    on_after_configure: Any = None
    #: Sent when every task that is known is registered and bound.
    on_after_finalize: Any = None
    #: Sent in every new process after a fork.
    on_after_fork: Any = None

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: Any = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: Any = None,
        include: Any = None,
        changes: Any = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **kwargs: Any,
    ) -> None:
        self._local = threading.local()
        self._backend_cache: Any = None
        self.main = main
        self.amqp_cls = amqp or self.amqp_cls
        self.events_cls = events or self.events_cls
        self.loader_cls = loader or self._get_default_loader()
        self.log_cls = log or self.log_cls
        self.control_cls = control or self.control_cls
        self._custom_task_cls_used = bool(task_cls) or app_has_custom(self, "task_cls")
        self.task_cls = task_cls or self.task_cls
        self.set_as_current = set_as_current
        self.registry_cls = symbol_by_name(self.registry_cls)
        self.user_options = defaultdict(set)
        self.steps = defaultdict(set)
        self.autofinalize = autofinalize
        self.namespace = namespace
        self.strict_typing = strict_typing

        self.configured = False
        self._config_source = config_source
        self._config_source_silent = config_source_silent
        self._pending_defaults: deque[Any] = deque()
        self._pending_periodic_tasks: deque[Any] = deque()

        self.finalized = False
        self._finalize_mutex = threading.RLock()
        self._pending: deque[Any] = deque()
        self._duplicate_task_names_warned: set[str] = set()
        self._tasks = tasks if isinstance(tasks, TaskRegistry) else self.registry_cls(tasks or {})

        # Whoever has arguments of its own for pickling has them as a list, the old way.
        self._using_v1_reduce = app_has_custom(self, "__reduce_args__")

        # Kept as configuration, so that a pickled app has them.
        self._preconf = changes or {}
        self._preconf_set_by_auto: set[str] = set()
        for key, value in {"broker_url": broker, "result_backend": backend, "include": include, **kwargs}.items():
            if value is not None:
                self._preconf[key] = value
                self._preconf_set_by_auto.add(key)
        self._conf = Settings(
            PendingConfiguration(self._preconf, self._finalize_pending_conf),
            prefix=self.namespace,
            keys=(_old_key_to_new, _new_key_to_old),
        )

        self.fixups = set(self.builtin_fixups) if fixups is None else fixups
        self._fixups = [_fix_up(fixup, self) for fixup in self.fixups]  # kept: receivers hold them weakly

        if self.set_as_current:
            self.set_current()

        if self.on_configure is None:  # a subclass may have a method of this name
            self.on_configure = Signal(name="app.on_configure")
        self.on_after_configure = Signal(name="app.on_after_configure", providing_args={"source"})
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.on_after_fork = Signal(name="app.on_after_fork")

        self.use_fast_trace_task = False

        self.on_init()
        _register_app(self)

    def _get_default_loader(self) -> Any:
        # `--loader` sets the variable.
        return os.environ.get("CELERY_LOADER") or self.loader_cls or "celery.loaders.app:AppLoader"

    def on_init(self) -> None:
        """For subclasses: called when the app has been made."""

    def set_current(self) -> None:
        """Make this the current app of this thread."""
        _set_current_app(self)

    def set_default(self) -> None:
        """Make this the current app of threads that have no other."""
        set_default_app(self)

    def close(self) -> None:
        """Leave the broker, and be forgotten as an app that shared tasks register with."""
        self._pool = None
        if "amqp" in self.__dict__:
            self._sending.close(self)
        _deregister_app(self)

    # --- programs

    def start(self, argv: Any = None) -> Any:
        """Run the `celery` program with these arguments, or those of the process."""
        from click.exceptions import Exit

        from ..bin.celery import celery

        celery.params[0].default = self
        try:
            celery.main(args=sys.argv if argv is None else argv, standalone_mode=False)
        except Exit as exit_:
            return exit_.exit_code
        finally:
            celery.params[0].default = None
        return None

    def worker_main(self, argv: Any = None) -> None:
        """Run `celery worker` with these arguments, or those of the process."""
        argv = sys.argv if argv is None else argv
        if "worker" not in argv:
            raise ValueError("argv names no worker sub-command: put 'worker' into it, or use app.start()")
        self.start(argv=argv)

    # --- tasks

    # The overloads of coroutine functions come first: what they return is what the task returns.
    @overload
    def task(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, *, bind: Literal[True], **opts: Any) -> BoundDecorator: ...
    @overload
    def task(self, *, bind: Literal[False] = False, **opts: Any) -> Decorator: ...
    def task(self, *args: Any, **opts: Any) -> Any:
        """Make a task of a function: `@app.task`, or `@app.task(**options)`.

        The task is made when it is first used or when the app is finalized, so that it may still be configured.
        """
        if USING_EXECV and opts.get("lazy", True):
            from . import shared_task

            opts["lazy"] = False
            return shared_task(*args, **opts)
        if len(args) == 1:
            if callable(args[0]):
                return self._task_decorator(**opts)(args[0])
            raise TypeError("argument 1 to @task() must be a callable")
        if args:
            raise TypeError(f"@task() takes exactly 1 argument ({len(args) + len(opts)} given)")
        return self._task_decorator(**opts)

    def _task_decorator(
        self, shared: bool = True, filter: Any = None, lazy: bool = True, **opts: Any
    ) -> Callable[[Any], Any]:
        def decorate(fun: Any) -> Any:
            if shared:

                def cons(app: Celery) -> Any:
                    return app._task_from_fun(fun, **opts)

                cons.__name__ = fun.__name__
                connect_on_app_finalize(cons)
            if lazy and not self.finalized:
                task = PromiseProxy(self._task_from_fun, (fun,), opts, __doc__=fun.__doc__)
                self._pending.append(task)
            else:
                task = self._task_from_fun(fun, **opts)
            return filter(task) if filter else task

        return decorate

    @cached_property
    def _making(self) -> Any:
        from . import making

        return making

    def type_checker(self, fun: Any, bound: bool = False) -> Any:
        """What checks the arguments of calls of `fun`: made at the first of them."""
        return Header(fun, bound=bound)

    def _task_from_fun(
        self,
        fun: Any,
        name: str | None = None,
        base: Any = None,
        bind: bool = False,
        pydantic: bool = False,
        pydantic_strict: bool = False,
        pydantic_context: dict[str, Any] | None = None,
        pydantic_dump_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        if not self.finalized and not self.autofinalize:
            raise RuntimeError("Contract breach: app not finalized")
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        models = (pydantic_strict, pydantic_context, pydantic_dump_kwargs) if pydantic is True else None
        return self._making.task_of(self, fun, name, base, bind, models, options)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Register a task that is a class, or an instance of one."""
        task = task() if isinstance(task, type) else task
        if not task.name:
            task.name = self.gen_task_name(type(task).__name__, type(task).__module__)
        return self._making.registered(self, task, options)

    def gen_task_name(self, name: str, module: str) -> str:
        """The name that a task gets when it is given none. Subclasses may have their own way."""
        return gen_task_name(self, name, module)

    def finalize(self, auto: bool = False) -> None:
        """Make every task that was declared, and bind them all. `auto`: nobody asked for it by name."""
        with self._finalize_mutex:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("Contract breach: app not finalized")
            self.finalized = True
            _announce_app_finalized(self)
            while self._pending:
                maybe_evaluate(self._pending.popleft())
            for task in list(self._tasks.values()):
                task.bind(self)
            self.on_after_finalize.send(sender=self)

    def autodiscover_tasks(self, packages: Any = None, related_name: str | None = "tasks", force: bool = False) -> Any:
        """Have `package.tasks` imported for each of these packages, when a program imports its tasks (or at once).

        `packages` may be a callable. Without any, the fix-ups are asked: Django knows its applications.
        """
        if force:
            return self._autodiscover_tasks(packages, related_name)
        from ..signals import import_modules

        def discover(*_: Any, **__: Any) -> Any:
            return self._autodiscover_tasks(packages, related_name)

        import_modules.connect(discover, weak=False, sender=self)
        return None

    def _autodiscover_tasks(self, packages: Any, related_name: str | None, **kwargs: Any) -> Any:
        if packages:
            return self._autodiscover_tasks_from_names(packages, related_name)
        return self._autodiscover_tasks_from_fixups(related_name)

    def _autodiscover_tasks_from_names(self, packages: Any, related_name: str | None) -> Any:
        return self.loader.autodiscover_tasks(packages() if callable(packages) else packages, related_name)

    def _autodiscover_tasks_from_fixups(self, related_name: str | None) -> Any:
        able = [fixup for fixup in self._fixups if hasattr(fixup, "autodiscover_tasks")]
        return self._autodiscover_tasks_from_names(
            [package for fixup in able for package in fixup.autodiscover_tasks()], related_name=related_name
        )

    # --- configuration

    @property
    def conf(self) -> Any:
        """The configuration."""
        if self._conf is None:
            self._conf = self._load_config()
        return self._conf

    @conf.setter
    def conf(self, settings: Any) -> None:
        self._conf = settings

    def add_defaults(self, fun: Any) -> Any:
        """Add defaults: a mapping, or a callable that gives one when the configuration is read."""
        defaults = fun if callable(fun) else lambda: fun
        if self.configured:
            return self._conf.add_defaults(defaults())
        self._pending_defaults.append(defaults)
        return None

    def config_from_object(self, obj: Any, silent: bool = False, force: bool = False, namespace: Any = None) -> Any:
        """Read the configuration from an object or a module's name: at the first need, or at once with `force`."""
        self._config_source = obj
        self._config_source_silent = silent
        self.namespace = namespace or self.namespace
        if (force or self.configured) and self.loader.config_from_object(obj, silent=silent):
            self._conf = None
            return self.conf
        return None

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> Any:
        """Read the configuration from the module that an environment variable names."""
        module = os.environ.get(variable_name)
        if module:
            return self.config_from_object(module, silent=silent, force=force)
        if silent:
            return False
        from ..exceptions import ImproperlyConfigured

        raise ImproperlyConfigured(
            f"The environment variable {variable_name!r} is not set, so there is no configuration to load. "
            f"Set it to the name of a module, such as {variable_name}=proj.celeryconfig"
        )

    def config_from_cmdline(self, argv: Any, namespace: str = "celery") -> None:
        self._conf.update(self.loader.cmdline_config_parser(argv, namespace))

    def prepare_config(self, c: Any) -> Any:
        """For subclasses: the configuration as it was read, before defaults are put below it."""
        from .defaults import find_deprecated_settings

        return find_deprecated_settings(c)

    def _finalize_pending_conf(self) -> Any:
        try:
            conf = self._conf = self._load_config()
        except AttributeError as problem:
            # Seen as a missing attribute of the settings it would end in a recursion that says nothing.
            raise ModuleNotFoundError(*problem.args) from problem
        return conf

    def _load_config(self) -> Any:
        return load(self)

    def either(self, default_key: str, *defaults: Any) -> Any:
        """The first of `defaults` that is not None, else the setting."""
        given = next((value for value in defaults if value is not None), None)
        return self.conf.get(default_key) if given is None else given

    def setup_security(
        self,
        allowed_serializers: Any = None,
        key: Any = None,
        key_password: Any = None,
        cert: Any = None,
        store: Any = None,
        digest: Any = "sha256",
        serializer: str = "json",
    ) -> Any:
        """Sign messages and refuse unsigned ones, for every app of this process."""
        from ..security import setup_security

        return setup_security(allowed_serializers, key, key_password, cert, store, digest, serializer, app=self)

    # --- sending

    @cached_property
    def _sending(self) -> Any:
        from . import sending

        return sending

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Call a task by its name. Takes what `Task.apply_async` takes, and `result_cls`."""
        if rest:
            options.update(zip(_SEND_TASK_REST, rest, strict=False))
        return self._sending.send_task(self, name, args, kwargs, **options)

    def send_many(self, calls: Iterable[Any], producer: Any = None) -> list[Any]:
        """Call many tasks at once: signatures, or `(task, args, kwargs, options)` as far as needed.

        Far quicker than one by one, as the broker gets them in batches. Gives their results, in order.
        """
        return self._sending.send_many(self, calls, producer)  # type: ignore[no-any-return]  # sending is loaded late

    async def asend_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """`send_task` for coroutines: the event loop goes on while the broker is waited for."""
        from asyncio import to_thread

        return await to_thread(self.send_task, name, args, kwargs, **options)

    async def asend_many(self, calls: Iterable[Any]) -> list[Any]:
        """`send_many` for coroutines."""
        from asyncio import to_thread

        return await to_thread(self.send_many, calls)

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """A signature that belongs to this app."""
        kwargs["app"] = self
        return self._canvas.signature(*args, **kwargs)

    # --- kombu's objects, for whoever asks for them

    def connection_for_read(self, url: Any = None, **kwargs: Any) -> Any:
        """A kombu connection to consume with."""
        return self._connection(url or self.conf.broker_read_url, **kwargs)

    def connection_for_write(self, url: Any = None, **kwargs: Any) -> Any:
        """A kombu connection to produce with."""
        return self._connection(url or self.conf.broker_write_url, **kwargs)

    def connection(
        self,
        hostname: Any = None,
        userid: Any = None,
        password: Any = None,
        virtual_host: Any = None,
        port: Any = None,
        ssl: Any = None,
        connect_timeout: Any = None,
        transport: Any = None,
        transport_options: Any = None,
        heartbeat: Any = None,
        login_method: Any = None,
        failover_strategy: Any = None,
        **kwargs: Any,
    ) -> Any:
        """A kombu connection; `connection_for_read` and `connection_for_write` say what for."""
        return self.connection_for_write(
            hostname or self.conf.broker_write_url,
            userid=userid,
            password=password,
            virtual_host=virtual_host,
            port=port,
            ssl=ssl,
            connect_timeout=connect_timeout,
            transport=transport,
            transport_options=transport_options,
            heartbeat=heartbeat,
            login_method=login_method,
            failover_strategy=failover_strategy,
            **kwargs,
        )

    def _connection(
        self,
        url: Any,
        userid: Any = None,
        password: Any = None,
        virtual_host: Any = None,
        port: Any = None,
        ssl: Any = None,
        connect_timeout: Any = None,
        transport: Any = None,
        transport_options: Any = None,
        heartbeat: Any = None,
        login_method: Any = None,
        failover_strategy: Any = None,
        **kwargs: Any,
    ) -> Any:
        given = (userid, password, virtual_host, port, ssl, connect_timeout, transport, transport_options)
        return self._connecting.connection(self, url, *given, heartbeat, login_method, failover_strategy)

    broker_connection = connection

    @cached_property
    def _connecting(self) -> Any:
        from . import connecting

        return connecting

    def _acquire_connection(self, pool: bool = True) -> Any:
        return self._connecting.acquired(self, self.pool) if pool else self.connection_for_write()

    def _acquire_producer(self, timeout: float | None = None) -> Any:
        return self._connecting.acquired(self, self.producer_pool)

    def connection_or_acquire(self, connection: Any = None, pool: bool = True, *_: Any, **__: Any) -> Any:
        """`with` gives this connection, or one of the pool."""
        from ..utils.objects import FallbackContext  # by name: exporters ask whether it is one, and call its fallback

        return FallbackContext(connection, self._acquire_connection, pool=pool)

    default_connection = connection_or_acquire

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """`with` gives this producer, or one of the pool."""
        from ..utils.objects import FallbackContext

        return FallbackContext(producer, self._acquire_producer)

    default_producer = producer_or_acquire

    @property
    def pool(self) -> Any:
        """kombu's pool of connections to the broker."""
        if self._pool is None:
            self._pool = self._connecting.pool(self)
        return self._pool

    @property
    def producer_pool(self) -> Any:
        return self.amqp.producer_pool

    def _after_fork(self) -> None:
        self._pool = None
        self._local = threading.local()
        self.__dict__.pop("oid", None)
        amqp = self.__dict__.get("amqp")
        if amqp is not None:
            amqp._producer_pool = None
        self.on_after_fork.send(sender=self)

    # --- time

    def now(self) -> datetime:
        """The time, in the app's time zone."""
        return datetime.now(datetime_timezone.utc).astimezone(self.timezone)

    @cached_property
    def timezone(self) -> Any:
        """The time zone of the app: the setting, else UTC, else (without `enable_utc`) the machine's."""
        from ..utils.time import timezone

        conf = self.conf
        if conf.timezone:
            return timezone.get_timezone(conf.timezone)
        return timezone.utc if conf.enable_utc else timezone.local

    def uses_utc_timezone(self) -> bool:
        from ..utils.time import timezone

        return bool(self.timezone == timezone.utc)

    # --- beat

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = (), name: str | None = None, **opts: Any
    ) -> str:
        """Have beat send `sig` by this schedule; returns its key, which is the name or the signature's text."""
        key, entry = self._sig_to_periodic_task_entry(schedule, sig, args, kwargs, name, **opts)
        if self.configured:
            self._add_periodic_task(key, entry, name=name)
        else:
            self._pending_periodic_tasks.append([(key, entry), {"name": name}])
        return key

    def _sig_to_periodic_task_entry(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> tuple[str, dict[str, Any]]:
        from ..canvas import Signature

        kwargs = kwargs or {}
        sig = sig.clone(args, kwargs) if isinstance(sig, Signature) else self.signature(sig.name, args, kwargs)
        entry = {"schedule": schedule, "task": sig.name, "args": sig.args, "kwargs": sig.kwargs}
        return name or repr(sig), {**entry, "options": dict(sig.options, **opts)}

    def _add_periodic_task(self, key: str, entry: dict[str, Any], name: str | None = None) -> None:
        if name is None and key in self._conf.beat_schedule:
            import logging

            logging.getLogger("celery.app.base").warning(
                "The periodic task %r takes the place of another without a name: give add_periodic_task a name=", key
            )
        self._conf.beat_schedule[key] = entry

    # --- classes that belong to this app

    def create_task_cls(self) -> Any:
        return self.subclass_with_self(self.task_cls, name="Task", attribute="_app", keep_reduce=True, abstract=True)

    def subclass_with_self(
        self,
        Class: Any,
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,
        **kw: Any,
    ) -> Any:
        """A subclass whose `attribute` is this app. `reverse` is the way to it from an app, for pickling."""
        Class = symbol_by_name(Class)
        path = reverse or Class.__name__

        def __reduce__(self: Any) -> Any:
            return _unpickle_appattr, (path, self.__reduce_args__())

        attributes = {attribute: self, "__module__": Class.__module__, "__doc__": Class.__doc__, **kw}
        if not keep_reduce:
            attributes["__reduce__"] = __reduce__
        return type(name or Class.__name__, (Class,), attributes)

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(types.GenericAlias)

    def _rgetattr(self, path: str) -> Any:
        return attrgetter(path)(self)

    @cached_property
    def Worker(self) -> Any:
        return self.subclass_with_self("celery.apps.worker:Worker")

    @cached_property
    def WorkController(self) -> Any:
        return self.subclass_with_self("celery.worker:WorkController")

    @cached_property
    def Beat(self) -> Any:
        return self.subclass_with_self("celery.apps.beat:Beat")

    @cached_property
    def Task(self) -> Any:
        """The base of the tasks of this app."""
        return self.create_task_cls()

    @cached_property
    def annotations(self) -> Any:
        told = self.conf.task_annotations
        if told is None:
            return ()
        from .annotations import prepare

        return prepare(told)

    @cached_property
    def AsyncResult(self) -> Any:
        return self.subclass_with_self("celery.result:AsyncResult")

    @cached_property
    def ResultSet(self) -> Any:
        return self.subclass_with_self("celery.result:ResultSet")

    @cached_property
    def GroupResult(self) -> Any:
        return self.subclass_with_self("celery.result:GroupResult")

    # --- parts

    @property
    def current_task(self) -> Any:
        """The task that is running here, or None."""
        return _task_stack.top

    @property
    def current_worker_task(self) -> Any:
        """The task that a worker runs here, or None: not one that it calls by hand."""
        return get_current_worker_task()

    @cached_property
    def clock(self) -> Any:
        """The logical clock of events and remote control."""
        from .clock import Clock

        return Clock()

    @cached_property
    def oid(self) -> str:
        """The id of this app in this process: its replies go to a queue of this name."""
        return new_id()

    @property
    def thread_oid(self) -> str:
        """The id of this app in this thread: tasks that are sent here are answered to it, by default."""
        if not self._backend_is_silent:
            answered = getattr(self.backend, "answer_queue", None)
            if answered is not None:
                return answered  # type: ignore[no-any-return]  # an app is Any to its tasks
        local = self._local
        try:
            return local.oid  # type: ignore[no-any-return]  # an app is Any to its tasks
        except AttributeError:
            local.oid = found = new_id()
            return found

    @cached_property
    def amqp(self) -> Any:
        with uncollected():
            return symbol_by_name(self.amqp_cls)(app=self)

    @property
    def _backend(self) -> Any:
        """The result backend: one for all threads if it says that it can bear them, else one for each."""
        if self._backend_cache is not None:
            return self._backend_cache
        return getattr(self._local, "backend", None)

    @_backend.setter
    def _backend(self, backend: Any) -> None:
        if backend.thread_safe:
            self._backend_cache = backend
        else:
            self._local.backend = backend

    @property
    def backend(self) -> Any:
        """The result backend."""
        found = self._backend
        if found is None:
            found = self._backend = self._get_backend()
        return found

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._backend_cache = backend

    @property
    def _backend_is_silent(self) -> bool:
        """It has nothing to do when a task is sent, has no queue for answers, and has not been needed for more yet:
        so it is not loaded in order to send. So is the one that stands for none."""
        if self._backend is not None or type(self)._get_backend is not Celery._get_backend:
            return False
        configured = self.backend_cls or self.conf.result_backend
        if not configured:
            return True
        if not isinstance(configured, str) or _REDIS_BACKEND in sys.modules:  # loaded, its methods may be others by now
            return False
        scheme = configured.partition("://")[0]
        return scheme in _SILENT_BACKENDS and scheme not in self.loader.override_backends

    def _get_backend(self) -> Any:
        from .backends import by_url

        backend, url = by_url(self.backend_cls or self.conf.result_backend, self.loader)
        return backend(app=self, url=url)

    @cached_property
    def control(self) -> Any:
        return symbol_by_name(self.control_cls)(app=self)

    @cached_property
    def events(self) -> Any:
        return symbol_by_name(self.events_cls)(app=self)

    @cached_property
    def loader(self) -> Any:
        from ..loaders import get_loader_cls

        return get_loader_cls(self.loader_cls)(app=self)

    @cached_property
    def log(self) -> Any:
        return symbol_by_name(self.log_cls)(app=self)

    @cached_property
    def _canvas(self) -> Any:
        from .. import canvas

        return canvas

    @cached_property
    def tasks(self) -> Any:
        """The tasks by their names. To ask is to finalize the app."""
        self.finalize(auto=True)
        return self._tasks

    def select_queues(self, queues: Any = None) -> Any:
        """Consume from these queues alone."""
        return self.amqp.queues.select(queues)

    def bugreport(self) -> str:
        from .utils import bugreport

        return bugreport(self)

    # --- the object

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {appstr(self)}>"

    def __reduce__(self) -> Any:
        if self._using_v1_reduce:
            return self.__reduce_v1__()
        return _unpickle_app_v2, (self.__class__, self.__reduce_keys__())

    def __reduce_v1__(self) -> Any:
        return _unpickle_app, (self.__class__, self.Pickler, *self.__reduce_args__())

    def __reduce_keys__(self) -> dict[str, Any]:
        """What the app is made of again: what was changed of the configuration, not its defaults."""
        return {
            "main": self.main,
            "changes": self._conf.changes if self.configured else self._preconf,
            "loader": self.loader_cls,
            "backend": self.backend_cls,
            "amqp": self.amqp_cls,
            "events": self.events_cls,
            "log": self.log_cls,
            "control": self.control_cls,
            "fixups": self.fixups,
            "config_source": self._config_source,
            "config_source_silent": self._config_source_silent,
            "task_cls": self.task_cls,
            "namespace": self.namespace,
        }

    def __reduce_args__(self) -> tuple[Any, ...]:
        """The old form of `__reduce_keys__`, used where a subclass has one of its own."""
        return (
            self.main,
            self._conf.changes if self.configured else {},
            self.loader_cls,
            self.backend_cls,
            self.amqp_cls,
            self.events_cls,
            self.log_cls,
            self.control_cls,
            False,
            self._config_source,
            self._config_source_silent,
        )


# --- what the class above needs

# What is pickled under Celery's names is found by stock workers too.
Celery.__module__ = _unpickle_appattr.__module__ = "celery.app.base"


_OMITTED: Any = object()


def _send_task_signature(
    self: Any,
    name: str,
    args: Any = None,
    kwargs: Any = None,
    countdown: Any = None,
    eta: Any = None,
    task_id: Any = None,
    producer: Any = None,
    connection: Any = None,
    router: Any = None,
    result_cls: Any = None,
    expires: Any = _OMITTED,
    publisher: Any = None,
    link: Any = None,
    link_error: Any = None,
    add_to_parent: Any = True,
    group_id: Any = None,
    group_index: Any = None,
    retries: Any = 0,
    chord: Any = None,
    reply_to: Any = None,
    time_limit: Any = _OMITTED,
    soft_time_limit: Any = _OMITTED,
    root_id: Any = None,
    parent_id: Any = None,
    route_name: Any = None,
    shadow: Any = None,
    chain: Any = None,
    task_type: Any = None,
    replaced_task_nesting: Any = 0,
    **options: Any,
) -> Any:
    """Stands for the names, the order and the defaults of what `Celery.send_task` takes."""


# Options pass through `send_task` as they are given; `inspect.signature` tells the names that it takes.
_SEND_TASK_REST = _send_task_signature.__code__.co_varnames[4:30]
Celery.send_task.__wrapped__ = _send_task_signature  # type: ignore[attr-defined]  # mypy knows no such attribute of functions


def _fix_up(fixup: Any, app: Celery) -> Any:
    if fixup in BUILTIN_FIXUPS and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return None  # there is no Django to be fixed up for, and no reason to load the code
    return symbol_by_name(fixup)(app)


App = Celery

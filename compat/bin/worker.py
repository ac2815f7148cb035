"""`celeriac worker`: start a worker, in the foreground or (`--detach`) in the background."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from click.types import StringParamType

from ...protocol.errors import BadCall
from ...worker import brokers
from ...worker import statedb as state_file
from ...worker.late import uncollected
from .. import concurrency  # noqa: F401 - a name of Celery's module
from ..app.settings_for_broker import broker_options
from ..exceptions import ImproperlyConfigured, SecurityError
from ..platforms import (
    EX_CANTCREAT,
    EX_FAILURE,
    EX_OK,
    LockFailed,
    detached,
    maybe_drop_privileges,
    parse_umask,
    try_out,
)
from ..utils.log import get_logger
from ..utils.nodenames import default_nodename, host_format, node_format
from ..utils.sysinfo import AUTO_CONCURRENCY, is_auto_concurrency
from .base import (
    COMMA_SEPARATED_LIST,
    LOG_LEVEL,
    CeleryDaemonCommand,
    Choice,
    Parameter,
    at_least,
    handle_preload_options,
    option,
    say_unused,
)
from .faults import told
from .imports import told_of_import

logger = get_logger(__name__)

C_FAKEFORK = os.environ.get("C_FAKEFORK")

_POOLS = ("prefork", "eventlet", "gevent", "solo", "processes", "threads", "asyncio", "custom")


class CeleryBeat(Parameter):
    """Whether beat runs inside of the worker."""

    name = "beat"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value and ctx.obj.app.IS_WINDOWS:
            self.fail("-B does not work on Windows: run `celery beat` as a process of its own.")
        return value


class WorkersPool(Choice):
    """The kind of pool: one of ours, `custom` (CELERY_CUSTOM_WORKER_POOL says which), or `package.module:Class`."""

    name = "pool"

    def __init__(self) -> None:
        super().__init__(_POOLS)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, type):
            return value
        if ":" in value or "." in value:
            return self._users(value, param, ctx)
        name = super().convert(value, param, ctx)
        if name == "custom":
            path = os.environ.get("CELERY_CUSTOM_WORKER_POOL")
            if not path:
                self.fail("custom needs the environment variable CELERY_CUSTOM_WORKER_POOL: package.module:Class")
            return path
        return name

    def _users(self, path: str, param: Any, ctx: Any) -> Any:
        from ..utils.imports import import_from_cwd, symbol_by_name

        try:
            symbol_by_name(path, imp=import_from_cwd)
        except (ImportError, AttributeError) as problem:
            self.fail(f"{path!r} is no pool that can be imported: {problem}", param, ctx)
        return path


class Hostname(StringParamType):
    """The worker's name; what is missing of it is filled in."""

    name = "hostname"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return host_format(default_nodename(value))


class Autoscale(Parameter):
    """`most,fewest`, in either order."""

    name = "<min workers>, <max workers>"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            numbers = [int(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in {1, 2}:
            self.fail(f"expected one number or two, as 10,3; got {value!r}")
        return max(numbers), min([*numbers, 0] if len(numbers) == 1 else numbers)


CELERY_BEAT = CeleryBeat()
WORKERS_POOL = WorkersPool()
HOSTNAME = Hostname()
AUTOSCALE = Autoscale()


def _or_setting(setting: str) -> Any:
    """A callback: the option if it is given, else the setting."""
    return lambda ctx, _, value: value or getattr(ctx.obj.app.conf, setting)


def _concurrency_value(ctx: click.Context, _param: Any, value: Any) -> Any:
    if is_auto_concurrency(value):
        return AUTO_CONCURRENCY
    try:
        number = int(value or 0)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise click.BadParameter(f"must be a non-negative integer or 'auto', got {value!r}")
    return number or ctx.obj.app.conf.worker_concurrency


def _chosen_pool(ctx: click.Context, param: Any, value: Any) -> Any:
    """What is said on the command line; the option's default gives way to the setting."""
    said = ctx.get_parameter_source(param.name) is not click.core.ParameterSource.DEFAULT
    return value if said else ctx.obj.app.conf.worker_pool or value


def detach(
    path: str,
    argv: list[str],
    logfile: str | None = None,
    pidfile: str | None = None,
    uid: Any = None,
    gid: Any = None,
    umask: Any = None,
    workdir: Any = None,
    fake: bool = False,
    app: Any = None,
    executable: str | None = None,
    hostname: str | None = None,
) -> int:
    """Go on as this program in the background. Log and pid file are tried out first, so that a mistake is seen."""
    hostname = default_nodename(hostname)
    logfile = node_format(logfile, hostname) if logfile else None
    pidfile = node_format(pidfile, hostname) if pidfile else None
    away = detached(logfile, pidfile, uid, gid, umask, workdir, bool(C_FAKEFORK) or fake, after_forkers=False)
    try_out(logfile, pidfile)  # by the user it runs as, and while somebody sees what is wrong
    with away:
        command = [executable or path, *argv]
        try:
            os.execv(command[0], command)  # noqa: S606 # no shell, and the user's own arguments
        except OSError:
            if app is None:
                from .._state import current_app as app
            app.log.setup_logging_subsystem("ERROR", logfile, hostname=hostname)
            logger.critical("Can't exec %r", " ".join(command), exc_info=True)
            return EX_FAILURE


def _preflight(app: Any, hostname: str, statedb: Any, schedule: tuple[Any, Any] | None) -> None:
    """What would end the process in the background where nobody sees it."""
    for url in broker_options(app.conf).urls:
        brokers.check(url)
    app.backend  # noqa: B018 - made here, or not at all
    state_file.try_out(node_format(statedb, hostname) if statedb else None)
    if schedule is not None:
        from ..beat_check import check, check_there

        scheduler = schedule[0] or app.conf.beat_scheduler
        check_there(scheduler)
        if str(scheduler).startswith(
            ("celery.", "celeriac.")
        ):  # others may want Django, or the tasks, which come later
            check(app, scheduler, schedule[1])


_DETACHING = frozenset({"-D", "--detach"})
_PRIVILEGES = ("--uid", "--gid")


def foreground_argv(words: list[str]) -> list[str]:
    """The command line of the process in the background: it need not go there again, nor drop what is dropped."""
    kept, passed_over = [], False
    for word in words:
        if passed_over:
            passed_over = False
        elif word in _PRIVILEGES:
            passed_over = True
        elif word not in _DETACHING and word.partition("=")[0] not in _PRIVILEGES:
            kept.append(word)
    return ["-m", __name__.partition(".")[0], *kept]


_WORKER, _POOL, _QUEUE = "Worker Options", "Pool Options", "Queue Options"
_FEATURE, _BEAT = "Features", "Embedded Beat Options"


@click.command(cls=CeleryDaemonCommand, context_settings={"allow_extra_args": True})
@option(
    _WORKER,
    "-n",
    "--hostname",
    default=host_format(default_nodename(None)),
    type=HOSTNAME,
    help="Name of the worker, e.g. w1@%h. Expands %h (host name), %n (its first part) and %d (the rest).",
)
@option(_WORKER, "-D", "--detach", is_flag=True, default=False, help="Start in the background.")
@option(
    _WORKER,
    "-S",
    "--statedb",
    type=click.Path(),
    callback=_or_setting("worker_state_db"),
    help="File that keeps revoked tasks over a restart.",
)
@option(_WORKER, "-l", "--loglevel", default="WARNING", type=LOG_LEVEL, help="Level of the log.")
@option(
    _WORKER,
    "-O",
    "--optimization",
    default="default",
    type=click.Choice(("default", "fair")),
    help="Profile; a task is always given to a child that is free.",
)
@option(
    _WORKER,
    "--prefetch-multiplier",
    type=int,
    metavar="<prefetch multiplier>",
    callback=_or_setting("worker_prefetch_multiplier"),
    help="Messages taken in advance, for each task at once.",
)
@option(
    _WORKER,
    "--disable-prefetch",
    is_flag=True,
    default=None,
    callback=lambda ctx, _, value: ctx.obj.app.conf.worker_disable_prefetch if value is None else value,
    help="Take a message only when a task can begin.",
)
@option(
    _POOL,
    "-c",
    "--concurrency",
    metavar="<concurrency>",
    callback=_concurrency_value,
    help="Tasks at once, or 'auto'. The number of processors by default.",
)
@option(
    _POOL,
    "-P",
    "--pool",
    "pool",
    default="prefork",
    type=WORKERS_POOL,
    callback=_chosen_pool,
    help="What tasks run in; also package.module:Class.",
)
@option(
    _POOL, "-E", "--task-events", "--events", is_flag=True, default=None, help="Send events of tasks, for monitors."
)
@option(_POOL, "--time-limit", type=float, help="Seconds after which a task is killed.")
@option(_POOL, "--soft-time-limit", type=float, help="Seconds after which a task is interrupted.")
@option(_POOL, "--max-tasks-per-child", type=int, help="Tasks after which a process is replaced.")
@option(
    _POOL,
    "--pool-start-method",
    type=click.Choice(("fork", "spawn")),
    help="How processes are made: 'fork' (the default) is fast and shares memory, 'spawn' begins anew.",
)
@option(_POOL, "--max-memory-per-child", type=int, help="KiB after which a process is replaced, when its task is done.")
@option(_QUEUE, "--purge", "--discard", is_flag=True, help="Delete what waits in the queues first.")
@option(_QUEUE, "--queues", "-Q", type=COMMA_SEPARATED_LIST, help="Queues to take from.")
@option(_QUEUE, "--exclude-queues", "-X", type=COMMA_SEPARATED_LIST, help="Queues not to take from.")
@option(_QUEUE, "--include", "-I", type=COMMA_SEPARATED_LIST, help="Further modules to import.")
@option(_FEATURE, "--without-gossip", is_flag=True, help="Do not listen to other workers.")
@option(_FEATURE, "--without-mingle", is_flag=True, help="Do not ask other workers at the start.")
@option(_FEATURE, "--without-heartbeat", is_flag=True, help="Send no heartbeat events.")
@option(_FEATURE, "--heartbeat-interval", type=int, callback=at_least(0), help="Seconds between heartbeat events.")
@option(_FEATURE, "--autoscale", type=AUTOSCALE, help="Most and fewest processes, as 10,3.")
@option(
    _FEATURE,
    "--health",
    metavar="<host:port | path>",
    callback=_or_setting("worker_health"),
    help="Serve /livez, /readyz and /metrics there: host:port, a port of the loopback, or the path of a unix socket.",
)
@option(_BEAT, "-B", "--beat", type=CELERY_BEAT, is_flag=True, help="Run beat in this worker, and in no other.")
@option(
    _BEAT,
    "-s",
    "--schedule-filename",
    "--schedule",
    callback=_or_setting("beat_schedule_filename"),
    help="File that beat keeps its times in.",
)
@option(_BEAT, "--scheduler", help="Class of beat's scheduler.")
@click.pass_context
@handle_preload_options
def worker(
    ctx: click.Context,
    hostname: str,
    pool: Any = None,
    uid: Any = None,
    gid: Any = None,
    loglevel: Any = None,
    logfile: Any = None,
    pidfile: Any = None,
    statedb: Any = None,
    health: Any = None,
    **kwargs: Any,
) -> None:
    """Start a worker.

    \b
    celeriac -A proj worker -l INFO
    celeriac -A proj worker -Q hipri,lopri
    celeriac -A proj worker --concurrency=4
    celeriac -A proj worker -P threads --autoscale=10,0
    """
    app = ctx.obj.app
    if not kwargs.get("beat"):
        say_unused(ctx, ("scheduler", "schedule_filename"), "there is no beat without --beat")
    try:
        if ctx.args:
            _configure(ctx, app)
        umask, executable, away = (kwargs.pop(name, None) for name in ("umask", "executable", "detach"))
        if away:
            given = {"logfile": logfile, "pidfile": pidfile, "uid": uid, "gid": gid, "umask": umask}
            argv = foreground_argv(sys.argv[1:])
            beat = (kwargs.get("scheduler"), kwargs.get("schedule_filename")) if kwargs.get("beat") else None
            _preflight(app, hostname, statedb, beat)
            ctx.exit(detach(sys.executable, argv, app=app, executable=executable, hostname=hostname, **given))
        maybe_drop_privileges(uid=uid, gid=gid)
        if umask:
            os.umask(parse_umask(umask))
        with uncollected():
            program = app.Worker(
                hostname=hostname,
                pool_cls=pool,
                loglevel=loglevel,
                logfile=logfile,
                pidfile=node_format(pidfile, hostname) if pidfile else None,
                statedb=node_format(statedb, hostname) if statedb else None,
                health=node_format(health, hostname) if health else None,
                no_color=ctx.obj.no_color,
                quiet=ctx.obj.quiet,
                **kwargs,
            )
        program.start()
    except ModuleNotFoundError as problem:
        plain = told(problem, app, kwargs.get("include") or ())
        if plain is None:
            raise
        raise plain from None
    except (SecurityError, ImproperlyConfigured, KeyError, BadCall) as problem:
        if told_of_import(problem) is not None:  # a module of tasks raised it
            raise
        ctx.obj.error(str(problem.args[0] if problem.args else problem), fg="red")
        ctx.exit(EX_FAILURE)
    except (LockFailed, OSError) as problem:  # a pid file, a log or a state file that cannot be written
        if told_of_import(problem) is not None:
            raise
        ctx.obj.error(f"celeriac worker: {problem}", fg="red")
        ctx.exit(EX_CANTCREAT)
    ctx.exit(program.exitcode or EX_OK)


def _configure(ctx: click.Context, app: Any) -> None:
    """Settings after `--`, as `prefetch_multiplier=2` or `broker.url=...`."""
    try:
        app.config_from_cmdline(ctx.args, namespace="worker")
    except (KeyError, ValueError) as problem:
        raise click.UsageError(
            f"Unable to parse extra configuration from command line.\nReason: {problem}\n"
            "A setting is written as name=value, after `--`.",
            ctx=ctx,
        ) from None

"""`celeriac beat`: send tasks by the clock."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..exceptions import ImproperlyConfigured, SecurityError
from ..platforms import EX_CANTCREAT, EX_FAILURE, LockFailed, detached, maybe_drop_privileges
from .base import LOG_LEVEL, CeleryDaemonCommand, handle_preload_options, option

_BEAT = "Beat Options"


@click.command(cls=CeleryDaemonCommand, context_settings={"allow_extra_args": True})
@option(_BEAT, "--detach", is_flag=True, default=False, help="Start in the background.")
@option(
    _BEAT,
    "-s",
    "--schedule",
    callback=lambda ctx, _, value: value or ctx.obj.app.conf.beat_schedule_filename,
    help="File that keeps the times; '.db' may be appended.",
)
@option(
    _BEAT,
    "-S",
    "--scheduler",
    callback=lambda ctx, _, value: value or ctx.obj.app.conf.beat_scheduler,
    help="Class of the scheduler.",
)
@option(_BEAT, "--max-interval", type=int, help="Seconds to sleep at the most.")
@option(
    _BEAT,
    "--enable-remote-control/--no-enable-remote-control",
    "remote_control",
    default=None,
    help="Answer `inspect ping`; overrides beat_enable_remote_control.",
)
@option(_BEAT, "-n", "--hostname", default=None, help="Name to answer under; celerybeat@%h by default.")
@option(_BEAT, "-l", "--loglevel", default="WARNING", type=LOG_LEVEL, help="Level of the log.")
@click.pass_context
@handle_preload_options
def beat(
    ctx: click.Context,
    detach: bool = False,
    logfile: Any = None,
    pidfile: Any = None,
    uid: Any = None,
    gid: Any = None,
    umask: Any = None,
    workdir: Any = None,
    **kwargs: Any,
) -> Any:
    """Start the scheduler of periodic tasks. Of each schedule only one may run."""
    app = ctx.obj.app
    if ctx.args:
        try:
            app.config_from_cmdline(ctx.args)
        except (KeyError, ValueError) as problem:
            raise click.UsageError(
                f"Unable to parse extra configuration from command line.\nReason: {problem}\n"
                "A setting is written as name=value, after `--`.",
                ctx=ctx,
            ) from None
    kwargs.pop("executable", None)
    make = partial(app.Beat, logfile=logfile, pidfile=pidfile, quiet=ctx.obj.quiet, **kwargs)
    try:
        if detach:
            with detached(logfile, pidfile, uid, gid, umask, workdir):
                return make().run()
        maybe_drop_privileges(uid=uid, gid=gid)
        return make().run()
    except (SecurityError, ImproperlyConfigured) as problem:
        ctx.obj.error(str(problem.args[0]), fg="red")
        ctx.exit(EX_FAILURE)
    except (LockFailed, OSError) as problem:  # a pid file, a log or a schedule that cannot be written
        ctx.obj.error(f"celeriac beat: {problem}", fg="red")
        ctx.exit(EX_CANTCREAT)

"""`celeriac beat`: send tasks by the clock."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from ...protocol.errors import BadCall
from ..beat_control import beat_nodename
from ..exceptions import ImproperlyConfigured, SecurityError
from ..platforms import EX_CANTCREAT, EX_FAILURE, LockFailed, detached, maybe_drop_privileges, parse_umask, try_out
from ..utils.nodenames import node_format
from .base import LOG_LEVEL, CeleryDaemonCommand, at_least, handle_preload_options, option, say_unused

_BEAT = "Beat Options"


@click.command(cls=CeleryDaemonCommand, context_settings={"allow_extra_args": True})
@option(_BEAT, "--detach", is_flag=True, default=False, help="Start in the background.")
@option(
    _BEAT,
    "-s",
    "--schedule",
    callback=lambda ctx, _, value: value or ctx.obj.app.conf.beat_schedule_filename,
    help="File that keeps the times; '.db' may be appended. Expands %n, %h, %d.",
)
@option(
    _BEAT,
    "-S",
    "--scheduler",
    callback=lambda ctx, _, value: value or ctx.obj.app.conf.beat_scheduler,
    help="Class of the scheduler.",
)
@option(_BEAT, "--max-interval", type=int, callback=at_least(0), help="Seconds to sleep at the most.")
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
    say_unused(ctx, ("executable",), "beat goes into the background as the process that it is")
    kwargs.pop("executable", None)
    name = beat_nodename(kwargs.get("hostname"))
    logfile, pidfile, kwargs["schedule"] = (
        node_format(path, name) if path else path for path in (logfile, pidfile, kwargs.get("schedule"))
    )
    program = partial(
        app.Beat, logfile=logfile, pidfile=pidfile, quiet=ctx.obj.quiet, no_color=ctx.obj.no_color or None, **kwargs
    )
    try:
        if detach:
            away = detached(logfile, pidfile, uid, gid, umask, workdir)
            try_out(logfile, pidfile)  # while somebody sees what is wrong
            program().check()
            with away:
                return program().run()
        maybe_drop_privileges(uid=uid, gid=gid)
        if umask:
            os.umask(parse_umask(umask))
        return program().run()
    except (SecurityError, ImproperlyConfigured, BadCall, KeyError) as problem:
        ctx.obj.error(str(problem.args[0] if problem.args else problem), fg="red")
        ctx.exit(EX_FAILURE)
    except (LockFailed, OSError) as problem:  # a pid file, a log or a schedule that cannot be written
        ctx.obj.error(f"celeriac beat: {problem}", fg="red")
        ctx.exit(EX_CANTCREAT)

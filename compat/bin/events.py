"""`celeriac events`: what workers do, as a dump, as a snapshot camera or on the screen."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import click

from ..app.checking import imported
from ..platforms import detached, maybe_drop_privileges, parse_umask, set_process_title, strargv, try_out
from ..utils.imports import symbol_by_name
from ..utils.nodenames import gethostname, node_format
from ..utils.time import rate
from .base import (
    LOG_LEVEL,
    CeleryDaemonCommand,
    at_least,
    handle_preload_options,
    handle_remote_command_error,
    option,
    say_unused,
)
from .faults import told


def _set_process_status(prog: str, info: str = "") -> str:
    return set_process_title(f"celery events:{prog}", info=f"{info} {strargv(sys.argv)}")


def _run_evdump(app: Any) -> Any:
    from ..events.dumper import evdump

    _set_process_status("dump")
    return evdump(app=app)


def _run_evcam(
    camera: str,
    app: Any,
    logfile: Any = None,
    pidfile: Any = None,
    uid: Any = None,
    gid: Any = None,
    umask: Any = None,
    workdir: Any = None,
    detach: bool = False,
    **kwargs: Any,
) -> Any:
    from ..events.snapshot import evcam

    _set_process_status("cam")
    name = f"{_NODENAME}@{gethostname()}"
    logfile, pidfile = (node_format(path, name) if path else path for path in (logfile, pidfile))
    imported(lambda: symbol_by_name(camera), camera, "the camera")
    cam = partial(evcam, camera, app=app, logfile=logfile, pidfile=pidfile, **kwargs)
    if not detach:
        maybe_drop_privileges(uid=uid, gid=gid)
        if umask:
            os.umask(parse_umask(umask))
        return cam()
    away = detached(logfile, pidfile, uid, gid, umask, workdir)
    try_out(logfile, pidfile)  # while somebody sees what is wrong
    with away:
        return cam()


def _run_evtop(app: Any) -> Any:
    try:
        from ..events.cursesmon import evtop
    except ModuleNotFoundError as problem:
        if problem.name == "_curses":
            raise click.UsageError("This Python has no curses: use `events --dump`.") from None
        raise
    _set_process_status("top")
    return evtop(app=app)


_NODENAME = "celeryev"
_OF_CAMERAS = ("detach", "frequency", "maxrate", "logfile", "pidfile", "uid", "gid", "umask")
_SNAPSHOT = "Snapshot"


def _checked_rate(ctx: click.Context, param: Any, value: Any) -> Any:
    try:
        rate(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no rate: write a number, as 10/s, 10/m or 10/h", ctx, param) from None
    return value


@click.command(cls=CeleryDaemonCommand)
@option("Dumper", "-d", "--dump", is_flag=True, help="Print each event; with --camera, -d is --detach.")
@option(_SNAPSHOT, "-c", "--camera", help="Class that takes snapshots.")
@option(_SNAPSHOT, "--detach", is_flag=True, help="Start in the background.")
@option(
    _SNAPSHOT,
    "-F",
    "--frequency",
    "--freq",
    type=float,
    default=1.0,
    callback=at_least(0.001),
    help="Seconds between snapshots.",
)
@option(_SNAPSHOT, "-r", "--maxrate", callback=_checked_rate, help="Most snapshots in a time, as 10/m.")
@option(_SNAPSHOT, "-l", "--loglevel", default="WARNING", type=LOG_LEVEL, help="Level of the log.")
@click.pass_context
@handle_preload_options
def events(
    ctx: click.Context,
    dump: bool,
    camera: Any,
    detach: bool,
    frequency: float,
    maxrate: Any,
    loglevel: Any,
    **kwargs: Any,
) -> Any:
    """Watch the events of workers."""
    app = ctx.obj.app
    say_unused(ctx, ("executable",), "a camera goes into the background as the process that it is")
    kwargs.pop("executable", None)
    if not camera:
        say_unused(ctx, _OF_CAMERAS, "it is for --camera")
    try:
        if camera:
            return _run_evcam(
                camera, app, freq=frequency, maxrate=maxrate, loglevel=loglevel, detach=detach or dump, **kwargs
            )
        return _run_evdump(app) if dump else _run_evtop(app)
    except KeyboardInterrupt:
        return None
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        if (plain := told(problem)) is not None:
            raise plain from None
        handle_remote_command_error("events", problem)

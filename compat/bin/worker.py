"""`celeriac worker`: start a worker."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..utils.text import str_to_list

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")


class CommaSeparated(click.ParamType):
    """`a,b`."""

    name = "comma separated list"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return str_to_list(value)


@click.command(context_settings={"allow_extra_args": True})
@click.option("-n", "--hostname", default=None, help="Set custom hostname (e.g., 'w1@%%h').")
@click.option("-S", "--statedb", type=click.Path(), default=None, help="Path to the state database.")
@click.option("-l", "--loglevel", type=click.Choice(_LEVELS, case_sensitive=False), default="WARNING")
@click.option("-f", "--logfile", default=None, help="Log destination; defaults to stderr.")
@click.option("-O", "--optimization", type=click.Choice(("default", "fair")), default="default")
@click.option("--prefetch-multiplier", type=int, default=None)
@click.option("--disable-prefetch", is_flag=True, default=None)
@click.option("-c", "--concurrency", default=None, help="Number of tasks at once, or auto.")
@click.option("-P", "--pool", default=None, help="prefork, threads, solo, asyncio, gevent, eventlet, or a path.")
@click.option("-E", "--task-events", "--events", is_flag=True, default=None)
@click.option("--time-limit", type=float, default=None)
@click.option("--soft-time-limit", type=float, default=None)
@click.option("--max-tasks-per-child", type=int, default=None)
@click.option("--pool-start-method", type=click.Choice(("fork", "spawn")), default=None)
@click.option("--max-memory-per-child", type=int, default=None)
@click.option("--purge", "--discard", is_flag=True)
@click.option("--queues", "-Q", type=CommaSeparated(), default=None)
@click.option("--exclude-queues", "-X", type=CommaSeparated(), default=None)
@click.option("--include", "-I", type=CommaSeparated(), default=None)
@click.option("--without-gossip", is_flag=True)
@click.option("--without-mingle", is_flag=True)
@click.option("--without-heartbeat", is_flag=True)
@click.option("--heartbeat-interval", type=int, default=None)
@click.option("--autoscale", default=None, help="max,min")
@click.option("--pidfile", default=None)
@click.option("--executable", default=None)
@click.pass_context
def worker(ctx: click.Context, **options: Any) -> None:
    """Start worker instance."""
    app = ctx.obj.app
    from ..utils.nodenames import default_nodename, gethostname, host_format

    name = options.pop("hostname")
    hostname = host_format(default_nodename(name), gethostname())
    program = app.Worker(
        hostname=hostname,
        no_color=ctx.obj.no_color,
        quiet=ctx.obj.quiet,
        **{key: value for key, value in options.items() if value is not None},
    )
    program.start()
    sys.exit(program.exitcode or 0)

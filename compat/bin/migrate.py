"""`celeriac migrate`: move messages from one broker to another."""

from __future__ import annotations

import sys
from typing import Any

import click

from .base import CeleryCommand, handle_preload_options, handle_remote_command_error, option

_PATIENCE = 4.0
_MIGRATION = "Migration Options"


@click.command(cls=CeleryCommand)
@click.argument("source")
@click.argument("destination")
@option(_MIGRATION, "-n", "--limit", type=int, help="Tasks to move at the most.")
@option(_MIGRATION, "-t", "--timeout", type=float, help="Seconds to wait for tasks.")
@option(_MIGRATION, "-a", "--ack-messages", is_flag=True, help="Take them away from the source.")
@option(_MIGRATION, "-T", "--tasks", help="Names of the tasks to move, separated by commas.")
@option(_MIGRATION, "-Q", "--queues", help="Queues to move, separated by commas; from:to renames one.")
@option(_MIGRATION, "-F", "--forever", is_flag=True, help="Go on until stopped.")
@click.pass_context
@handle_preload_options
def migrate(ctx: click.Context, source: str, destination: str, **kwargs: Any) -> None:
    """Move tasks from the broker SOURCE to the broker DESTINATION, both URLs.

    Without --ack-messages they are copied: they stay in the source as well.
    """
    from kombu.connection import Connection

    from ..app.connecting import deadlines
    from ..contrib.migrate import migrate_tasks

    moving = sys.stderr.isatty() and not ctx.obj.quiet

    def say(state: Any, body: Any, message: Any) -> None:
        if moving:  # one line that moves
            click.echo(f"\rMigrating task {state.count}/{state.strtotal}", err=True, nl=False)
        elif not ctx.obj.quiet:
            ctx.obj.echo(f"Migrating task {state.count}/{state.strtotal}: {body}")

    given = {name: value for name, value in kwargs.items() if value is not None}  # silence ends it, as in the library
    try:
        patience = ctx.obj.app.conf.broker_connection_timeout or _PATIENCE
        origin, goal = (Connection(url, transport_options=deadlines(url, patience)) for url in (source, destination))
        with origin, goal:  # what stays there is given back at once
            migrate_tasks(origin, goal, callback=say, app=ctx.obj.app, **given)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("migrate", problem)
    if moving:
        click.echo(err=True)

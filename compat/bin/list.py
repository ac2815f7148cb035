"""`celeriac list bindings`: which queues are bound to which exchanges."""

from __future__ import annotations

import click

from .base import CeleryCommand, handle_preload_options, handle_remote_command_error


@click.group(name="list")
@click.pass_context
@handle_preload_options
def list_(ctx: click.Context) -> None:
    """Show what the broker knows.

    With RabbitMQ this needs the management plug-in.
    """


@list_.command(cls=CeleryCommand)
@click.pass_context
def bindings(ctx: click.Context) -> None:
    """Show the bindings of queues."""
    app = ctx.obj.app
    found = []
    try:
        with app.connection() as connection:
            app.amqp.TaskConsumer(connection).declare()
            found = connection.manager.get_bindings()
    except NotImplementedError:
        raise click.UsageError("Your transport cannot list bindings.") from None
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("list bindings", problem)
    rows = [(each["destination"], each["source"], each["routing_key"]) for each in found]
    for queue, exchange, key in (("Queue", "Exchange", "Routing Key"), ("-" * 16,) * 3, *rows):
        ctx.obj.echo(f"{queue:<28} {exchange:<28} {key}")

"""`celeriac list bindings`: which queues are bound to which exchanges."""

from __future__ import annotations

from typing import Any

import click

from ..exceptions import CeleryCommandException
from ..platforms import EX_UNAVAILABLE
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
    from ...worker.brokers.rabbit_management import Management, Unanswered
    from ..app.connecting import answering
    from . import queues_rabbit as rabbit

    app = ctx.obj.app
    found: Any = []
    try:
        with answering(app, write=True) as connection:
            app.amqp.TaskConsumer(connection).declare()
            if rabbit.is_rabbit(app):
                found = rabbit.asked(app, Management.bindings)
            else:
                found = connection.manager.get_bindings()
    except Unanswered as why:
        advice = "enable it with `rabbitmq-plugins enable rabbitmq_management`, or set broker_management_url"
        text = f"RabbitMQ tells its bindings through its management plugin alone, and {why}: {advice}"
        raise CeleryCommandException(text, EX_UNAVAILABLE) from None
    except NotImplementedError:
        raise click.UsageError("Your transport cannot list bindings.") from None
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("list bindings", problem)
    rows = [(each["destination"], each["source"], each["routing_key"]) for each in found]
    for queue, exchange, key in (("Queue", "Exchange", "Routing Key"), ("-" * 16,) * 3, *rows):
        ctx.obj.echo(f"{queue:<28} {exchange:<28} {key}")

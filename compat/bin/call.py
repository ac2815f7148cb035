"""`celeriac call`: send a task by its name."""

from __future__ import annotations

from typing import Any

import click

from .base import ISO8601, ISO8601_OR_FLOAT, JSON_ARRAY, JSON_OBJECT, CeleryCommand, handle_preload_options, option
from .base import handle_remote_command_error as explain

_CALLING, _ROUTING = "Calling Options", "Routing Options"


@click.command(cls=CeleryCommand)
@click.argument("name")
@option(_CALLING, "-a", "--args", type=JSON_ARRAY, default="[]", help="Arguments, as a JSON array.")
@option(_CALLING, "-k", "--kwargs", type=JSON_OBJECT, default="{}", help="Arguments by name, as a JSON object.")
@option(_CALLING, "--eta", type=ISO8601, help="Not before this time.")
@option(_CALLING, "--countdown", type=float, help="Not before so many seconds have passed.")
@option(_CALLING, "--expires", type=ISO8601_OR_FLOAT, help="Not after this time, or so many seconds.")
@option(_CALLING, "--serializer", default="json", help="How arguments are written.")
@option(_ROUTING, "--queue", help="Send it to this queue.")
@option(_ROUTING, "--exchange", help="Send it to this exchange.")
@option(_ROUTING, "--routing-key", help="Send it with this routing key.")
@click.pass_context
@handle_preload_options
def call(ctx: click.Context, name: str, **options: Any) -> None:
    """Send the task NAME; prints its id.

    \b
    celeriac -A proj call proj.tasks.add -a '[2, 2]' --countdown 10
    """
    result = None
    try:
        result = ctx.obj.app.send_task(name, **options)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        explain("call", problem)
    ctx.obj.echo(result.id if result is not None else None)

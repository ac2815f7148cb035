"""`celeriac purge`: delete what waits in queues."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

import click

from ..utils import text
from .base import COMMA_SEPARATED_LIST, CeleryCommand, handle_preload_options, handle_remote_command_error, option

_PURGING = "Purging Options"
_QUESTION = """\
{warning}: This will remove all tasks from {headline}: {names}.
         There is no undo for this operation!

(to skip this prompt use the -f option)
Are you sure you want to delete all tasks?"""


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@option(_PURGING, "-f", "--force", is_flag=True, help="Do not ask.")
@option(_PURGING, "-Q", "--queues", type=COMMA_SEPARATED_LIST, help="Queues to purge; all known ones by default.")
@option(_PURGING, "-X", "--exclude-queues", type=COMMA_SEPARATED_LIST, help="Queues not to purge.")
@click.pass_context
@handle_preload_options
def purge(ctx: click.Context, force: bool, queues: Any, exclude_queues: Any, **_: Any) -> None:
    """Delete all messages from all known task queues.

    There is no undo.
    """
    app = ctx.obj.app
    names = sorted(set(queues or app.amqp.queues.keys()) - set(exclude_queues or ()))
    if not names:
        return
    headline = text.pluralize(len(names), "queue")
    if not force:
        warning = ctx.obj.style("WARNING", fg="red")
        click.confirm(_QUESTION.format(warning=warning, headline=headline, names=", ".join(names)), abort=True)
    count = 0
    try:
        count = _purge(app, names, quiet=ctx.obj.quiet)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("purge", problem)
    if count:
        messages = text.pluralize(count, "message")
        ctx.obj.echo(f"Purged {count} {messages} from {len(names)} known task {headline}.")
    else:
        ctx.obj.echo(f"No messages purged from {len(names)} {headline}.")


def _purge(app: Any, names: list[str], *, quiet: bool) -> int:
    from ..app.mailing import connect

    hidden = quiet or len(names) < 2 or not sys.stderr.isatty()
    with (
        closing(connect(app)) as broker,
        click.progressbar(names, label="purge", file=sys.stderr, hidden=hidden) as bar,
    ):
        return sum(broker.purge(name) or 0 for name in bar)

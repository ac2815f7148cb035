"""`celeriac janitor`: remove the queues and bindings of processes that are gone. Without --yes it only says which."""

from __future__ import annotations

import json as _json
import sys
from contextlib import closing
from typing import Any

import click

from .base import CeleryCommand, handle_preload_options, handle_remote_command_error, option
from .queues import is_redis


@click.command(cls=CeleryCommand)
@option(None, "-y", "--yes", is_flag=True, help="Remove them.")
@option(None, "--older", type=click.FloatRange(min=60), default=3600.0, help="Seconds that nobody has used them.")
@option(
    None, "--replies", is_flag=True, help="Also bindings of empty reply queues: stop Flower and other clients first."
)
@option(None, "-j", "--json", is_flag=True, help="Print JSON.")
@click.pass_context
@handle_preload_options
def janitor(ctx: click.Context, yes: bool, older: float, replies: bool, json: bool, **_: Any) -> None:
    """Find what processes have left in the broker: reply queues, event queues, bindings. Queues of tasks are safe.

    Without --yes nothing is removed.
    """
    from ...worker.brokers import check
    from ..app.settings_for_broker import broker_options

    told = broker_options(ctx.obj.app.conf, write=True)
    if not is_redis(told.urls[0]):
        check(told.urls[0])
        ctx.obj.echo(
            '{"found": [], "removed": 0}' if json else "Nothing to do: this broker removes such queues itself."
        )
        return
    found: list[dict[str, Any]] = []
    removed = 0
    try:
        found, removed = _sweep(told, older, replies=replies, yes=yes, quiet=ctx.obj.quiet or json)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("janitor", problem)
    if json:
        ctx.obj.echo(_json.dumps({"found": found, "removed": removed}))
        return
    for each in found:
        idle = "" if each["idle"] is None else f", unused for {each['idle']:.0f} s"
        ctx.obj.echo(f"{each['kind']:<8} {each['name']}  ({each['messages']} messages{idle})")
    if not found:
        ctx.obj.echo("Nothing found.")
    elif yes:
        ctx.obj.echo(f"{removed} of {len(found)} removed.")
    else:
        ctx.obj.echo(f"{len(found)} found, nothing removed: `celeriac janitor --yes` removes them.")


def _sweep(told: Any, older: float, *, replies: bool, yes: bool, quiet: bool) -> tuple[list[dict[str, Any]], int]:
    from ...worker.brokers.redis_survey import Survey

    with closing(Survey(told.urls[0], told.options, told.timeout)) as survey:
        litter = survey.litter(older) + (survey.unused_replies() if replies else [])
        hidden = quiet or not yes or not sys.stderr.isatty()
        with click.progressbar(litter if yes else [], label="janitor", file=sys.stderr, hidden=hidden) as bar:
            removed = sum(survey.remove(each, older) for each in bar)
    rows = [{"kind": each.kind, "name": each.name, "messages": each.messages, "idle": each.idle} for each in litter]
    return rows, removed

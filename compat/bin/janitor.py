"""`celeriac janitor`: remove the queues and bindings of processes that are gone. Without --yes it only says which."""

from __future__ import annotations

import json as _json
import sys
from collections.abc import Collection
from contextlib import closing
from typing import Any

import click

from .base import CeleryCommand, handle_preload_options, handle_remote_command_error, option
from .queues import is_redis, one_of_several, surveyed


@click.command(cls=CeleryCommand)
@option(None, "-y", "--yes", is_flag=True, help="Remove them.")
@option(None, "--older", type=click.FloatRange(min=60), default=3600.0, help="Seconds that nobody has used them.")
@option(
    None, "--replies", is_flag=True, help="Also bindings of empty reply queues: stop Flower and other clients first."
)
@option(None, "-t", "--timeout", type=float, default=1.0, help="Seconds to wait for the workers.")
@option(None, "-j", "--json", is_flag=True, help="Print JSON.")
@click.pass_context
@handle_preload_options
def janitor(ctx: click.Context, yes: bool, older: float, replies: bool, timeout: float, json: bool, **_: Any) -> None:
    """Find what processes have left in the broker: reply queues, event queues, bindings. Queues of tasks are safe.

    Without --yes nothing is removed.
    """
    from ...worker.brokers import check
    from ..app.settings_for_broker import broker_options

    app = ctx.obj.app
    told = broker_options(app.conf, write=True)
    check(told.urls[0])
    found: list[dict[str, Any]] = []
    removed, unknown, kept = 0, "", ""
    try:
        if is_redis(told.urls[0]):
            quiet = ctx.obj.quiet or json
            answered = app.control.inspect(timeout=timeout).ping() or {}
            found, removed, kept = _sweep(app, told, older, answered, replies=replies, yes=yes, quiet=quiet)
        else:
            found, removed, unknown = _sweep_others(app, older, yes=yes)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("janitor", problem)
    if unknown:
        ctx.obj.echo(_json.dumps({"found": [], "removed": 0, "unknown": unknown}) if json else unknown)
        return
    if json:
        ctx.obj.echo(_json.dumps({"found": found, "removed": removed, **({"unknown": kept} if kept else {})}))
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
    if kept:
        ctx.obj.echo(f"{kept}.")


def _sweep(
    app: Any, told: Any, older: float, answered: Collection[str], *, replies: bool, yes: bool, quiet: bool
) -> tuple[list[dict[str, Any]], int, str]:
    from ...worker.brokers import redis_orphans

    with closing(surveyed(told)) as survey:
        orphans, kept = redis_orphans.found(survey, answered, app.conf.control_exchange)
        litter = list(dict.fromkeys([*survey.litter(older), *orphans, *(survey.unused_replies() if replies else [])]))
        kept = ". ".join(filter(None, (kept, one_of_several(told, survey.where))))
        hidden = quiet or not yes or not sys.stderr.isatty()
        with click.progressbar(litter if yes else [], label="janitor", file=sys.stderr, hidden=hidden) as bar:
            removed = sum(survey.remove(each, older) for each in bar)
    rows = [{"kind": each.kind, "name": each.name, "messages": each.messages, "idle": each.idle} for each in litter]
    return rows, removed, kept


def _sweep_others(app: Any, older: float, *, yes: bool) -> tuple[list[dict[str, Any]], int, str]:
    """What RabbitMQ's management plugin knows; and else why nothing is."""
    from ..app.connecting import answering
    from . import queues_rabbit as rabbit

    with answering(app, write=True) as connection:
        connection.ensure_connection(max_retries=1)
        if connection.transport.driver_type != "amqp":
            return [], 0, "What processes have left cannot be found on this broker: its transport lists no queues."
        known, why = rabbit.standing(app)
        if why:
            text = "RabbitMQ removes such queues itself, when their process or their time is over. What it still has"
            return [], 0, f"{text} is not known: {why}."
        litter = [each for _, each in sorted(known.items()) if rabbit.is_litter(each, older)]
        removed = sum(rabbit.remove(connection, each.name) for each in litter) if yes else 0
    rows = [{"kind": "queue", "name": each.name, "messages": each.ready, "idle": each.idle} for each in litter]
    return rows, removed, ""

"""`celeriac queues`: what waits where, who takes it, what is held, parked and left behind."""

from __future__ import annotations

import json as _json
import time
from contextlib import closing
from typing import Any

import click

from .base import CeleryCommand, handle_preload_options, handle_remote_command_error, option

_COLUMNS = ("queue", "ready", "oldest", "consumers", "unacked", "parked")
_REDIS = ("redis", "rediss", "valkey", "valkeys", "sentinel", "unix", "socket", "redis+socket", "embedded")


@click.command(cls=CeleryCommand)
@option(None, "-t", "--timeout", type=float, default=1.0, help="Seconds to wait for the workers.")
@option(None, "-j", "--json", is_flag=True, help="Print JSON.")
@click.pass_context
@handle_preload_options
def queues(ctx: click.Context, timeout: float, json: bool, **_: Any) -> None:
    """Show the queues: how much waits, for how long, who takes it.

    The age of the oldest message is shown where the message says when it was sent.
    """
    found: dict[str, Any] = {}
    try:
        found = look(ctx.obj.app, timeout)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("queues", problem)
    if json:
        ctx.obj.echo(_json.dumps(found))
        return
    _show(ctx, found)


def is_redis(url: str) -> bool:
    return url.partition("://")[0] in _REDIS


def look(app: Any, timeout: float = 1.0, replies: Any = None) -> dict[str, Any]:
    """Everything that is known, as JSON shows it. `replies`: to `active_queues`, where they have been asked for."""
    from ..app.settings_for_broker import broker_options

    told = broker_options(app.conf)
    takers = consumers(app, timeout, replies)
    names = {*app.amqp.queues.keys(), *takers}
    found = _in_redis(told, names) if is_redis(told.urls[0]) else _in_others(app, names)
    for row in found["queues"]:
        if row["consumers"] is None:
            row["consumers"] = takers.get(row["queue"], 0)
    return found


def consumers(app: Any, timeout: float, replies: Any = None) -> dict[str, int]:
    """How many workers take from each queue, as they say."""
    if replies is None:
        replies = app.control.inspect(timeout=timeout).active_queues() or {}
    counted: dict[str, int] = {}
    for reply in replies.values():
        for queue in reply if isinstance(reply, list) else ():
            if isinstance(queue, dict) and isinstance(queue.get("name"), str):
                counted[queue["name"]] = counted.get(queue["name"], 0) + 1
    return counted


def _in_redis(told: Any, names: set[str]) -> dict[str, Any]:
    from ...worker.brokers.redis_survey import Survey

    now = time.time()
    with closing(Survey(told.urls[0], told.options, told.timeout)) as survey:
        rows = [
            {
                "queue": each.name,
                "ready": each.ready,
                "oldest": None if each.sent is None else max(0.0, round(now - each.sent, 1)),
                "consumers": None,
                "unacked": each.unacked,
                "parked": each.parked,
            }
            for each in survey.depths(names)
        ]
        held, parked = survey.totals()
        litter = survey.litter(3600)
    return {"queues": rows, "unacked": held, "parked": parked, "litter": [each.name for each in litter]}


def _in_others(app: Any, names: set[str]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
        for name in sorted(names):
            ready, takers = _declared(connection, name)
            rows.append(dict(zip(_COLUMNS, (name, ready, None, takers, None, None), strict=True)))
    return {"queues": rows, "unacked": None, "parked": None, "litter": []}


def _declared(connection: Any, name: str) -> tuple[int | None, int | None]:
    """How many wait, and how many take; None: there is no such queue, or nobody can say."""
    try:
        with connection.channel() as channel:
            told = channel.queue_declare(queue=name, passive=True)
            takers = told.consumer_count if connection.transport.driver_type == "amqp" else None
            return told.message_count, takers
    except connection.channel_errors:
        return None, None


def _show(ctx: click.Context, found: dict[str, Any]) -> None:
    rows = [[_cell(row[column], column) for column in _COLUMNS] for row in found["queues"]]
    table = [list(_COLUMNS), *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(_COLUMNS))]
    for row in table:
        first, *rest = (
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        ctx.obj.echo("  ".join([first, *rest]).rstrip())
    unserved = [row["queue"] for row in found["queues"] if row["ready"] and not row["consumers"]]
    if unserved:
        ctx.obj.secho(
            f"\nnobody takes from {', '.join(unserved)}: start a worker with -Q {','.join(unserved)}", fg="yellow"
        )
    if found["litter"]:
        ctx.obj.echo(f"\n{len(found['litter'])} queues of processes that are gone: `celeriac janitor` shows them")


def _cell(value: Any, column: str) -> str:
    if value is None:
        return "-"
    return _age(value) if column == "oldest" else str(value)


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.0f}s"

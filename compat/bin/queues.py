"""`celeriac queues`: what waits where, who takes it, what is held, parked and left behind."""

from __future__ import annotations

import json as _json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import click

from ...worker.brokers.redis_ages import Age
from .base import CeleryCommand, handle_preload_options, handle_remote_command_error, option

EXACT, AT_LEAST, UNKNOWN = "exact", "at least", "unknown"
"""What `oldest` is; None where nothing waits."""
NOBODY, NO_ANSWER = "nobody takes from it", "who takes from it does not answer"
_NO_AGE = (
    "messages of Celery do not say when they were sent: `celeriac top` and `celeriac web` learn it by looking again, "
    "and with task_send_timestamp = True messages say it"
)
_NO_AGE_YET = "it is learned by looking again"
_COLUMNS = ("queue", "ready", "oldest", "consumers", "unacked", "parked")
_REDIS = ("redis", "rediss", "valkey", "valkeys", "sentinel", "unix", "socket", "redis+socket", "embedded")


@click.command(cls=CeleryCommand)
@option(None, "-t", "--timeout", type=float, default=1.0, help="Seconds to wait for the workers.")
@option(None, "-j", "--json", is_flag=True, help="Print JSON.")
@click.pass_context
@handle_preload_options
def queues(ctx: click.Context, timeout: float, json: bool, **_: Any) -> None:
    """Show the queues: how much waits, for how long, who takes it.

    How long the oldest message has waited is told where the message says when it was sent: with task_send_timestamp,
    with an expiry, or as a dead letter. `celeriac top` and `celeriac web` learn it by looking again.
    """
    found: dict[str, Any] = {}
    try:
        found = look(ctx.obj.app, timeout, thorough=True)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("queues", problem)
    if json:
        ctx.obj.echo(_json.dumps(found))
        return
    _show(ctx, found)


def is_redis(url: str) -> bool:
    return url.partition("://")[0] in _REDIS


def surveyed(told: Any) -> Any:
    """A look at the first Redis of `broker_url` that answers, as workers and senders take theirs."""
    from ...worker.brokers.failover import first_that_answers
    from ...worker.brokers.redis_survey import Survey

    return first_that_answers(
        [url for url in told.urls if is_redis(url)], lambda url: Survey(url, told.options, told.timeout)
    )


def one_of_several(told: Any, broker: str) -> str:
    """What a look at one broker has to say where `broker_url` names others. Sentinels all lead to the same one."""
    if len(told.urls) == 1 or told.urls[0].startswith("sentinel"):
        return ""
    return f"This is {broker}, the first that answers of {len(told.urls)} in broker_url; the others were not looked at"


def look(
    app: Any,
    timeout: float = 1.0,
    replies: Any = None,
    ages: Any = None,
    sent: Callable[[str], float | None] = lambda _: None,
    *,
    thorough: bool = False,
) -> dict[str, Any]:
    """Everything that is known, as JSON shows it; `unknown` says why of what is not.

    `replies`: to `active_queues`, where they have been asked for. Who looks again and again has a memory of `ages`
    (`redis_ages.Ages`), and may know by a task's id when it was `sent`. `thorough`: also lists that
    nobody has declared are looked for, and workers asked for what they hold where the broker does not tell.
    """
    from ...worker.dead_queue import dead_queues
    from ..app.settings_for_broker import broker_options

    told = broker_options(app.conf)
    if replies is None:
        replies = app.control.inspect(timeout=timeout).active_queues() or {}
    takers = consumers(app, timeout, replies)
    names = {*app.amqp.queues.keys(), *takers}
    dead = set(dead_queues(list(names), app.conf.worker_dead_queue or "").values()) - names
    names |= dead
    if is_redis(told.urls[0]):
        found = _in_redis(told, names, ages, sent, thorough=thorough)
    else:
        found = _in_others(names, app, replies, timeout, thorough=thorough)
    found["queues"] = [row for row in found["queues"] if row["queue"] not in dead or row["ready"]]
    for row in found["queues"]:
        row["dead"] = row["queue"] in dead
        if row["consumers"] is None:
            row["consumers"] = takers.get(row["queue"], 0)
    found["unknown"].setdefault("oldest", _NO_AGE if ages is None else _NO_AGE_YET)
    found["unknown"] = {
        column: why
        for column, why in found["unknown"].items()
        if column == "litter" or any(_lacks(row, column) for row in found["queues"])
    }
    return found


def _lacks(row: Mapping[str, Any], column: str) -> bool:
    return row["oldest_is"] == UNKNOWN if column == "oldest" else row[column] is None


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


def _in_redis(
    told: Any, names: set[str], ages: Any, sent: Callable[[str], float | None], *, thorough: bool
) -> dict[str, Any]:
    now = time.time()
    with closing(surveyed(told)) as survey:
        names = names | (survey.others(names) if thorough else set())
        rows = [
            {
                "queue": each.name,
                "ready": each.ready,
                **_oldest(each.ready, each.oldest, now),
                "consumers": None,
                "unacked": each.unacked,
                "parked": each.parked,
            }
            for each in survey.depths(names, ages, sent, now)
        ]
        held, parked = survey.totals()
        litter = survey.litter(3600)
    found = {"queues": rows, "unacked": held, "parked": parked, "litter": [each.name for each in litter]}
    return {**found, "unknown": {}, "broker": survey.where}


def _oldest(ready: int | None, age: Any, now: float) -> dict[str, Any]:
    """How long the oldest message has waited, and whether that is all that is known."""
    if not ready:
        return {"oldest": None, "oldest_is": None}
    waited = 0.0 if age is None else max(0.0, round(now - age.since, 1))
    if age is None or not (age.sure or waited):
        return {"oldest": None, "oldest_is": UNKNOWN}
    return {"oldest": waited, "oldest_is": EXACT if age.sure else AT_LEAST}


def _in_others(names: set[str], app: Any, replies: Any, timeout: float, *, thorough: bool) -> dict[str, Any]:
    """What a passive declaration tells; of RabbitMQ also what its management plugin and the workers say."""
    from ..app.connecting import answering
    from . import queues_rabbit as rabbit

    with answering(app) as connection:
        connection.ensure_connection(max_retries=1)
        where = connection.as_uri()
        is_rabbit = connection.transport.driver_type == "amqp"
        known, why = rabbit.standing(app) if is_rabbit else ({}, "this transport does not tell")
        now, rows = time.time(), []
        for name in sorted({*names, *(name for name in known if not rabbit.is_private(name))}):
            ready, takers = rabbit.count(connection, name)
            told = known.get(name)
            age = None if told is None or told.waits_since is None else Age(told.waits_since, sure=True)
            row = {"queue": name, "ready": ready, **_oldest(ready, age, now), "consumers": takers}
            rows.append({**row, "unacked": told.unacked if told else None, "parked": None})
        parked = rabbit.parked(connection) if is_rabbit else None
    if parked == 0:
        rows = [{**row, "parked": 0} for row in rows]
    unknown = dict.fromkeys(("oldest", "unacked", "parked", "litter"), why) if why else {}
    if is_rabbit:
        ages = "RabbitMQ tells it of messages with a timestamp alone (task_send_timestamp)"
        unknown["oldest"] = f"{ages}, and {why}" if why else ages
        unknown["parked"] = f"{parked} in all: RabbitMQ keeps them for all queues together"
    if is_rabbit and why and thorough:
        told_held, takes = rabbit.held(app, replies, timeout), consumers(app, timeout, replies)
        for row in rows:
            if row["consumers"] and row["consumers"] == takes.get(row["queue"]):  # nobody else takes from it
                row["unacked"] = told_held.get(row["queue"])
        unknown["unacked"] = f"{why}, and not all who take from the queue are workers that say what they hold"
    litter = [name for name, each in sorted(known.items()) if rabbit.is_litter(each, 3600)]
    total = None if why else sum(each.unacked for each in known.values())
    found = {"queues": rows, "unacked": total, "parked": parked, "litter": litter}
    return {**found, "unknown": unknown, "broker": where}


def _show(ctx: click.Context, found: dict[str, Any]) -> None:
    rows = [[cell(row, column, found["unknown"]) for column in _COLUMNS] for row in found["queues"]]
    table = [list(_COLUMNS), *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(_COLUMNS))]
    for row in table:
        first, *rest = (
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        ctx.obj.echo("  ".join([first, *rest]).rstrip())
    silent = [row["queue"] for row in found["queues"] if unserved(row) == NO_ANSWER]
    if silent:
        text = (
            f"no worker that takes from {', '.join(silent)} answers, and somebody holds messages of it: it may be busy"
        )
        ctx.obj.secho(f"\n{text} (-P solo), or gone", fg="yellow")
    left = [row["queue"] for row in found["queues"] if unserved(row) == NOBODY]
    if left:
        ctx.obj.secho(f"\nnobody takes from {', '.join(left)}: start a worker with -Q {','.join(left)}", fg="yellow")
    if any(row["dead"] for row in found["queues"]):
        ctx.obj.echo("\nthere are dead letters: `celeriac dead list` shows them")
    for column, why in found["unknown"].items():
        ctx.obj.echo(click.wrap_text(f"? {column}: {why}", 100, "\n", "  "))
    from ..app.settings_for_broker import broker_options

    if note := one_of_several(broker_options(ctx.obj.app.conf), found["broker"]):
        ctx.obj.echo(f"\n{note}.")
    if found["litter"]:
        ctx.obj.echo(f"\n{len(found['litter'])} queues of processes that are gone: `celeriac janitor` shows them")


def unserved(row: Mapping[str, Any]) -> str:
    """What is to be said of a queue in which messages wait and from which no worker takes that has answered."""
    if not row["ready"] or row["consumers"] or row.get("dead"):
        return ""
    return NO_ANSWER if row["unacked"] else NOBODY


def cell(row: Mapping[str, Any], column: str, unknown: Mapping[str, str] = {}) -> str:
    """`-`: there is nothing; `?`: it is not known."""
    value = row[column]
    if column == "oldest":
        kind = row.get("oldest_is")
        return "?" if kind == UNKNOWN else "-" if value is None else f"{'>' if kind == AT_LEAST else ''}{age(value)}"
    if value is None:
        return "?" if column in unknown else "-"
    return str(value)


def age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.0f}s"

"""`celeriac dead`: messages that could not be run: list, show, replay, drop."""

from __future__ import annotations

import json as _json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import click

from ..utils.term import harmless
from .base import COMMA_SEPARATED_LIST, CeleryCommand, handle_preload_options, handle_remote_command_error, option

_LIMIT = 100


@click.group()
@click.pass_context
@handle_preload_options
def dead(ctx: click.Context, **_: Any) -> None:
    """Look after messages that could not be run.

    \b
    celeriac -A proj dead list
    celeriac -A proj dead show 1c1f2a8e-...
    celeriac -A proj dead replay --task proj.tasks.add
    celeriac -A proj dead drop 1c1f2a8e-...
    """


_queues = option(None, "-Q", "--queues", type=COMMA_SEPARATED_LIST, help="Queues whose dead letters; all by default.")
_json_option = option(None, "-j", "--json", is_flag=True, help="Print JSON.")


def _which(function: Any) -> Any:
    for decorate in (
        click.argument("ids", nargs=-1),
        option(None, "--task", help="Those of this task."),
        option(None, "--all", "everything", is_flag=True, help="All of them."),
        option(None, "-f", "--force", is_flag=True, help="Do not ask."),
        _queues,
    ):
        function = decorate(function)
    return function


@dead.command(name="list", cls=CeleryCommand)
@_queues
@option(None, "-n", "--limit", type=click.IntRange(min=1), default=_LIMIT, help="Most to show of each queue.")
@_json_option
@click.pass_context
def list_(ctx: click.Context, queues: Any, limit: int, json: bool) -> None:
    """Show the dead letters: when, which task, what of."""
    rows: list[dict[str, Any]] = []
    _careful("dead list", lambda: rows.extend(_row(each) for each in _look(ctx.obj.app, queues, limit)))
    if json:
        ctx.obj.echo(_json.dumps(rows))
        return
    for row in rows:
        line = f"{row['time'] or '-':<19}  {row['id'] or '-':<36}  {row['task'] or '-'}  {row['queue'] or '-'}"
        ctx.obj.echo(harmless(line))
        ctx.obj.echo(harmless(f"    {row['reason'] or 'no reason is told'}"))
    if not rows:
        ctx.obj.echo("No dead letters.")


@dead.command(cls=CeleryCommand)
@click.argument("id")
@_queues
@_json_option
@click.pass_context
def show(ctx: click.Context, id: str, queues: Any, json: bool) -> None:
    """Show one dead letter, whole."""
    found: list[Any] = []
    _careful("dead show", lambda: found.extend(x for x in _look(ctx.obj.app, queues, 100_000) if x.id == id))
    if not found:
        ctx.obj.error(f"No dead letter has the id {id}: `celeriac dead list` shows them.", fg="red")
        ctx.exit(1)
    message = found[0].message
    row = {
        **_row(found[0]),
        "headers": message.headers,
        "properties": message.properties,
        "content_type": message.content_type,
    }
    row["body"] = message.body.decode(errors="replace")
    ctx.obj.echo(_json.dumps(row, indent=None if json else 2, default=repr))


@dead.command(cls=CeleryCommand)
@_which
@option(None, "--to", help="Send them to this queue, not to their own.")
@click.pass_context
def replay(ctx: click.Context, /, to: str | None, **given: Any) -> None:
    """Have dead letters run again: these IDS, those of a --task, or --all."""
    _settle(ctx, replay=True, to=to, **given)


@dead.command(cls=CeleryCommand)
@_which
@click.pass_context
def drop(ctx: click.Context, /, **given: Any) -> None:
    """Throw dead letters away: these IDS, those of a --task, or --all. There is no undo."""
    _settle(ctx, replay=False, to=None, **given)


def _row(each: Any) -> dict[str, Any]:
    when = None if each.at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
    return {"id": each.id, "task": each.task, "queue": each.queue, "reason": each.reason, "at": each.at, "time": when}


def _careful(command: str, act: Callable[[], Any]) -> None:
    try:
        act()
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error(command, problem)


def _places(app: Any, queues: Any) -> list[str]:
    """The queues of dead letters, each once."""
    from ...worker.dead_queue import dead_queues

    names = list(queues or app.amqp.queues.keys())
    return list(dict.fromkeys(dead_queues(names, app.conf.worker_dead_queue or "").values()))


def _look(app: Any, queues: Any, limit: int) -> Iterator[Any]:
    from ...protocol.errors import BadMessage
    from ...protocol.wire import envelope
    from ...worker import dead_queue
    from ..app.mailing import connect
    from ..app.settings_for_broker import broker_options
    from .queues import is_redis, surveyed

    told = broker_options(app.conf)
    if is_redis(told.urls[0]):  # they can be looked at where they lie
        with closing(surveyed(told)) as survey:
            for place in _places(app, queues):
                for data in survey.peek(place, limit):
                    try:
                        yield dead_queue.read(envelope.parse(data).message)
                    except BadMessage:  # noqa: PERF203 - one that cannot be read is passed over
                        continue
        return
    for place in _places(app, queues):
        with closing(connect(app)) as broker:
            yield from dead_queue.look(broker, place, limit)


def _settle(
    ctx: click.Context,
    *,
    replay: bool,
    to: str | None,
    ids: tuple[str, ...],
    task: str | None,
    everything: bool,
    force: bool,
    queues: Any,
) -> None:
    verb = "replay" if replay else "drop"
    if not (ids or task or everything):
        raise click.UsageError(f"Which ones? Name ids, or --task NAME, or --all: celeriac dead {verb} --all", ctx=ctx)
    if not force and not ids:
        click.confirm(f"{verb} {'all dead letters' if everything else f'the dead letters of {task}'}?", abort=True)
    done, failed = 0, 0

    def chosen(each: Any) -> bool:
        return everything or each.id in ids or (task is not None and each.task == task)

    def act() -> None:
        nonlocal done, failed
        if everything and not replay:
            done = _emptied(ctx.obj.app, queues)
            return
        hidden = ctx.obj.quiet or not sys.stderr.isatty()
        settled = _settled(ctx.obj.app, queues, chosen, replay=replay, to=to)
        with click.progressbar(settled, label=verb, show_pos=True, file=sys.stderr, hidden=hidden) as bar:
            for _, went in bar:
                done, failed = done + went, failed + (not went)

    _careful(f"dead {verb}", act)
    ctx.obj.echo(f"{done} {'sent again' if replay else 'dropped'}.")
    if failed:
        ctx.obj.error(f"{failed} do not say which queue they came from: name one with --to.", fg="red")
    missing = len(ids) > done + failed
    if missing:
        ctx.obj.error("Not all of these ids were found: `celeriac dead list` shows them.", fg="red")
    if failed or missing:
        ctx.exit(1)


def _emptied(app: Any, queues: Any) -> int:
    """Nobody needs to look at what goes altogether: the broker does it at once, however many they are."""
    from ..app.mailing import connect

    with closing(connect(app)) as broker:
        return sum(broker.purge(place) for place in _places(app, queues) if broker.size(place))


def _settled(app: Any, queues: Any, chosen: Callable[[Any], bool], *, replay: bool, to: str | None) -> Iterator[Any]:
    from ...worker import dead_queue
    from ..app.mailing import connect

    with closing(connect(app)) as sender:
        for place in _places(app, queues):
            with closing(connect(app)) as broker:
                yield from dead_queue.settle(broker, sender, place, chosen, replay=replay, to=to)

"""`celeriac schedule`: what beat's leased scheduler sends, seen and changed while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..exceptions import ImproperlyConfigured
from .base import CeleryCommand, handle_preload_options, handle_remote_command_error


class _Object(click.ParamType):  # type: ignore[type-arg] # of click 8.1 it is not generic
    """JSON of one kind."""

    def __init__(self, kind: type, name: str) -> None:
        self.kind = kind
        self.name = name

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            read = json.loads(value)
        except ValueError as problem:
            self.fail(f"{value!r} is no JSON: {problem}", param, ctx)
        if not isinstance(read, self.kind):
            self.fail(f"{value!r} is no {self.name}", param, ctx)
        return read


@contextmanager
def _explained(name: str = "") -> Iterator[None]:
    """What goes wrong, in one line and with the right exit code."""
    try:
        yield
    except KeyError:
        raise click.ClickException(
            f"There is no entry {name!r}; `celeriac schedule list` shows what there is"
        ) from None
    except (ValueError, ImproperlyConfigured) as problem:
        raise click.ClickException(str(problem)) from None
    except Exception as problem:  # noqa: BLE001 - the lease cannot be reached
        handle_remote_command_error("schedule", problem)


@click.group()
def schedule() -> None:
    """See and change what beat sends, while it runs.

    For beats with `--scheduler celeriac.compat.beat:LeasedScheduler`. They notice within a third of beat_lease_ttl.
    """


@schedule.command(name="list", cls=CeleryCommand)
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
@handle_preload_options
def list_(ctx: click.Context, as_json: bool = False, **_: Any) -> None:
    """All entries: configured ones and added ones."""
    from .. import beat_entries

    with _explained():
        found = beat_entries.listed(ctx.obj.app)
    for each in found:
        last = each.last_run_at.isoformat() if each.last_run_at and each.total_run_count else None
        if as_json:
            row = {
                "name": each.name,
                "task": each.task,
                "schedule": each.schedule,
                "configured": each.configured,
                "paused": each.paused,
                "last_run_at": last,
                "total_run_count": each.total_run_count,
            }
            ctx.obj.echo(json.dumps(row))
            continue
        marks = "".join(f" ({mark})" for mark, on in (("added", not each.configured), ("paused", each.paused)) if on)
        ctx.obj.echo(f"{each.name}: {each.task} [{each.schedule}]{marks}")
        ctx.obj.echo(f"    sent {each.total_run_count} times, last {last or 'never'}")
    _warn_unread(ctx)


@schedule.command(cls=CeleryCommand)
@click.argument("name")
@click.argument("task")
@click.argument("when")
@click.option("-a", "--args", type=_Object(list, "JSON list"), default="[]", help="Positional arguments, as JSON.")
@click.option("-k", "--kwargs", type=_Object(dict, "JSON object"), default="{}", help="Named arguments, as JSON.")
@click.option(
    "-o", "--options", type=_Object(dict, "JSON object"), default="{}", help="Of apply_async: queue, expires..."
)
@click.pass_context
@handle_preload_options
def add(ctx: click.Context, name: str, task: str, when: str, args: Any, kwargs: Any, options: Any, **_: Any) -> None:
    """Send TASK from now on, WHEN being seconds (30), a cron line ("0 4 * * mon") or a solar event with its place."""
    from .. import beat_entries

    replaced = None
    with _explained(name):
        replaced = beat_entries.add(ctx.obj.app, name, task, when, args, kwargs, **options)
    if replaced is None:
        ctx.obj.echo(f"{name}: added")
    else:
        paused = ", and stays paused" if replaced.paused else ""
        ctx.obj.echo(f"{name}: added in the place of {replaced.task} [{replaced.schedule}]{paused}")
    _warn_unread(ctx)


def _warn_unread(ctx: click.Context) -> None:
    """What was changed has to be read by somebody."""
    from .. import beat_entries

    app, read = ctx.obj.app, True
    with _explained():
        read = beat_entries.is_read(app)
    if not read:
        ctx.obj.error(
            f"warning: nothing changes as long as beat runs with {app.conf.beat_scheduler}: it does not read this, and "
            "no beat that does leads now. Set beat_scheduler = 'celeriac.compat.beat:LeasedScheduler', or start beat "
            "with -S celeriac.compat.beat:LeasedScheduler",
            fg="yellow",
        )


def _simple(verb: str, done: str, words: str) -> None:
    @schedule.command(name=verb, cls=CeleryCommand, help=words)
    @click.argument("name")
    @click.pass_context
    @handle_preload_options
    def command(ctx: click.Context, name: str, **_: Any) -> None:
        from .. import beat_entries

        with _explained(name):
            getattr(beat_entries, verb)(ctx.obj.app, name)
        ctx.obj.echo(f"{name}: {done}")
        _warn_unread(ctx)


_simple("pause", "paused", "Do not send it until it is resumed.")
_simple("resume", "resumed", "Send it again. What was missed in the pause is not made up for.")
_simple("remove", "removed", "Remove an entry that was added.")
